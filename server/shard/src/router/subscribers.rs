//! The subscriptions of one pattern, or of one group of it, in the order they were made.

use smallvec::SmallVec;
use std::collections::BTreeMap;

/// One subscription, as routing needs it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Place in the shard's table of subscriptions; routing is told when what is there goes.
    pub subscription: u32,
    /// Slot of its connection.
    pub slot: u32,
}

/// So many are searched one after the other; beyond, each is found by its place.
const SEARCHED_MAX: usize = 32;

/// What a place takes in its map, which is two thirds full.
const PLACE_BYTES: usize = 14;

/// Stands where a subscription ended.
const NOBODY: Target = Target { subscription: u32::MAX, slot: u32::MAX };

/// See the module. To add, to remove and to count takes a time that hardly depends on how many there are.
#[derive(Debug, Default)]
pub struct Subscribers {
    list: SmallVec<[Target; 2]>,
    /// Where each is in the list, by its place in the shard's table; only while there are many.
    places: Option<BTreeMap<u32, u32>>,
    /// Places of those that ended: they are swept once they are the most.
    gone: u32,
}

impl Subscribers {
    pub fn len(&self) -> usize {
        self.list.len() - self.gone as usize
    }

    /// Memory taken beside the struct itself, roughly.
    pub fn heap_bytes(&self) -> usize {
        let list = if self.list.spilled() { self.list.capacity() * size_of::<Target>() } else { 0 };
        list + self.places.as_ref().map_or(0, |places| places.len() * PLACE_BYTES)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The only one there is.
    pub fn only(&self) -> Option<Target> {
        if self.len() == 1 { self.iter().next() } else { None }
    }

    pub fn iter(&self) -> impl Iterator<Item = Target> {
        self.list.iter().copied().filter(|&target| target != NOBODY)
    }

    pub fn push(&mut self, target: Target) {
        debug_assert_ne!(target, NOBODY, "the last place of a table is never given out");
        let place = self.list.len() as u32;
        self.list.push(target);
        if let Some(places) = &mut self.places {
            let before = places.insert(target.subscription, place);
            debug_assert!(before.is_none(), "a subscription is added once");
        } else if self.list.len() > SEARCHED_MAX {
            self.find_by_place();
        }
    }

    pub fn remove(&mut self, target: Target) {
        let place = match &mut self.places {
            Some(places) => places.remove(&target.subscription).map(|place| place as usize),
            None => self.list.iter().position(|&other| other == target),
        };
        let place = place.expect("the subscription was added");
        debug_assert_eq!(self.list[place], target, "it is where it was put");
        self.list[place] = NOBODY;
        self.gone += 1;
        // The order of subscription is the order of delivery: the others move up, but not each time.
        if self.places.is_none() || 2 * self.gone as usize > self.list.len() {
            self.list.retain(|target| *target != NOBODY);
            self.gone = 0;
            if self.places.take().is_some() && self.list.len() > SEARCHED_MAX {
                self.find_by_place();
            }
        }
    }

    fn find_by_place(&mut self) {
        debug_assert_eq!(self.gone, 0, "nobody is found where nobody is");
        let numbered = self.list.iter().zip(0..);
        self.places = Some(numbered.map(|(target, place)| (target.subscription, place)).collect());
    }

    /// Recounts them.
    pub fn check(&self) {
        let gone = self.list.len() - self.iter().collect::<Vec<Target>>().len();
        assert_eq!(self.gone as usize, gone, "places of subscriptions that ended");
        let Some(places) = &self.places else {
            return assert!(gone == 0 && self.list.len() <= SEARCHED_MAX, "a few stand close together");
        };
        assert_eq!(places.len(), self.len(), "each is found");
        let in_place = |(&subscription, &place): (&u32, &u32)| {
            self.list.get(place as usize).is_some_and(|target| target.subscription == subscription)
        };
        assert!(places.iter().all(in_place), "each is where it was put");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: u32) -> Target {
        Target { subscription: number, slot: number % 7 }
    }

    #[test]
    fn they_keep_their_order_whoever_leaves() {
        for count in [1, 2, 3, 31, 32, 33, 34, 100, 1000] {
            let (mut subscribers, mut expected) = (Subscribers::default(), Vec::new());
            for number in 0..count {
                subscribers.push(target(number));
                expected.push(target(number));
                subscribers.check();
            }
            // Some from everywhere, then a few more, then all.
            for number in (0..count).filter(|number| number % 3 != 1) {
                subscribers.remove(target(number));
                expected.retain(|&other| other != target(number));
                subscribers.check();
                assert_eq!(subscribers.len(), expected.len());
            }
            for number in count..count + 40 {
                subscribers.push(target(number));
                expected.push(target(number));
            }
            subscribers.check();
            assert_eq!(subscribers.iter().collect::<Vec<_>>(), expected);
            for target in expected.into_iter().rev() {
                subscribers.remove(target);
                subscribers.check();
            }
            assert!(subscribers.is_empty() && subscribers.only().is_none());
        }
    }

    #[test]
    fn of_very_many_each_leaves_without_a_look_at_the_others() {
        let mut subscribers = Subscribers::default();
        (0..1 << 20).for_each(|number| subscribers.push(target(number)));
        // The youngest first: a search from the start would take 2^39 steps.
        (0..1 << 20).rev().for_each(|number| subscribers.remove(target(number)));
        assert!(subscribers.is_empty());
    }
}
