//! The end in order: refuse new work, deliver what was accepted anywhere, then close everyone.
//!
//! A draining shard sends a fence on every link behind its last message. When all fences have come
//! in, nothing more can arrive, and the connections are closed behind what their outboxes hold.

use super::identity::ShardSet;
use super::mesh::Record;
use super::metrics::Counter;
use super::{ConnectionId, Effects, Shard, ShardId};
use ringbolt_protocol::native::control::CloseCode;

#[derive(Debug)]
pub(super) struct Drain {
    draining: bool,
    closing: bool,
    fences_missing: ShardSet,
}

impl Drain {
    pub(super) fn new(shards: usize, own: ShardId) -> Drain {
        let mut fences_missing = ShardSet::default();
        (0..shards as ShardId).filter(|&shard| shard != own).for_each(|shard| fences_missing.insert(shard));
        Drain { draining: false, closing: false, fences_missing }
    }

    pub(super) fn draining(&self) -> bool {
        self.draining
    }
}

impl Shard {
    pub(super) fn begin_drain(&mut self, effects: &mut Effects) {
        if self.drain.draining {
            return;
        }
        self.drain.draining = true;
        self.announce_leaving(effects);
        self.delivery.broadcast(&Record::Fence, effects);
        self.close_everyone_if_quiet(effects);
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
