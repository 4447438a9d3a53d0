//! Names of things: shards, connections, moments.

use crate::limits::SHARDS_MAX;
use serde::{Deserialize, Serialize};

/// Index of a shard, `0..Limits::shards`.
pub type ShardId = u16;

/// Nanoseconds on the edge's monotonic clock (or the simulator's). Only the edge mints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Nanos(pub u64);

impl Nanos {
    pub fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How often the edge should send [`crate::Event::Tick`].
pub const TICK_NANOS: u64 = 100_000_000;

/// A connection of one shard. The slot is re-used; the generation tells the uses apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConnectionId {
    pub slot: u32,
    pub generation: u32,
}

impl ConnectionId {
    /// Names no connection: the server itself, where it publishes.
    pub const NOBODY: ConnectionId = ConnectionId { slot: u32::MAX, generation: 0 };
}

/// A connection anywhere on this server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PublisherId {
    pub shard: ShardId,
    pub connection: ConnectionId,
}

/// A space of subjects of its own. Messages never leave their account's space by themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct AccountId(pub u16);

impl AccountId {
    /// The account of native clients, and of NATS clients that are given no other.
    pub const GLOBAL: AccountId = AccountId(0);
}

/// What all hashing of a process begins with, drawn when it starts: clients choose the keys, and must not be
/// able to choose some that collide. All shards have the same, so that they agree where a key belongs.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(u64);

impl HashSeed {
    pub fn new(drawn: u64) -> HashSeed {
        HashSeed(drawn)
    }

    /// For a table.
    #[inline]
    pub fn table(self) -> foldhash::fast::FixedState {
        foldhash::fast::FixedState::with_seed(self.0)
    }

    /// For hashes that stand for what they were made of, or are compared by size: every bit is good.
    #[inline]
    pub fn digest(self) -> foldhash::quality::FixedState {
        foldhash::quality::FixedState::with_seed(self.0)
    }
}

/// A set of shards, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ShardSet(u128);

const _: () = assert!(SHARDS_MAX <= u128::BITS as usize);
const _: () = assert!(SHARDS_MAX <= ShardId::MAX as usize);

impl ShardSet {
    pub fn insert(&mut self, shard: ShardId) {
        debug_assert!(usize::from(shard) < SHARDS_MAX, "a set has room for every shard");
        self.0 |= 1 << shard;
    }

    pub fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << shard);
    }

    pub fn union(self, other: ShardSet) -> ShardSet {
        ShardSet(self.0 | other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn contains(self, shard: ShardId) -> bool {
        self.0 & (1 << shard) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = (rest != 0).then(|| rest.trailing_zeros() as ShardId)?;
            rest &= rest - 1;
            Some(next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ShardSet;

    #[test]
    fn a_shard_set_iterates_its_members_in_order() {
        let mut set = ShardSet::default();
        [5, 0, 127, 64].into_iter().for_each(|shard| set.insert(shard));
        set.remove(5);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 127]);
        assert!(set.contains(64) && !set.contains(5));
    }
}
