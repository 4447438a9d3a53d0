//! How one connection leaves, or all.
//!
//! The end of all in order: refuse new work, deliver what was accepted anywhere, then close everyone.
//! A draining shard sends a fence on every link after its last message. When all fences have come
//! in, nothing more can arrive, and the connections are closed after what their outboxes hold.

use super::Members;
use super::drain::Leaving;
use super::teardown::Teardown;
use crate::closing::CloseReason;
use crate::identity::{ConnectionId, Nanos};
use crate::ledger::Kind;
use crate::mesh::batch::Record;
use crate::mesh::inbound::Fenced;
use crate::turn::Turn;

/// For so long, or half of the time that the end may take, what waits is heard as receivers take it.
const FINISHING_NANOS_MAX: u64 = 1_000_000_000;

/// Of a turn that begins with connections that leave, they get so much, as one in so many steps.
const SHARE_OF_TURN: i64 = 4;

impl Members {
    /// A connection is not open any more. What it had goes now, as far as the turn allows, and later.
    pub(super) fn begin_to_leave(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.bus.outlets.delivery.receivers.get(id) else { return };
        debug_assert!(!receiver.open, "nothing more comes to who leaves");
        if self.teardowns.contains_key(&id) {
            return;
        }
        let mut teardown = Teardown::of(receiver);
        self.bus.outlets.delivery.let_publishers_go_of(id, turn);
        if !self.pace.has_left(turn.now) || !self.tear_down(id, &mut teardown, turn) {
            self.teardowns.insert(id, teardown);
            self.pace.line_up_to_leave(id);
        }
    }

    /// The edge has nothing of a connection any more: it is forgotten once what it had has gone.
    pub(super) fn has_gone(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        match self.teardowns.get_mut(&id) {
            Some(teardown) => teardown.gone = true,
            None => self.forget(id, turn),
        }
    }

    /// Those who leave go on with that, before a turn's other work.
    pub(super) fn leave_on(&mut self, turn: &mut Turn<'_>) {
        let before = turn.left();
        self.bus.outlets.delivery.give_remains_back(turn);
        self.pace.spend(before - turn.left());
        let mut in_line = self.pace.leaving().len();
        let (left, in_all) = self.pace.left_of();
        let until = left - (in_all / SHARE_OF_TURN).max(1);
        while in_line > 0
            && self.pace.left_of().0 > until
            && let Some(id) = self.pace.next_to_leave()
        {
            in_line -= 1;
            let Some(mut teardown) = self.teardowns.remove(&id) else { continue };
            if !self.tear_down(id, &mut teardown, turn) {
                self.teardowns.insert(id, teardown);
                self.pace.line_up_to_leave(id);
            } else if teardown.gone {
                self.forget(id, turn);
            }
        }
    }

    /// Takes a piece of it. Returns whether that was all.
    fn tear_down(&mut self, id: ConnectionId, teardown: &mut Teardown, turn: &mut Turn<'_>) -> bool {
        let before = turn.left();
        let done = teardown.go_on(id, self.pace.share(), &mut self.bus, turn);
        self.pace.spend_at(turn.now, before - turn.left());
        done
    }

    fn forget(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.remove(id) else { return };
        debug_assert!(client.sender().partial().is_empty(), "nothing is kept of who is gone");
        self.bus.outlets.ledger.subtract(Kind::Connections, client.own_bytes());
        self.bus.outlets.delivery.closed(id, turn);
        turn.effects.forgotten.push(id);
        self.check_drained(turn);
    }

    /// Recounts who leaves.
    pub(super) fn check_teardowns(&self) {
        let mut leaving: Vec<ConnectionId> = self.pace.leaving().collect();
        leaving.sort_unstable();
        assert!(leaving.iter().eq(self.teardowns.keys()), "who leaves is in line for that, once");
        for id in leaving {
            let receiver = self.bus.outlets.delivery.receivers.get(id);
            assert!(receiver.is_some_and(|receiver| !receiver.open), "and keeps its place until then");
        }
    }

    /// The shard ends once all that its clients have said by now is handled. What they say from now on is
    /// refused.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) {
        if !self.bus.draining && self.drain.finishing.is_none() {
            let most = FINISHING_NANOS_MAX.min(self.bus.limits().drain_nanos_max / 2);
            self.drain.finishing = Some(Nanos(turn.now.0 + most));
            self.finish_further(turn);
        }
    }

    /// Nothing waits any more, or for too long.
    #[cold]
    pub(super) fn finish_further(&mut self, turn: &mut Turn<'_>) {
        let Some(until) = self.drain.finishing.filter(|_| !self.bus.draining) else { return };
        if turn.now >= until {
            self.catch_up(turn);
        }
        if !self.is_behind() && !self.clients.iter().any(|client| client.sender().waits()) {
            self.begin_drain(turn);
        }
    }

    pub(super) fn begin_drain(&mut self, turn: &mut Turn<'_>) {
        if self.bus.draining {
            return;
        }
        self.bus.draining = true;
        if self.drain.leaving.is_none() {
            self.send_info_to_all(true, turn);
        }
        self.bus.outlets.mesh.broadcast(&Record::Fence, turn);
        self.close_everyone_if_quiet(turn);
    }

    pub(super) fn begin_leaving(&mut self, turn: &mut Turn<'_>) {
        if self.bus.draining || self.drain.leaving.is_some() {
            return;
        }
        let limits = self.bus.limits();
        let from = Nanos(turn.now.0 + limits.lame_duck_grace_nanos);
        let (nanos, clients) = (limits.lame_duck_nanos.max(1), self.bus.outlets.delivery.receivers.len());
        self.drain.leaving = Some(Leaving { from, nanos, clients });
        self.send_info_to_all(true, turn);
        self.leave_further(turn);
    }

    /// Closes the share of the clients whose time has come.
    pub(super) fn leave_further(&mut self, turn: &mut Turn<'_>) {
        let Some(leaving) = self.drain.leaving else { return };
        if self.bus.draining {
            return;
        }
        let open = self.bus.outlets.delivery.receivers.len();
        debug_assert_eq!(self.clients.ids().count(), open, "every connection has both halves");
        let due = open.saturating_sub(leaving.clients_at(turn.now));
        let due: Vec<ConnectionId> = self.clients.ids().take(due).collect();
        for id in due {
            // What it said before is accepted, like what it said before a drain.
            self.hear_out(id, turn);
            self.close_client(id, CloseReason::Shutdown, turn);
        }
        if open == 0 {
            // Nobody is left to wait for; the drain ends what other shards still send.
            self.begin_drain(turn);
        }
    }

    pub(super) fn fence(&mut self, Fenced(from): Fenced, turn: &mut Turn<'_>) {
        self.drain.fenced(from);
        self.close_everyone_if_quiet(turn);
    }

    pub(super) fn check_drained(&mut self, turn: &mut Turn<'_>) {
        if self.drain.closing && self.bus.outlets.delivery.receivers.is_empty() {
            debug_assert_eq!(self.clients.ids().count(), 0, "a connection ends with both halves");
            debug_assert!(self.drain.is_fenced(), "nothing more comes from other shards");
            let (delivery, bus) = (&self.bus.outlets.delivery, &self.bus);
            assert_eq!(
                (delivery.outbox_bytes(), bus.unadmitted_bytes),
                (0, 0),
                "with the last client its bytes went"
            );
            assert_eq!(
                (delivery.paused_publishers(), bus.interned_subjects),
                (0, 0),
                "and what was counted of it"
            );
            turn.effects.drained = true;
        }
    }

    fn close_everyone_if_quiet(&mut self, turn: &mut Turn<'_>) {
        if !self.bus.draining || self.drain.closing || !self.drain.is_fenced() {
            return;
        }
        self.drain.closing = true;
        self.bus.deliver_everything(turn);
        let everyone: Vec<ConnectionId> = self.clients.ids().collect();
        everyone.into_iter().for_each(|id| self.close_client(id, CloseReason::Shutdown, turn));
        self.check_drained(turn);
    }
}
