//! Whether every message came, once, and in order.

use std::collections::HashSet;

/// Gaps remembered of one stream, to tell a late message from a duplicate.
const MISSING_MAX: usize = 100_000;

/// What is wrong with what was received.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
}

impl Faults {
    pub fn add(&mut self, other: Faults) {
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

/// One publisher's messages on one subject, as one subscription sees them.
#[derive(Clone, Default, Debug)]
pub struct Stream {
    next: u32,
    /// Boxed, because there are many streams and hardly any misses a message.
    #[allow(clippy::box_collection, reason = "an unused set would be three times as large as the rest")]
    missing: Option<Box<HashSet<u32>>>,
}

impl Stream {
    /// Takes the next message; returns whether it counts as delivered.
    #[inline]
    pub fn take(&mut self, sequence: u32, faults: &mut Faults) -> bool {
        if sequence == self.next {
            self.next += 1;
            return true;
        }
        self.take_odd(sequence, faults)
    }

    #[cold]
    fn take_odd(&mut self, sequence: u32, faults: &mut Faults) -> bool {
        let missing = self.missing.get_or_insert_default();
        if sequence > self.next {
            let room = MISSING_MAX.saturating_sub(missing.len());
            missing.extend((self.next..sequence).take(room));
            self.next = sequence + 1;
            return true;
        }
        if missing.remove(&sequence) {
            faults.reordered += 1;
            true
        } else {
            faults.duplicated += 1;
            false
        }
    }
}

/// One publisher's messages on one subject, spread over the members of a queue group: each goes to
/// exactly one, so only the union has an order to check.
#[derive(Clone, Default, Debug)]
pub struct Spread {
    seen: Vec<u64>,
}

impl Spread {
    #[inline]
    pub fn take(&mut self, sequence: u32, faults: &mut Faults) -> bool {
        let (word, bit) = ((sequence / 64) as usize, 1u64 << (sequence % 64));
        if self.seen.len() <= word {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        faults.duplicated += u64::from(!fresh);
        fresh
    }

    /// Adds what another thread's members saw; what both saw came twice. Returns how many.
    pub fn merge(&mut self, other: &Spread) -> u64 {
        if self.seen.len() < other.seen.len() {
            self.seen.resize(other.seen.len(), 0);
        }
        let mut twice = 0;
        for (mine, theirs) in self.seen.iter_mut().zip(&other.seen) {
            twice += u64::from((*mine & theirs).count_ones());
            *mine |= theirs;
        }
        twice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(sequence: &[u32]) -> (u64, Faults) {
        let (mut stream, mut faults, mut delivered) = (Stream::default(), Faults::default(), 0);
        for &number in sequence {
            delivered += u64::from(stream.take(number, &mut faults));
        }
        (delivered, faults)
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        assert_eq!(faults_of(&[0, 1, 2, 3]), (4, Faults::default()));
        assert_eq!(faults_of(&[0, 1, 3]), (3, Faults::default()), "one never came: 3 of 4 delivered");
        assert_eq!(faults_of(&[0, 1, 1, 2]), (3, Faults { duplicated: 1, ..Faults::default() }));
        assert_eq!(faults_of(&[0, 2, 1, 3]), (4, Faults { reordered: 1, ..Faults::default() }));
        assert_eq!(
            faults_of(&[0, 2, 1, 1]),
            (3, Faults { reordered: 1, duplicated: 1, ..Faults::default() })
        );
    }

    #[test]
    fn a_group_message_delivered_to_two_members_is_a_duplicate() {
        let mut faults = Faults::default();
        let (mut one, mut two) = (Spread::default(), Spread::default());
        assert!(one.take(0, &mut faults) && one.take(100, &mut faults) && two.take(1, &mut faults));
        assert!(!one.take(100, &mut faults));
        assert!(two.take(0, &mut faults), "another thread's member cannot know");
        assert_eq!(faults.duplicated, 1);
        assert_eq!(one.merge(&two), 1);
    }
}
