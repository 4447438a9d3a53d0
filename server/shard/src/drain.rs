//! The end in order: refuse new work, deliver what was accepted anywhere, then close everyone.
//!
//! A draining shard sends a fence on every link behind its last message. When all fences have come
//! in, nothing more can arrive, and the connections are closed behind what their outboxes hold.

use super::identity::ShardSet;
use super::mesh::Record;
use super::metrics::Counter;
use super::{ConnectionId, Effects, Nanos, Shard, ShardId};
use ringbolt_protocol::native::control::CloseCode;

#[derive(Debug)]
pub(super) struct Drain {
    draining: bool,
    /// Clients are closed little by little.
    leaving: Option<Leaving>,
    closing: bool,
    fences_missing: ShardSet,
}

impl Drain {
    pub(super) fn new(shards: usize, own: ShardId) -> Drain {
        let mut fences_missing = ShardSet::default();
        (0..shards as ShardId).filter(|&shard| shard != own).for_each(|shard| fences_missing.insert(shard));
        Drain { draining: false, leaving: None, closing: false, fences_missing }
    }

    pub(super) fn draining(&self) -> bool {
        self.draining
    }
}

/// The time over which so many clients are closed.
#[derive(Debug)]
struct Leaving {
    from: Nanos,
    nanos: u64,
    clients: usize,
}

impl Shard {
    pub(super) fn begin_drain(&mut self, effects: &mut Effects) {
        if self.drain.draining {
            return;
        }
        self.drain.draining = true;
        if self.drain.leaving.is_none() {
            self.nats_info_to_all(true, effects);
        }
        self.delivery.broadcast(&Record::Fence, effects);
        self.close_everyone_if_quiet(effects);
    }

    pub(super) fn begin_leaving(&mut self, now: Nanos, effects: &mut Effects) {
        if self.drain.draining || self.drain.leaving.is_some() {
            return;
        }
        let limits = &self.delivery.limits;
        let from = Nanos(now.0 + limits.lame_duck_grace_nanos);
        let clients = self.delivery.sessions.len();
        self.drain.leaving = Some(Leaving { from, nanos: limits.lame_duck_nanos.max(1), clients });
        self.nats_info_to_all(true, effects);
        self.leave_further(now, effects);
    }

    /// Closes the share of the clients whose time has come.
    pub(super) fn leave_further(&mut self, now: Nanos, effects: &mut Effects) {
        let Some(leaving) = &self.drain.leaving else { return };
        if self.drain.draining {
            return;
        }
        let open = self.delivery.sessions.len();
        let elapsed = now.since(leaving.from).min(leaving.nanos);
        let gone = (leaving.clients as u128 * u128::from(elapsed) / u128::from(leaving.nanos)) as usize;
        let due = open.saturating_sub(leaving.clients - gone);
        let due: Vec<ConnectionId> = self.delivery.sessions.ids().take(due).collect();
        for id in due {
            let (code, reason) = (CloseCode::ShuttingDown, Counter::ConnectionsClosedShutdown);
            self.close(id, code, "the server is shutting down", reason, effects);
        }
        if open == 0 {
            // Nobody is left to wait for; the drain ends what other shards still send.
            self.begin_drain(effects);
        }
    }

    pub(super) fn fence(&mut self, from: ShardId, effects: &mut Effects) {
        self.drain.fences_missing.remove(from);
        self.close_everyone_if_quiet(effects);
    }

    pub(super) fn check_drained(&mut self, effects: &mut Effects) {
        if self.drain.closing && self.delivery.sessions.is_empty() {
            effects.drained = true;
        }
    }

    fn close_everyone_if_quiet(&mut self, effects: &mut Effects) {
        if !self.drain.draining || self.drain.closing || !self.drain.fences_missing.is_empty() {
            return;
        }
        self.drain.closing = true;
        let everyone: Vec<ConnectionId> = self.delivery.sessions.ids().collect();
        for id in everyone {
            let (code, reason) = (CloseCode::ShuttingDown, Counter::ConnectionsClosedShutdown);
            self.close(id, code, "the server is shutting down", reason, effects);
        }
        self.check_drained(effects);
    }
}
