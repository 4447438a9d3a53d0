//! The barrier of interest: an answer that promises "your subscriptions are in force" waits until
//! every other shard has said so.

use crate::identity::{ConnectionId, ShardId};
use std::borrow::Cow;
use std::collections::VecDeque;

/// An answer held back, as it is sent.
pub type Answer = Cow<'static, [u8]>;

/// Sequence numbers of the interest this shard announced, and who confirmed how far.
#[derive(Debug)]
pub struct Interest {
    announced: u64,
    /// By shard; this shard's own place is always up to date.
    in_force: Vec<u64>,
    waiting: VecDeque<(u64, ConnectionId, Answer)>,
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

    /// Keeps an answer until everything announced so far is in force; answers keep their order.
    pub fn hold(&mut self, connection: ConnectionId, answer: Answer) {
        let last = self.waiting.back().map_or(0, |&(sequence, ..)| sequence);
        debug_assert!(last <= self.announced, "who waits longest is the first to be answered");
        self.waiting.push_back((self.announced, connection, answer));
    }

    /// The next answer whose wait is over.
    pub fn release(&mut self) -> Option<(ConnectionId, Answer)> {
        let settled = self.settled();
        let &(sequence, ..) = self.waiting.front()?;
        if sequence > settled {
            return None;
        }
        let (_, connection, answer) = self.waiting.pop_front()?;
        Some((connection, answer))
    }

    /// Takes out the answers of a connection that ends: nothing is left to be in force for it.
    pub fn take_of(&mut self, connection: ConnectionId) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.waiting);
        let (own, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|&(_, id, _)| id == connection);
        self.waiting = others.into();
        own.into_iter().map(|(_, _, answer)| answer).collect()
    }

    /// Answers held back.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whose answers are held back, once for each.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.waiting.iter().map(|&(_, connection, _)| connection)
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
        let pong = |number: u8| Answer::from(vec![number]);
        assert!(interest.is_in_force(), "nothing announced, nothing to wait for");
        assert_eq!(interest.announce(), 1);
        assert!(!interest.is_in_force());
        interest.hold(CLIENT, pong(1));
        assert_eq!(interest.announce(), 2);
        interest.hold(CLIENT, pong(2));
        interest.confirm(0, 2);
        assert_eq!(interest.release(), None);
        interest.confirm(2, 1);
        assert_eq!(interest.release(), Some((CLIENT, pong(1))));
        assert_eq!(interest.release(), None);
        interest.confirm(2, 2);
        assert_eq!(interest.release(), Some((CLIENT, pong(2))));
        assert_eq!(interest.waiting(), 0);
    }
}
