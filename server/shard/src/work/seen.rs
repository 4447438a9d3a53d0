//! Ids of messages that were accepted lately: a publisher that is not sure may publish once more.

use crate::table::Key;
use crate::{HashSeed, Nanos};
use foldhash::quality::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::hash::BuildHasher;

/// How long an id is remembered.
pub const WINDOW_NANOS: u64 = 120_000_000_000;
/// Ids a shard remembers; with more in a window, the oldest are forgotten before its end.
pub const IDS_MAX: usize = 1 << 17;

const ID_BYTES: usize = (2 * size_of::<(Key, u64)>() + size_of::<u64>() + size_of::<Nanos>()) * 3 / 2;

/// See the module. An id is kept as a hash of 64 bits.
#[derive(Debug)]
pub struct Seen {
    /// The message an id came with first, by the group and the id.
    ids: HashMap<(Key, u64), u64, foldhash::fast::FixedState>,
    /// In order of arrival.
    order: VecDeque<(Nanos, (Key, u64))>,
    state: FixedState,
}

impl Seen {
    pub fn new(hash_seed: HashSeed) -> Seen {
        let ids = HashMap::with_hasher(hash_seed.table());
        Seen { ids, order: VecDeque::new(), state: hash_seed.digest() }
    }

    /// Memory that ids take, in a table that is two thirds full and in their order.
    pub fn bytes(&self) -> usize {
        self.order.len() * ID_BYTES
    }

    /// The message that came with this id to the group, if it was within the window.
    pub fn find(&mut self, group: Key, id: &[u8], now: Nanos) -> Option<u64> {
        while let Some(&(at, key)) = self.order.front()
            && (now.since(at) > WINDOW_NANOS || self.order.len() > IDS_MAX)
        {
            self.order.pop_front();
            let known = self.ids.remove(&key);
            debug_assert!(known.is_some(), "an id is kept as long as its place in the order");
        }
        self.ids.get(&(group, self.state.hash_one(id))).copied()
    }

    pub fn note(&mut self, group: Key, id: &[u8], message: u64, now: Nanos) {
        let key = (group, self.state.hash_one(id));
        if self.ids.insert(key, message).is_none() {
            debug_assert!(self.order.back().is_none_or(|&(last, _)| last <= now), "time does not go back");
            self.order.push_back((now, key));
        }
        debug_assert_eq!(self.ids.len(), self.order.len(), "an id is kept as long as its place in the order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn an_id_is_known_for_its_window_and_in_its_group() {
        let mut groups = Table::default();
        let (first, other) = (groups.insert(()), groups.insert(()));
        let mut seen = Seen::new(HashSeed::new(1));
        assert_eq!(seen.find(first, b"a", Nanos(0)), None);
        seen.note(first, b"a", 7, Nanos(0));
        assert_eq!(seen.find(first, b"a", Nanos(WINDOW_NANOS)), Some(7));
        assert_eq!(seen.find(other, b"a", Nanos(0)), None);
        assert_eq!(seen.find(first, b"b", Nanos(0)), None);
        assert_eq!(seen.find(first, b"a", Nanos(WINDOW_NANOS + 1)), None);
        assert!(seen.ids.is_empty() && seen.order.is_empty());
    }

    #[test]
    fn ids_are_bounded() {
        let group = Table::default().insert(());
        let mut seen = Seen::new(HashSeed::new(1));
        for number in 0..2 * IDS_MAX as u64 {
            let id = number.to_le_bytes();
            assert_eq!(seen.find(group, &id, Nanos(1)), None);
            seen.note(group, &id, number, Nanos(1));
        }
        assert!(seen.ids.len() <= IDS_MAX + 1, "{}", seen.ids.len());
    }
}
