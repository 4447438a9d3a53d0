//! What was queued for connections that ended: counted and given back piece by piece, since it may be much.

use super::outbox::count_deliveries;
use super::pool::BufferPool;
use super::segment::Segment;
use crate::event::Dialect;
use crate::steps::BYTES_A_STEP;
use std::collections::VecDeque;
use std::fmt;

/// Steps of one piece.
const PIECE_STEPS: usize = 4096;
/// Steps that it takes to give a segment back, whatever its length.
const SEGMENT_STEPS: usize = 2;

/// Of one connection.
struct One {
    dialect: Dialect,
    segments: Box<dyn Iterator<Item = Segment>>,
}

/// See the module.
#[derive(Default)]
pub struct Remains(VecDeque<One>);

impl Remains {
    pub fn add(&mut self, dialect: Dialect, segments: impl Iterator<Item = Segment> + 'static) {
        self.0.push_back(One { dialect, segments: Box::new(segments) });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a piece back. Returns how many deliveries that were, and the steps it took.
    pub fn give_back(&mut self, pool: &mut BufferPool) -> (u64, usize) {
        let (mut deliveries, mut steps) = (0, 0);
        while steps < PIECE_STEPS
            && let Some(one) = self.0.front_mut()
        {
            let Some(segment) = one.segments.next() else {
                self.0.pop_front();
                continue;
            };
            steps += SEGMENT_STEPS + segment.bytes().len() / BYTES_A_STEP;
            deliveries += count_deliveries(one.dialect, segment.frames());
            pool.give_segment(segment);
        }
        (deliveries, steps)
    }
}

impl fmt::Debug for Remains {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Remains of {}", self.0.len())
    }
}
