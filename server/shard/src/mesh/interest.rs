//! The barrier of interest: an answer that promises "your subscriptions are in force" waits until
//! every other shard has said so.

use crate::identity::{ConnectionId, ShardId};
use std::collections::VecDeque;

/// Sequence numbers of the interest this shard announced, and who confirmed how far.
#[derive(Debug)]
pub struct Interest {
    announced: u64,
    /// By shard; this shard's own place is always up to date.
    in_force: Vec<u64>,
    /// Whose answers wait, in order; the answers wait with their receivers. Who is gone is skipped.
    waiting: VecDeque<(u64, ConnectionId)>,
}

impl Interest {
    pub fn new(shards: usize, own: ShardId) -> Interest {
        let mut in_force = vec![0; shards];
        in_force[usize::from(own)] = u64::MAX;
        Interest { announced: 0, in_force, waiting: VecDeque::new() }
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
