//! The end in order: refuse new work, deliver what was accepted anywhere, then close everyone.
//!
//! A draining shard sends a fence on every link after its last message. When all fences have come
//! in, nothing more can arrive, and the connections are closed after what their outboxes hold.

use super::Members;
use super::drain::Leaving;
use crate::closing::CloseReason;
use crate::identity::{ConnectionId, Nanos};
use crate::mesh::batch::Record;
use crate::mesh::inbound::Fenced;
use crate::turn::Turn;

impl Members {
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
        let everyone: Vec<ConnectionId> = self.clients.ids().collect();
        everyone.into_iter().for_each(|id| self.close_client(id, CloseReason::Shutdown, turn));
        self.check_drained(turn);
    }
}
