//! Messages with deadlines that wait in an outbox: the earliest deadline of a lane goes first, and what
//! nobody wants any more is dropped.

use super::pool::BufferPool;
use super::segment::Segment;
use crate::identity::{Nanos, PublisherId};
use crate::lanes::{LANES, Lane};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// One message: its frame, parts of which may be shared with other receivers.
#[derive(Debug)]
struct Late {
    frame: Frame,
    bytes: usize,
    number: u64,
}

pub type Frame = SmallVec<[Segment; 1]>;

/// See the module.
#[derive(Debug, Default)]
pub struct Timed {
    /// By deadline, then by arrival.
    lanes: [BTreeMap<(Nanos, u64), Late>; LANES],
    /// Arrivals counted, also by those who do not wait here: what an answer may not overtake.
    arrivals: u64,
    waiting: BTreeSet<u64>,
    /// The latest deadline that waits of a publisher and subject: it keeps its own messages in order.
    latest: BTreeMap<(PublisherId, u64), Nanos>,
}

impl Timed {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `stream`: the message's publisher and a hash of its subject and lane.
    pub fn push(&mut self, lane: Lane, deadline: Nanos, stream: (PublisherId, u64), frame: Frame) {
        let latest = self.latest.entry(stream).or_insert(deadline);
        *latest = deadline.max(*latest);
        self.arrivals += 1;
        let number = self.arrivals;
        let bytes = frame.iter().map(|segment| segment.bytes().len()).sum();
        let late = Late { frame, bytes, number };
        debug_assert!(late.bytes > 0, "a message of no bytes would never be next");
        let new = self.waiting.insert(number);
        let other = self.lanes[lane as usize].insert((*latest, number), late);
        debug_assert!(new && other.is_none(), "arrivals are counted up");
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Whether all that had arrived then has left.
    pub fn has_left(&self, arrivals: u64) -> bool {
        debug_assert!(arrivals <= self.arrivals, "nothing waits for what is still to come");
        self.waiting.first().is_none_or(|&first| first > arrivals)
    }

    /// Bytes of the next message of a lane; 0: none waits.
    pub fn head(&self, lane: usize) -> usize {
        self.lanes[lane].first_key_value().map_or(0, |(_, late)| late.bytes)
    }

    /// Takes the next message of a lane. Returns its bytes.
    pub fn take(&mut self, lane: Lane, into: &mut Vec<Segment>) -> usize {
        let Some((_, late)) = self.lanes[lane as usize].pop_first() else { return 0 };
        self.forget(late.number);
        into.extend(late.frame);
        late.bytes
    }

    /// Drops what nobody wants any more. Returns how many messages, and their bytes.
    pub fn drop_expired(&mut self, now: Nanos, pool: &mut BufferPool) -> (u64, usize) {
        let mut dropped = (0, 0);
        for lane in 0..LANES {
            while let Some(first) = self.lanes[lane].first_entry().filter(|first| first.key().0 <= now) {
                let late = first.remove();
                dropped = (dropped.0 + 1, dropped.1 + late.bytes);
                self.drop(late, pool);
            }
        }
        dropped
    }

    /// Drops the message of a lane that has most time. Returns how many that were, and their bytes.
    pub fn drop_last(&mut self, lane: Lane, pool: &mut BufferPool) -> (u64, usize) {
        let Some((_, late)) = self.lanes[lane as usize].pop_last() else { return (0, 0) };
        let bytes = late.bytes;
        self.drop(late, pool);
        (1, bytes)
    }

    fn drop(&mut self, late: Late, pool: &mut BufferPool) {
        self.forget(late.number);
        late.frame.into_iter().for_each(|segment| pool.give_segment(segment));
    }

    fn forget(&mut self, number: u64) {
        let waited = self.waiting.remove(&number);
        debug_assert!(waited, "what leaves has waited");
        if self.waiting.is_empty() {
            self.latest.clear();
        }
    }

    /// Recounts what waits. Returns its bytes.
    pub fn check(&self) -> usize {
        let all = || self.lanes.iter().flat_map(BTreeMap::values);
        assert!(all().all(|late| self.waiting.contains(&late.number)), "what is there waits");
        assert_eq!(all().count(), self.waiting.len(), "what waits is there");
        let frame_bytes = |late: &Late| late.frame.iter().map(|segment| segment.bytes().len()).sum::<usize>();
        assert!(all().all(|late| late.bytes == frame_bytes(late)), "bytes of messages with deadlines");
        all().map(|late| late.bytes).sum()
    }

    /// All there is, in no order that matters.
    pub fn into_segments(self) -> impl Iterator<Item = Segment> {
        self.lanes.into_iter().flatten().flat_map(|(_, late)| late.frame)
    }
}
