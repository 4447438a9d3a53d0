//! The barrier of interest: an answer that promises "your subscriptions are in force" waits until
//! every other shard has said so.

use crate::identity::{ConnectionId, ShardId};
use std::collections::{BTreeSet, VecDeque};

/// Sequence numbers of the interest this shard announced, and who confirmed how far.
#[derive(Debug)]
pub struct Interest {
    announced: u64,
    /// By shard; this shard's own place is always up to date.
    in_force: Vec<u64>,
    /// Whose answers wait, in order; the answers wait with their receivers. Who is gone is skipped.
    waiting: VecDeque<(u64, ConnectionId)>,
    /// Who changed interest when too much of it was not confirmed, and is held back until it is.
    held_back: BTreeSet<ConnectionId>,
}

/// Announcements that may be unconfirmed before who makes more waits, and those it then waits for.
const UNCONFIRMED_MAX: u64 = 1024;
const UNCONFIRMED_AGAIN: u64 = UNCONFIRMED_MAX / 2;

impl Interest {
    pub fn new(shards: usize, own: ShardId) -> Interest {
        let mut in_force = vec![0; shards];
        in_force[usize::from(own)] = u64::MAX;
        Interest { announced: 0, in_force, waiting: VecDeque::new(), held_back: BTreeSet::new() }
    }

    /// The sequence number of the next announcement.
    pub fn announce(&mut self) -> u64 {
        self.announced += 1;
        self.announced
    }

    pub fn confirm(&mut self, shard: ShardId, sequence: u64) {
        assert!(sequence <= self.announced, "only what was announced comes in force");
        let known = &mut self.in_force[usize::from(shard)];
        debug_assert!(sequence >= *known, "a link is first in, first out");
        *known = sequence;
    }

    /// Whether everything announced is in force: an answer that promises it may leave at once.
    pub fn is_in_force(&self) -> bool {
        self.settled() >= self.announced
    }

    /// Whether the other shards are far behind with what was announced.
    pub fn is_far_behind(&self) -> bool {
        self.unconfirmed() >= UNCONFIRMED_MAX
    }

    /// Remembers who is held back until they have caught up. Returns whether it was not already.
    pub fn hold_back(&mut self, connection: ConnectionId) -> bool {
        self.held_back.insert(connection)
    }

    /// Who need not be held back any longer.
    pub fn let_go(&mut self) -> BTreeSet<ConnectionId> {
        if self.unconfirmed() > UNCONFIRMED_AGAIN {
            BTreeSet::new()
        } else {
            std::mem::take(&mut self.held_back)
        }
    }

    fn unconfirmed(&self) -> u64 {
        self.announced.saturating_sub(self.settled())
    }

    /// Has a connection's answer wait until everything announced so far is in force. Returns up to where that
    /// is.
    pub fn hold(&mut self, connection: ConnectionId) -> u64 {
        let last = self.waiting.back().map_or(0, |&(sequence, _)| sequence);
        debug_assert!(last <= self.announced, "who waits longest is the first to be answered");
        self.waiting.push_back((self.announced, connection));
        self.announced
    }

    /// Whose next answer's wait is over, and up to where it waited.
    pub fn release(&mut self) -> Option<(u64, ConnectionId)> {
        let settled = self.settled();
        let &(sequence, _) = self.waiting.front()?;
        if sequence <= settled { self.waiting.pop_front() } else { None }
    }

    /// Answers held back.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Up to where answers wait, and whose.
    pub fn held(&self) -> impl Iterator<Item = (u64, ConnectionId)> {
        self.waiting.iter().copied()
    }

    fn settled(&self) -> u64 {
        self.in_force.iter().copied().min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ConnectionId = ConnectionId { slot: 1, generation: 1 };

    #[test]
    fn who_announces_too_much_goes_on_once_half_of_it_is_confirmed() {
        let mut interest = Interest::new(2, 0);
        assert!((0..UNCONFIRMED_MAX).all(|_| !interest.is_far_behind() && interest.announce() > 0));
        assert!(interest.is_far_behind());
        assert!(interest.hold_back(CLIENT) && !interest.hold_back(CLIENT), "it is held back once");
        interest.confirm(1, UNCONFIRMED_MAX - UNCONFIRMED_AGAIN - 1);
        assert!(interest.let_go().is_empty());
        interest.confirm(1, UNCONFIRMED_MAX - UNCONFIRMED_AGAIN);
        assert!(interest.let_go().into_iter().eq([CLIENT]) && !interest.is_far_behind());
        assert!(interest.let_go().is_empty());
    }

    #[test]
    fn answers_wait_for_every_shard_and_keep_their_order() {
        let mut interest = Interest::new(3, 1);
        assert!(interest.is_in_force(), "nothing announced, nothing to wait for");
        assert_eq!(interest.announce(), 1);
        assert!(!interest.is_in_force());
        assert_eq!(interest.hold(CLIENT), 1);
        assert_eq!(interest.announce(), 2);
        assert_eq!(interest.hold(CLIENT), 2);
        interest.confirm(0, 2);
        assert_eq!(interest.release(), None);
        interest.confirm(2, 1);
        assert_eq!(interest.release(), Some((1, CLIENT)));
        assert_eq!(interest.release(), None);
        interest.confirm(2, 2);
        assert_eq!(interest.release(), Some((2, CLIENT)));
        assert_eq!(interest.waiting(), 0);
    }
}
