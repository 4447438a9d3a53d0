//! How far a shard has come in ending.

use crate::identity::{Nanos, ShardId, ShardSet};

#[derive(Debug)]
pub struct Drain {
    /// Clients are closed little by little.
    pub leaving: Option<Leaving>,
    /// What clients said before the end is handled, until then with the care that a turn takes.
    pub finishing: Option<Nanos>,
    /// Everyone was told to close.
    pub closing: bool,
    fences_missing: ShardSet,
}

/// The time over which so many clients are closed.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    pub from: Nanos,
    pub nanos: u64,
    pub clients: usize,
}

impl Leaving {
    /// Clients that may still be connected.
    pub fn clients_at(&self, now: Nanos) -> usize {
        assert!(self.nanos > 0, "leaving takes time");
        let elapsed = now.since(self.from).min(self.nanos);
        let gone = (self.clients as u128 * u128::from(elapsed) / u128::from(self.nanos)) as usize;
        debug_assert!(gone <= self.clients, "all are gone at the end, and no more");
        self.clients - gone
    }
}

impl Drain {
    pub fn new(shards: usize, own: ShardId) -> Drain {
        assert!(usize::from(own) < shards, "a shard is one of all");
        let mut fences_missing = ShardSet::default();
        (0..shards as ShardId).filter(|&shard| shard != own).for_each(|shard| fences_missing.insert(shard));
        debug_assert_eq!(fences_missing.iter().count(), shards - 1, "every other shard sends one");
        Drain { leaving: None, finishing: None, closing: false, fences_missing }
    }

    /// Nothing more comes from that shard.
    pub fn fenced(&mut self, from: ShardId) {
        debug_assert!(self.fences_missing.contains(from), "a shard ends once");
        self.fences_missing.remove(from);
    }

    /// Whether nothing more comes from any shard.
    pub fn is_fenced(&self) -> bool {
        self.fences_missing.is_empty()
    }
}
