//! Receives that take one buffer, in turn: those who wait longest first, and no more in a turn than there are
//! buffers.

use ringbolt_shard::ConnectionId;
use std::collections::VecDeque;

/// Turns without a reason after which receives go on by themselves again.
const RATIONED_TURNS: u64 = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rations {
    waiting: VecDeque<ConnectionId>,
    /// Who received something in this turn and wants more: it comes after those who did not.
    fed: Vec<ConnectionId>,
    /// The turn from which on there are none.
    until: u64,
}

impl Rations {
    /// There is a reason for them.
    pub fn begin(&mut self, turn: u64) {
        self.until = turn + RATIONED_TURNS;
    }

    #[inline]
    pub fn are_on(&self, turn: u64) -> bool {
        turn < self.until
    }

    /// A connection is to be received from in its turn.
    pub fn ask(&mut self, id: ConnectionId, fed: bool) {
        if fed {
            self.fed.push(id);
        } else {
            self.waiting.push_back(id);
        }
    }

    pub fn end_turn(&mut self) {
        self.waiting.extend(self.fed.drain(..));
    }

    /// Who has waited longest.
    pub fn next(&mut self) -> Option<ConnectionId> {
        self.waiting.pop_front()
    }

    /// Whether somebody waits.
    pub fn are_asked_for(&self) -> bool {
        !self.waiting.is_empty()
    }
}
