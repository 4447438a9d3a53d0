//! Messages with deadlines that wait in an outbox: the earliest deadline of a lane goes first, and what
//! nobody wants any more is dropped.

use super::pool::BufferPool;
use super::segment::Segment;
use crate::identity::{Nanos, PublisherId};
use crate::lanes::{LANES, Lane};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// What a message takes in the maps that it stands in, beside its frame.
const LATE_BYTES: usize = 280;

/// One message: its frame, parts of which may be shared with other receivers.
#[derive(Debug)]
struct Late {
    frame: Frame,
    bytes: usize,
    /// Its own deadline.
    deadline: Nanos,
    stream: Stream,
}

/// Messages that keep their order: those of a publisher in a lane on a subject, of which this is a hash.
type Stream = (PublisherId, Lane, u64);

/// Where a message is among those of its lane: by the time it leaves at the latest, then by arrival.
type Place = (Nanos, u64);

/// What waits of a stream.
#[derive(Debug)]
struct Streamed {
    /// Its latest deadline.
    latest: Nanos,
    messages: u32,
}

pub type Frame = SmallVec<[Segment; 1]>;

/// See the module.
#[derive(Debug, Default)]
pub struct Timed {
    lanes: [BTreeMap<Place, Late>; LANES],
    /// Arrivals counted, also by those who do not wait here: what an answer may not overtake.
    arrivals: u64,
    /// By arrival.
    waiting: BTreeMap<u64, (Lane, Nanos)>,
    /// By own deadline, then by arrival: one that its stream holds back may be past before it is next.
    due: BTreeSet<Place>,
    streams: BTreeMap<Stream, Streamed>,
}

impl Timed {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `stream`: the message's publisher and a hash of its subject. It leaves no earlier than what waits of
    /// its stream already, and not once its deadline is past.
    pub fn push(&mut self, lane: Lane, deadline: Nanos, stream: (PublisherId, u64), frame: Frame) {
        let stream = (stream.0, lane, stream.1);
        let streamed = self.streams.entry(stream).or_insert(Streamed { latest: deadline, messages: 0 });
        streamed.latest = deadline.max(streamed.latest);
        streamed.messages += 1;
        self.arrivals += 1;
        let number = self.arrivals;
        let bytes = frame.iter().map(|segment| segment.bytes().len()).sum();
        let late = Late { frame, bytes, deadline, stream };
        debug_assert!(late.bytes > 0, "a message of no bytes would never be next");
        self.waiting.insert(number, (lane, streamed.latest));
        self.due.insert((deadline, number));
        let other = self.lanes[lane as usize].insert((streamed.latest, number), late);
        debug_assert!(other.is_none(), "arrivals are counted up");
    }

    /// Memory taken beside the frames.
    pub fn extra_bytes(&self) -> usize {
        self.waiting.len() * LATE_BYTES
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Whether all that had arrived then has left.
    pub fn has_left(&self, arrivals: u64) -> bool {
        debug_assert!(arrivals <= self.arrivals, "nothing waits for what is still to come");
        self.waiting.first_key_value().is_none_or(|(&first, _)| first > arrivals)
    }

    /// Bytes of the next message of a lane; 0: none waits.
    pub fn head(&self, lane: usize) -> usize {
        self.lanes[lane].first_key_value().map_or(0, |(_, late)| late.bytes)
    }

    /// Takes the next message of a lane. Returns its bytes.
    pub fn take(&mut self, lane: Lane, into: &mut Vec<Segment>) -> usize {
        let Some(((_, number), late)) = self.lanes[lane as usize].pop_first() else { return 0 };
        self.forget(number, &late);
        into.extend(late.frame);
        late.bytes
    }

    /// Drops what nobody wants any more. Returns how many messages, and their bytes.
    pub fn drop_expired(&mut self, now: Nanos, pool: &mut BufferPool) -> (u64, usize) {
        let mut dropped = (0, 0);
        while let Some(&(deadline, number)) = self.due.first()
            && deadline <= now
        {
            let &(lane, latest) = self.waiting.get(&number).expect("what is due waits");
            let late = self.lanes[lane as usize].remove(&(latest, number)).expect("what waits is there");
            dropped = (dropped.0 + 1, dropped.1 + late.bytes);
            self.drop(number, late, pool);
        }
        dropped
    }

    /// Drops the message of a lane that has most time. Returns how many that were, and their bytes.
    pub fn drop_last(&mut self, lane: Lane, pool: &mut BufferPool) -> (u64, usize) {
        let Some(((_, number), late)) = self.lanes[lane as usize].pop_last() else { return (0, 0) };
        let bytes = late.bytes;
        self.drop(number, late, pool);
        (1, bytes)
    }

    fn drop(&mut self, number: u64, late: Late, pool: &mut BufferPool) {
        self.forget(number, &late);
        late.frame.into_iter().for_each(|segment| pool.give_segment(segment));
    }

    fn forget(&mut self, number: u64, late: &Late) {
        let waited = self.waiting.remove(&number).is_some();
        let due = self.due.remove(&(late.deadline, number));
        debug_assert!(waited && due, "what leaves has waited");
        if let Some(streamed) = self.streams.get_mut(&late.stream) {
            streamed.messages -= 1;
            if streamed.messages == 0 {
                self.streams.remove(&late.stream);
            }
        }
    }

    /// Recounts what waits. Returns its bytes.
    pub fn check(&self) -> usize {
        let all = || self.lanes.iter().flat_map(BTreeMap::values);
        let places = self.lanes.iter().flat_map(BTreeMap::iter);
        for (&(latest, number), late) in places {
            assert_eq!(self.waiting.get(&number), Some(&(late.stream.1, latest)), "what is there waits");
            assert!(self.due.contains(&(late.deadline, number)), "what waits has a deadline");
        }
        assert_eq!(
            (all().count(), all().count()),
            (self.waiting.len(), self.due.len()),
            "what waits is there"
        );
        let streamed = self.streams.values().map(|streamed| streamed.messages as usize).sum::<usize>();
        assert_eq!(streamed, self.waiting.len(), "messages of all streams");
        let frame_bytes = |late: &Late| late.frame.iter().map(|segment| segment.bytes().len()).sum::<usize>();
        assert!(all().all(|late| late.bytes == frame_bytes(late)), "bytes of messages with deadlines");
        all().map(|late| late.bytes).sum()
    }

    /// All there is, in no order that matters.
    pub fn into_segments(self) -> impl Iterator<Item = Segment> {
        self.lanes.into_iter().flatten().flat_map(|(_, late)| late.frame)
    }
}
