//! What a turn may cost, and who waits for the next: a client pays for its own work, and nobody waits for all
//! that others have said.
//!
//! Work is counted in steps (`turn.rs`). A connection may spend so many in a turn, and all together so many;
//! an operation that is begun is finished. Who has spent more goes on a turn later for each time over, and
//! what it says meanwhile waits with its sender.

use crate::identity::{ConnectionId, Nanos};
use crate::limits::Limits;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// Steps that all operations of a turn may take together, and those of one connection; an operation more.
    turn_steps: i64,
    client_steps: i64,
    /// When the turn began that is going on: all its events are of one time.
    began: Nanos,
    /// Steps that are left of it.
    left: i64,
    /// Who came when the turn was over, and has spent nothing too much.
    fresh: VecDeque<ConnectionId>,
    /// Who has spent more than its share.
    debtors: VecDeque<ConnectionId>,
    /// Who leaves and has more to give back.
    leaving: VecDeque<ConnectionId>,
    /// Turns that began with somebody waiting.
    turns: u64,
    /// Who was heard last, and when that was another one, or another shard, than before.
    last: ConnectionId,
    shared_at: Nanos,
    /// When a client was heard last.
    heard_at: Nanos,
}

/// Whoever has been alone for so long may take so many turns at once: what it sends is sent in larger pieces.
const ALONE_AFTER_NANOS: u64 = 100_000_000;
const ALONE_TURNS: i64 = 8;

/// Once in so many turns those who have spent too much come first, or others could keep them waiting.
const DEBTORS_FIRST_EVERY: u64 = 4;

impl Pace {
    pub fn new(limits: &Limits) -> Pace {
        let (turn_steps, client_steps) = (limits.turn_steps.into(), limits.client_steps.into());
        let (fresh, debtors, leaving) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (began, shared_at, last) = (Nanos(0), Nanos(0), ConnectionId { slot: 0, generation: 0 });
        Pace {
            turn_steps,
            client_steps,
            began,
            left: turn_steps,
            fresh,
            debtors,
            leaving,
            turns: 0,
            last,
            shared_at,
            heard_at: began,
        }
    }

    /// Whether something may be begun; what is, may take what one connection may.
    #[inline]
    pub fn goes_on(&mut self, id: ConnectionId, now: Nanos) -> bool {
        if self.last != id {
            (self.last, self.shared_at) = (id, now);
        }
        self.heard_at = now;
        if self.began != now {
            self.begin(now);
        }
        self.left > 0
    }

    /// What the one that is heard may take yet, if nobody else has been heard for a while, nor waits.
    pub fn alone(&self, now: Nanos) -> Option<i64> {
        let alone = now.since(self.shared_at) >= ALONE_AFTER_NANOS && !self.is_behind();
        Some((ALONE_TURNS - 1) * self.turn_steps + self.left).filter(|&share| alone && share > 0)
    }

    #[inline]
    fn begin(&mut self, now: Nanos) {
        (self.began, self.left) = (now, self.turn_steps);
    }

    /// A connection is heard in a later turn; after all others, if it owes.
    pub fn line_up(&mut self, id: ConnectionId, owes: bool) {
        let queue = if owes { &mut self.debtors } else { &mut self.fresh };
        queue.push_back(id);
    }

    /// Whether anything of the turn of that time is left.
    pub fn has_left(&mut self, now: Nanos) -> bool {
        if self.began != now {
            self.begin(now);
        }
        self.left > 0
    }

    /// Who leaves goes on with that in a later turn.
    pub fn line_up_to_leave(&mut self, id: ConnectionId) {
        self.leaving.push_back(id);
    }

    /// Who is next to go on leaving.
    pub fn next_to_leave(&mut self) -> Option<ConnectionId> {
        self.leaving.pop_front()
    }

    /// All who have more to give back, in turn.
    pub fn leaving(&self) -> impl ExactSizeIterator<Item = ConnectionId> {
        self.leaving.iter().copied()
    }

    /// Steps that are left of the turn, and those it has in all.
    pub fn left_of(&self) -> (i64, i64) {
        (self.left, self.turn_steps)
    }

    /// A turn begins with those who wait. Returns how many owe nothing, and how many do.
    pub fn begin_with_waiting(&mut self, now: Nanos) -> (usize, usize) {
        self.begin(now);
        self.turns += 1;
        (self.fresh.len(), self.debtors.len())
    }

    /// Who owes, in turn.
    pub fn debtors(&self) -> impl Iterator<Item = ConnectionId> {
        self.debtors.iter().copied()
    }

    /// Whether the turn is over for what comes of other shards: clients of this one are not to wait for it.
    pub fn is_over_for_shards(&self) -> bool {
        self.is_spent() && (self.is_behind() || self.began.since(self.heard_at) < ALONE_AFTER_NANOS)
    }

    /// Another shard was heard.
    pub fn share_with_shard(&mut self, now: Nanos) {
        self.shared_at = now;
    }

    /// What one connection may take.
    #[inline]
    pub fn share(&self) -> i64 {
        self.client_steps
    }

    #[inline]
    pub fn spend(&mut self, steps: i64) {
        self.left -= steps;
    }

    /// Other work than that of clients was done.
    pub fn spend_at(&mut self, now: Nanos, steps: i64) {
        if self.began != now {
            self.begin(now);
        }
        self.left -= steps;
    }

    /// Whether somebody waits for the next turn.
    #[inline]
    pub fn is_behind(&self) -> bool {
        !self.fresh.is_empty() || !self.debtors.is_empty() || !self.leaving.is_empty()
    }

    /// Whether a turn's steps are spent.
    pub fn is_spent(&self) -> bool {
        self.left <= 0
    }

    /// Who waits, in turn: those who have spent too much come after those who have not, mostly.
    pub fn next(&mut self, fresh_left: &mut usize, debtors_left: &mut usize) -> Option<ConnectionId> {
        let debtors_first = self.turns.is_multiple_of(DEBTORS_FIRST_EVERY);
        let debtor = *fresh_left == 0 || (debtors_first && *debtors_left > 0);
        let (queue, left) =
            if debtor { (&mut self.debtors, debtors_left) } else { (&mut self.fresh, fresh_left) };
        *left = left.checked_sub(1)?;
        queue.pop_front()
    }

    /// Connections that wait, for the recount.
    pub fn waiting(&self) -> impl Iterator<Item = ConnectionId> {
        self.fresh.iter().chain(&self.debtors).copied()
    }
}
