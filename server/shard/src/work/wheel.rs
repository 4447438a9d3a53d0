//! A hashed timer wheel: starting, stopping and firing a timer cost the same however many there are, and a
//! stopped timer keeps nothing.

use crate::identity::{Nanos, TICK_NANOS};
use slab::Slab;

/// A timer that was started and has neither fired nor been stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer(u32);

const SLOTS: usize = 512;
/// A slot's width: the shard's tick, finer than which nothing is looked at.
const SLOT_NANOS: u64 = TICK_NANOS;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    at: Nanos,
    key: u64,
    slot: u32,
    before: u32,
    behind: u32,
}

/// Timers by when they are due; `key` is the caller's.
#[derive(Debug)]
pub struct Wheel {
    /// First node of each slot's list.
    slots: Box<[u32]>,
    nodes: Slab<Node>,
    /// Slots up to this one, counted from the beginning of time, have been looked at.
    turned_to: u64,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { slots: vec![NONE; SLOTS].into(), nodes: Slab::new(), turned_to: 0 }
    }
}

impl Wheel {
    pub fn start(&mut self, at: Nanos, key: u64) -> Timer {
        // Due when its slot begins; what would be in a slot that was looked at is in the next.
        let slot = (at.0.div_ceil(SLOT_NANOS).max(self.turned_to + 1) % SLOTS as u64) as u32;
        let behind = self.slots[slot as usize];
        let node = self.nodes.insert(Node { at, key, slot, before: NONE, behind }) as u32;
        debug_assert_ne!(node, NONE, "a timer has a number");
        if behind != NONE {
            debug_assert_eq!(self.nodes[behind as usize].before, NONE, "it was the first of its slot");
            self.nodes[behind as usize].before = node;
        }
        self.slots[slot as usize] = node;
        Timer(node)
    }

    pub fn stop(&mut self, Timer(node): Timer) {
        let Node { slot, before, behind, .. } = self.nodes.remove(node as usize);
        let first = self.slots[slot as usize];
        debug_assert_eq!(before == NONE, first == node, "a slot begins with the timer that has none before");
        match before {
            NONE => self.slots[slot as usize] = behind,
            _ => {
                debug_assert_eq!(self.nodes[before as usize].behind, node, "neighbours know each other");
                self.nodes[before as usize].behind = behind;
            }
        }
        if behind != NONE {
            self.nodes[behind as usize].before = before;
        }
    }

    /// Whether a timer is of that key.
    pub fn is_of(&self, Timer(node): Timer, key: u64) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.key == key)
    }

    /// Recounts the timers. Returns how many there are.
    pub fn check(&self) -> usize {
        let mut timers = 0;
        for &first in &*self.slots {
            let (mut before, mut node) = (NONE, first);
            while node != NONE {
                assert_eq!(self.nodes[node as usize].before, before, "neighbours know each other");
                (before, node) = (node, self.nodes[node as usize].behind);
                timers += 1;
            }
        }
        assert_eq!(timers, self.nodes.len(), "timers of all slots");
        timers
    }

    /// Takes the timers that are due out, in no order, and appends their keys.
    pub fn fire(&mut self, now: Nanos, due: &mut Vec<u64>) {
        let until = now.0 / SLOT_NANOS;
        let slots = (until - self.turned_to.min(until)).min(SLOTS as u64);
        for step in 0..slots {
            let mut node = self.slots[((until - step) % SLOTS as u64) as usize];
            while node != NONE {
                let Node { at, key, behind, .. } = self.nodes[node as usize];
                // Others of the slot are due a whole turn or more later.
                if at <= now {
                    due.push(key);
                    self.stop(Timer(node));
                }
                node = behind;
            }
        }
        self.turned_to = self.turned_to.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn every_timer_fires_once_not_early_and_at_most_two_ticks_late(
            steps in prop::collection::vec((0u8..4, 0u64..200 * SLOT_NANOS), 1..200),
        ) {
            let (mut wheel, mut now, mut next) = (Wheel::default(), Nanos(0), 0);
            let mut open: BTreeMap<u64, (Nanos, Timer)> = BTreeMap::new();
            for (what, nanos) in steps {
                match what {
                    0 | 1 => {
                        let at = Nanos(now.0 + nanos);
                        open.insert(next, (at, wheel.start(at, next)));
                        next += 1;
                    }
                    2 => {
                        if let Some((_, (_, timer))) = open.pop_first() {
                            wheel.stop(timer);
                        }
                    }
                    _ => {
                        now = Nanos(now.0 + nanos);
                        let mut due = Vec::new();
                        wheel.fire(now, &mut due);
                        for key in due {
                            let (at, _) = open.remove(&key).expect("fired once");
                            prop_assert!(at <= now, "not early");
                        }
                        for (at, _) in open.values() {
                            prop_assert!(at.0 + 2 * SLOT_NANOS > now.0, "{at:?} is late at {now:?}");
                        }
                    }
                }
                prop_assert_eq!(wheel.nodes.len(), open.len());
            }
        }
    }
}
