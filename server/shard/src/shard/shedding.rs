//! When memory runs short: who holds much of it, and has done nothing about that for a while, gives it back.

use super::Members;
use crate::clients::Client;
use crate::clients::sender::{Sender, Stage};
use crate::closing::CloseReason;
use crate::identity::{ConnectionId, Nanos};
use crate::ledger::Kind;
use crate::turn::Turn;

/// From this share of the memory on, holders give back until it is the other, in percent.
const SHORT_PERCENT: usize = 75;
const ENOUGH_PERCENT: usize = 65;

/// Who has taken or sent something since then is not idle.
const IDLE_NANOS: u64 = 1_000_000_000;

/// Who holds less than this is not worth it.
const HELD_BYTES_MIN: usize = 4 << 10;

/// While others wait for room, a large message may take this long to arrive.
const GATHER_NANOS_MAX: u64 = 10_000_000_000;

const _: () = assert!(ENOUGH_PERCENT < SHORT_PERCENT);

impl Members {
    /// Ends connections that take nothing of what is sent to them, or do not go on with what they have begun:
    /// those that hold most come first.
    pub(super) fn shed_holders(&mut self, turn: &mut Turn<'_>) {
        let most = self.bus.limits().memory_bytes_max / 100;
        if self.bus.memory_bytes() < most * SHORT_PERCENT {
            return;
        }
        let held = |client| self.idle_bytes(client, turn.now).filter(|&(bytes, _)| bytes >= HELD_BYTES_MIN);
        let found = self.clients.iter().filter_map(|client| Some((held(client)?, client.id())));
        let mut holders: Vec<_> = found.collect();
        holders.sort_unstable();
        // What was handed over to be sent is given back a little later.
        let mut left = self.bus.memory_bytes();
        while left >= most * ENOUGH_PERCENT
            && let Some(((bytes, unread), id)) = holders.pop()
        {
            left = left.saturating_sub(bytes);
            self.shed(id, unread, turn);
        }
    }

    /// Ends connections that do not go on with large messages while others wait to begin theirs.
    pub(super) fn shed_gatherers(&mut self, turn: &mut Turn<'_>) {
        if !self.bus.outlets.ledger.is_waited_for() {
            return;
        }
        let idle = self.clients.iter().filter(|client| self.gathers_in_vain(client, turn.now));
        let idle: Vec<ConnectionId> = idle.map(Client::id).collect();
        idle.into_iter().for_each(|id| self.shed(id, false, turn));
    }

    /// Closes those of whom most waits, if too much does: they were not read from, but for what was on its
    /// way, which is what many say at once.
    #[inline]
    pub(super) fn shed_deferred(&mut self, turn: &mut Turn<'_>) {
        let most = self.bus.limits().deferred_bytes_max;
        if self.bus.outlets.ledger.of(Kind::Deferred) > most {
            self.shed_deferred_to(most / 2, turn);
        }
    }

    #[cold]
    fn shed_deferred_to(&mut self, most: usize, turn: &mut Turn<'_>) {
        // Those who wait for room do so for long, those who wait for a turn do not.
        let waits = |sender: &Sender| (sender.is_in_line(), sender.deferred_bytes(), sender.id);
        let open = |sender: &&Sender| self.bus.outlets.delivery.is_open(sender.id);
        let mut waiting: Vec<_> = self.clients.iter().map(Client::sender).filter(open).map(waits).collect();
        waiting.retain(|&(_, bytes, _)| bytes > 0);
        waiting.sort_unstable();
        while self.bus.outlets.ledger.of(Kind::Deferred) > most
            && let Some((_, _, id)) = waiting.pop()
        {
            self.close_client(id, CloseReason::Memory, turn);
        }
    }

    fn shed(&mut self, id: ConnectionId, unread: bool, turn: &mut Turn<'_>) {
        if unread {
            self.bus.outlets.delivery.cut(id, turn);
        } else {
            self.close_client(id, CloseReason::Memory, turn);
        }
    }

    /// What an idle client holds, and whether most of it is what it does not take.
    fn idle_bytes(&self, client: &Client, now: Nanos) -> Option<(usize, bool)> {
        let sender = client.sender();
        let receiver = self.bus.outlets.delivery.receivers.get(sender.id).filter(|receiver| receiver.open)?;
        let (begun, unread) = (sender.held_bytes(), receiver.outbox.held_bytes());
        if unread >= begun {
            return (receiver.outbox.flight_nanos(now) >= IDLE_NANOS).then_some((unread + begun, true));
        }
        let is_silent = now.since(sender.received_at) >= IDLE_NANOS;
        // Whose bytes are not taken by us is not silent.
        let is_heard = receiver.pauses == 0 && !sender.waits() && sender.stage == Stage::Ready;
        (is_silent && is_heard).then_some((unread + begun, false))
    }

    fn gathers_in_vain(&self, client: &Client, now: Nanos) -> bool {
        let sender = client.sender();
        let Some(since) = sender.gathers_since() else { return false };
        let Some(receiver) = self.bus.outlets.delivery.receivers.get(sender.id) else { return false };
        let is_silent = now.since(sender.received_at) >= IDLE_NANOS;
        now.since(since) >= GATHER_NANOS_MAX || is_silent && receiver.pauses == 0 && !sender.waits()
    }
}
