//! What handling an event leaves to be done by other rooms than the one it came up in. The shard does it once
//! the event is handled, in the order it came up.

use crate::identity::{AccountId, ConnectionId, PublisherId};
use crate::table::Key;
use crate::work::death::Death;
use crate::work::task::Task;
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Debug)]
pub enum Outcome {
    /// A connection was taken out: what it had is forgotten.
    Cut(ConnectionId),
    /// A publisher of another shard is held back, or no longer.
    Pause(PublisherId),
    Resume(PublisherId),
    /// One outruns a receiver of this shard.
    Outruns(PublisherId),
    /// A connection is not open any more: what it had goes.
    Leave(ConnectionId),
    /// The edge has nothing of a connection any more.
    Gone(ConnectionId),
    /// A publisher of this shard is no longer held back, and has said more meanwhile.
    GoOn(ConnectionId),
    /// A message becomes a dead letter.
    Dead(Death, Box<Task>),
    Breaker(BreakerChange),
    Answer(Answer),
    Gathered(Gathered),
}

/// A member whose breaker changed, and how it is now.
#[derive(Debug)]
pub struct BreakerChange {
    pub group: Key,
    pub connection: ConnectionId,
    pub pattern: Box<str>,
    pub state: &'static str,
}

/// Who asked to be told something, where, and what it is told. The account is the one of the reply subject.
#[derive(Debug)]
pub struct Answer {
    pub client: ConnectionId,
    pub account: AccountId,
    pub reply: Box<[u8]>,
    pub words: Box<[u8]>,
}

/// A request that gathers no more, and the replies it got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    pub requester: ConnectionId,
    pub account: AccountId,
    pub reply: Rc<str>,
    pub correlation_id: u64,
    pub replies: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outcomes(VecDeque<Outcome>);

impl Outcomes {
    pub fn push(&mut self, outcome: Outcome) {
        self.0.push_back(outcome);
    }

    pub fn pop(&mut self) -> Option<Outcome> {
        self.0.pop_front()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
