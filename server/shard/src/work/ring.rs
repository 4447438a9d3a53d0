//! Consistent hashing for the members of a group: connections stand on a ring, and a key belongs to the next
//! place after its hash. When a connection leaves, only its keys move.

use crate::HashSeed;
use crate::identity::ConnectionId;
use foldhash::quality::FixedState;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

/// Places of a connection: more of them, more even shares.
const PLACES: u64 = 128;

/// What one takes in a tree whose nodes are two thirds full.
const PLACE_BYTES: usize = size_of::<(u64, u32)>() * 2;

const _: () = assert!(PLACES > 0);

/// See the module. A connection has its places once, however many of its subscriptions are members: a key
/// stays with it, whatever the subject.
#[derive(Debug)]
pub struct Ring {
    /// Hash, and who stands there: the number of a holder.
    places: BTreeSet<(u64, u32)>,
    /// Holders and their members, by number.
    members: BTreeSet<(u32, u32)>,
    state: FixedState,
}

impl Ring {
    pub fn new(hash_seed: HashSeed) -> Ring {
        Ring { places: BTreeSet::new(), members: BTreeSet::new(), state: hash_seed.digest() }
    }

    /// Memory that the places take.
    pub fn bytes(&self) -> usize {
        self.places.len() * PLACE_BYTES
    }

    pub fn hash(&self, key: &[u8]) -> u64 {
        self.state.hash_one(key)
    }

    /// A member of that connection joins. The connection has the same places whenever it is there.
    pub fn join(&mut self, connection: ConnectionId, holder: u32, member: u32) {
        if self.members_of(holder).next().is_none() {
            self.places.extend(self.places_of(connection).map(|place| (place, holder)));
        }
        let new = self.members.insert((holder, member));
        debug_assert!(new, "a member joins once");
    }

    pub fn leave(&mut self, connection: ConnectionId, holder: u32, member: u32) {
        let known = self.members.remove(&(holder, member));
        debug_assert!(known, "who leaves had joined");
        if self.members_of(holder).next().is_none() {
            for place in self.places_of(connection) {
                self.places.remove(&(place, holder));
            }
        }
    }

    /// Members from the one that a hash belongs to on; those of a connection as often as it has places.
    pub fn from(&self, hash: u64) -> impl Iterator<Item = u32> {
        let after = self.places.range((hash, 0)..);
        let before = self.places.range(..(hash, 0));
        after.chain(before).flat_map(|&(_, holder)| self.members_of(holder))
    }

    fn members_of(&self, holder: u32) -> impl Iterator<Item = u32> {
        self.members.range((holder, 0)..=(holder, u32::MAX)).map(|&(_, member)| member)
    }

    fn places_of(&self, connection: ConnectionId) -> impl Iterator<Item = u64> + use<> {
        let number = u64::from(connection.slot) << 32 | u64::from(connection.generation);
        let state = self.state.clone();
        (0..PLACES).map(move |spot| state.hash_one((number, spot)))
    }

    /// Recounts the places. Returns how many members there are.
    pub fn check(&self) -> usize {
        let holders: BTreeSet<u32> = self.members.iter().map(|&(holder, _)| holder).collect();
        assert_eq!(
            self.places.len() as u64,
            PLACES * holders.len() as u64,
            "every connection has its places"
        );
        assert!(self.places.iter().all(|(_, holder)| holders.contains(holder)), "who stands there is there");
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn ring(members: &[(u32, u32)]) -> Ring {
        let mut ring = Ring::new(HashSeed::new(1));
        members.iter().for_each(|&(holder, member)| ring.join(connection(holder), holder, member));
        ring.check();
        ring
    }

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 1 }
    }

    /// The first member of 10 000 keys.
    fn owners(ring: &Ring) -> BTreeMap<u64, u32> {
        let owner = |key: u64| (key, ring.from(ring.hash(&key.to_le_bytes())).next().expect("a member"));
        (0..10_000).map(owner).collect()
    }

    #[test]
    fn a_key_stays_and_only_the_keys_of_who_leaves_move() {
        let mut ring = ring(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        let before = owners(&ring);
        ring.leave(connection(3), 3, 3);
        let after = owners(&ring);
        for (key, owner) in &before {
            assert!(*owner == 3 || after[key] == *owner, "key {key} had no reason to move");
        }
        for member in 1..=5 {
            let keys = before.values().filter(|&&owner| owner == member).count();
            assert!((1200..2800).contains(&keys), "member {member} has {keys} of 10 000 keys");
        }
        ring.join(connection(3), 3, 3);
        assert_eq!(owners(&ring), before, "who comes back has the same places");
    }

    #[test]
    fn a_connection_has_its_places_once_and_until_its_last_member_leaves() {
        let mut ring = ring(&[(1, 7), (2, 8), (1, 9), (1, 10)]);
        assert_eq!(ring.places.len() as u64, 2 * PLACES);
        ring.leave(connection(1), 1, 9);
        assert_eq!(ring.places.len() as u64, 2 * PLACES);
        let mut all: Vec<u32> = ring.from(0).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, [7, 8, 10]);
        ring.leave(connection(1), 1, 7);
        ring.leave(connection(1), 1, 10);
        assert_eq!((ring.places.len() as u64, ring.check()), (PLACES, 1));
    }
}
