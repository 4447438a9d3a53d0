//! Who said more than a turn gives it, or came when the turn was over, is heard in a later one.

use super::Members;
use crate::clients::Client;
use crate::clients::sender::Stage;
use crate::identity::{ConnectionId, PublisherId};
use crate::metrics::Counter;
use crate::turn::{Turn, UNBOUNDED};
use bytes::Bytes;

/// Of a turn messages to very many get so much in any case, as one in so many steps.
const WIDE_OF_TURN: i64 = 4;

impl Members {
    /// What a client said while it was verified is handled now, before all that it said later.
    #[cold]
    pub(super) fn hear_what_waited(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.sender().waits() {
            let ledger = &mut self.bus.outlets.ledger;
            client.sender_mut().defer_again(Bytes::copy_from_slice(input), ledger);
        } else if self.is_held_back(id) {
            self.wait_turn(id, input, turn);
        } else {
            self.take_in(id, input, turn);
        }
    }

    /// What was on its way when a client was held back waits until it no longer is.
    #[cold]
    #[inline(never)]
    pub(super) fn hear_held_back(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        if self.drain.finishing.is_some() && !self.bus.draining {
            return self.refuse_to_hear(id, input, turn);
        }
        if !self.is_held_back(id) {
            return self.take_in(id, input, turn);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.sender_mut().heard(turn.now);
        }
        self.wait_turn(id, input, turn);
    }

    /// The shard ends: what a client says now is too late. Who waits for what it said before is not told so.
    fn refuse_to_hear(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        let waits =
            self.is_held_back(id) || self.clients.get_mut(id).is_none_or(|client| client.sender().waits());
        if !waits {
            self.bus.draining = true;
            self.take_in(id, input, turn);
            self.bus.draining = false;
        }
    }

    /// Whether what a client says is not to be handled yet. What it says while it is verified is, and kept.
    fn is_held_back(&self, id: ConnectionId) -> bool {
        self.bus.outlets.delivery.receivers.get(id).is_some_and(|receiver| receiver.pauses > 0)
            && self.clients.get(id).is_some_and(|client| client.sender().stage != Stage::Verifying)
    }

    /// It is held back no longer.
    #[cold]
    pub(super) fn line_up_again(&mut self, id: ConnectionId) {
        if self.clients.get_mut(id).is_some_and(|client| client.sender_mut().unpark()) {
            self.pace.line_up(id, false);
        }
    }

    /// What came when the turn was over, or after more that waits.
    #[cold]
    pub(super) fn wait_turn(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id).filter(|_| !input.is_empty()) else { return };
        let sender = client.sender_mut();
        if sender.waits() {
            sender.defer(Bytes::copy_from_slice(input), &mut self.bus.outlets.ledger);
            return self.shed_deferred(turn);
        }
        turn.allow(0);
        let rest = self.hear_alone(id, input, turn);
        self.put_off(id, rest, turn);
    }

    /// A connection has said, or spent, more than a turn gives it.
    #[cold]
    pub(super) fn fall_behind(&mut self, id: ConnectionId, rest: &[u8], turn: &mut Turn<'_>) {
        let rest = if turn.lacks_room() { rest } else { self.hear_alone(id, rest, turn) };
        self.put_off(id, rest, turn);
    }

    /// Who is alone is heard further. Returns what is left even so.
    fn hear_alone<'i>(&mut self, id: ConnectionId, input: &'i [u8], turn: &mut Turn<'_>) -> &'i [u8] {
        let Some(share) = self.pace.alone(turn.now) else { return input };
        if !self.bus.outlets.delivery.is_open(id) || self.is_held_back(id) {
            return input;
        }
        let Some(client) = self.clients.get_mut(id) else { return input };
        turn.allow(share);
        let left = client.receive(input, &mut self.bus, turn);
        self.pace.spend(turn.taken());
        &input[input.len() - left..]
    }

    /// The rest is heard in a later turn.
    fn put_off(&mut self, id: ConnectionId, rest: &[u8], turn: &mut Turn<'_>) {
        let over = turn.overdrawn();
        if !self.bus.outlets.delivery.is_open(id) || over == 0 && rest.is_empty() {
            return;
        }
        let is_held_back = self.is_held_back(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        let sender = client.sender_mut();
        debug_assert!(!sender.waits(), "who waits is not heard");
        if !rest.is_empty() {
            sender.defer(Bytes::copy_from_slice(rest), &mut self.bus.outlets.ledger);
        }
        sender.owe(over);
        if is_held_back {
            sender.park(&mut self.bus.outlets.ledger);
        } else if !turn.lacks_room() {
            self.pace.line_up(id, over > 0);
        }
        turn.counters.add(Counter::ClientsDeferred, 1);
        self.bus.outlets.delivery.receive_later(id, turn);
        self.shed_deferred(turn);
    }

    /// A turn begins, and those who wait go on as far as it goes.
    pub(super) fn go_on(&mut self, turn: &mut Turn<'_>) {
        let (mut fresh, mut debtors) = self.pace.begin_with_waiting(turn.now);
        self.bus.outlets.delivery.let_go_in_time(turn);
        self.leave_on(turn);
        while !self.pace.is_spent()
            && let Some(id) = self.pace.next(&mut fresh, &mut debtors)
        {
            self.go_on_with(id, turn);
        }
        self.deliver_on(turn);
        // Who owes pays though the turn was over before it came to it, and stays first in line.
        let share = self.pace.share();
        for id in self.pace.debtors().take(debtors) {
            if let Some(client) = self.clients.get_mut(id) {
                client.sender_mut().pay(share);
            }
        }
    }

    /// Messages to very many go on: as much as is left of the turn, and a part of it in any case.
    fn deliver_on(&mut self, turn: &mut Turn<'_>) {
        if self.bus.wide.is_empty() {
            return;
        }
        let (left, in_all) = self.pace.left_of();
        turn.allow(UNBOUNDED);
        self.bus.deliver_on(left.max(in_all / WIDE_OF_TURN), turn);
        self.pace.spend(turn.taken());
    }

    /// Whether somebody waits for the next turn, or something.
    pub(super) fn is_behind(&self) -> bool {
        self.pace.is_behind() || !self.bus.wide.is_empty()
    }

    fn go_on_with(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        if self.is_held_back(id) {
            return self.park(id);
        }
        let share = self.pace.alone(turn.now).unwrap_or(self.pace.share());
        if self.clients.get_mut(id).is_some_and(|client| client.sender_mut().pay(share) > 0) {
            return self.pace.line_up(id, true);
        }
        self.hear_further(id, share, turn);
    }

    fn park(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.sender_mut().park(&mut self.bus.outlets.ledger);
        }
    }

    /// Calls those for whose large messages there is room by now.
    #[cold]
    pub(super) fn call_for_messages(&mut self) {
        let most = self.bus.limits().gathered_bytes_max;
        while let Some(id) = self.bus.outlets.ledger.call(most) {
            self.pace.line_up(id, false);
        }
    }

    fn hear_further(&mut self, id: ConnectionId, share: i64, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        turn.allow(share);
        while self.bus.outlets.delivery.is_open(id)
            && turn.may_go_on()
            && let Some(rest) = client.sender_mut().deferred(&mut self.bus.outlets.ledger)
        {
            let left = client.receive(&rest, &mut self.bus, turn);
            if left > 0 {
                let ledger = &mut self.bus.outlets.ledger;
                client.sender_mut().defer_again(end_of(&rest, left), ledger);
            }
            self.bus.look_at_memory(turn);
            // What each piece leaves to be done comes before the next.
            if !turn.outcomes.is_empty() {
                break;
            }
        }
        self.pace.spend(turn.taken());
        let open = self.bus.outlets.delivery.is_open(id);
        let over = turn.overdrawn();
        client.sender_mut().owe(over);
        if !open || !client.sender().waits() {
            self.has_been_heard(id, turn);
        } else if self.is_held_back(id) {
            self.park(id);
        } else if !turn.lacks_room() {
            self.pace.line_up(id, over > 0);
        }
    }

    /// Nothing that a client has said waits any more.
    fn has_been_heard(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.sender_mut().forget_deferred(&mut self.bus.outlets.ledger);
        client.change_limits(self.bus.limits());
        self.bus.outlets.delivery.receive_again(id, turn);
    }

    /// Handles all that waits of one client, whatever it costs.
    pub(super) fn hear_out(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.bus.deliver_out(PublisherId { shard: self.bus.outlets.own, connection: id }, turn);
        while let Some(client) = self.clients.get_mut(id)
            && self.bus.outlets.delivery.is_open(id)
            && let Some(rest) = client.sender_mut().deferred(&mut self.bus.outlets.ledger)
        {
            turn.allow(UNBOUNDED);
            let left = client.receive(&rest, &mut self.bus, turn);
            debug_assert_eq!(left, 0, "who may take all there is leaves nothing");
            self.settle(turn);
        }
    }

    /// Handles all that waits, whatever it costs: what was accepted is delivered before the end.
    pub(super) fn catch_up(&mut self, turn: &mut Turn<'_>) {
        loop {
            while self.is_behind() {
                self.go_on(turn);
                self.settle(turn);
            }
            // Who waits for room is heard without, and who is held back all the same.
            let aside = self.clients.iter().filter(|client| client.sender().waits());
            let aside: Vec<ConnectionId> = aside.map(Client::id).collect();
            if aside.is_empty() {
                break;
            }
            for id in aside {
                self.hear_one_aside(id, turn);
            }
        }
    }

    /// Hears out one that is in no line for a turn.
    fn hear_one_aside(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let sender = client.sender_mut();
        if sender.unpark() || sender.is_in_line() {
            self.hear_out(id, turn);
            self.has_been_heard(id, turn);
        }
    }

    /// Recounts who waits.
    pub(super) fn check_pace(&self) {
        let mut waiting: Vec<ConnectionId> = self.pace.waiting().collect();
        waiting.extend(self.bus.outlets.ledger.waiting());
        let parked = self.clients.iter().map(Client::sender).filter(|sender| sender.is_parked());
        waiting.extend(parked.map(|sender| sender.id));
        let all = waiting.len();
        waiting.sort_unstable();
        waiting.dedup();
        assert_eq!(all, waiting.len(), "a client waits once");
        for client in self.clients.iter().map(Client::sender).filter(|sender| sender.waits()) {
            assert!(waiting.binary_search(&client.id).is_ok(), "who waits is in line");
            assert!(!client.is_parked() || self.is_held_back(client.id), "who is let go is in line again");
        }
    }
}

/// The end of a piece, with no more memory than it needs.
fn end_of(piece: &Bytes, bytes: usize) -> Bytes {
    let end = piece.slice(piece.len() - bytes..);
    if bytes < piece.len() / 2 { Bytes::copy_from_slice(&end) } else { end }
}
