//! What waits in an outbox beside the normal lane: the other lanes, and the answers given meanwhile.
//!
//! A client may conclude from an answer that what was on its way before has arrived. So an answer leaves
//! once all that was queued before it has left, in whatever lane; what was queued after may overtake it.

use super::pool::BufferPool;
use super::segment::{self, SEGMENTS_A_SEND_MAX, Segment};
use super::timed::Timed;
use crate::identity::Nanos;
#[cfg(debug_assertions)]
use crate::lanes::Watch;
use crate::lanes::{LANES, Lane, Scheduler};
use crate::limits::Shares;
use std::collections::VecDeque;

/// Bytes after which a send takes no further frame. What is handed to the kernel cannot be overtaken.
const BYTES_A_SEND_MAX: usize = 64 << 10;
const _: () = assert!(BYTES_A_SEND_MAX <= segment::BYTES_A_SEND_MAX);

/// What an answer takes beside its frames, in a queue that may be half empty.
const ANSWER_BYTES: usize = 192;

#[derive(Debug)]
struct Answer {
    frames: Vec<u8>,
    /// It leaves once so many bytes of each lane have, and so many messages with deadlines.
    behind: [u64; LANES],
    arrivals: u64,
}

/// See the module. The normal lane's own queue stays where it is, in the outbox.
#[derive(Debug)]
pub(super) struct Beside {
    queues: [VecDeque<Segment>; LANES],
    entered: [u64; LANES],
    left: [u64; LANES],
    answers: VecDeque<Answer>,
    scheduler: Scheduler,
    /// Messages with deadlines, since the first of them.
    timed: Option<Box<Timed>>,
    /// Every simulation and test looks at what is promised.
    #[cfg(debug_assertions)]
    watch: Watch,
}

impl Beside {
    /// `normal_bytes` wait already in the normal lane.
    pub(super) fn new(normal_bytes: usize) -> Beside {
        let mut entered = [0; LANES];
        entered[Lane::Normal as usize] = normal_bytes as u64;
        Beside {
            queues: Default::default(),
            entered,
            left: [0; LANES],
            answers: VecDeque::new(),
            scheduler: Scheduler::default(),
            timed: None,
            #[cfg(debug_assertions)]
            watch: Watch::default(),
        }
    }

    pub(super) fn queue(&mut self, lane: Lane) -> &mut VecDeque<Segment> {
        debug_assert_ne!(lane, Lane::Normal, "it has its queue in the outbox");
        let queue = &mut self.queues[lane as usize];
        if queue.capacity() == 0 {
            // Of its own: none is lent for it.
            queue.reserve(1);
        }
        queue
    }

    pub(super) fn entered(&mut self, lane: Lane, bytes: usize) {
        self.entered[lane as usize] += bytes as u64;
    }

    pub(super) fn left(&mut self, lane: Lane, bytes: usize) {
        self.left[lane as usize] += bytes as u64;
        debug_assert!(self.left[lane as usize] <= self.entered[lane as usize], "what left had entered");
    }

    /// Memory that is taken for each thing that waits by itself, beside its bytes.
    pub(super) fn extra_bytes(&self) -> usize {
        let timed = self.timed.as_ref().map_or(0, |timed| timed.extra_bytes());
        self.answers.len() * ANSWER_BYTES + timed
    }

    pub(super) fn answer_tail(&mut self) -> &mut Vec<u8> {
        let (behind, arrivals) = (self.entered, self.timed.as_ref().map_or(0, |timed| timed.arrivals()));
        let joins = |last: &Answer| last.behind == behind && last.arrivals == arrivals;
        if !self.answers.back().is_some_and(joins) {
            // No larger than it is: there may be one between each two messages.
            self.answers.push_back(Answer { frames: Vec::new(), behind, arrivals });
        }
        &mut self.answers.back_mut().expect("just pushed").frames
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && self.queues.iter().all(VecDeque::is_empty)
            && self.timed.as_ref().is_none_or(|timed| timed.is_empty())
    }

    /// All there is, in no order that matters.
    pub(super) fn into_segments(self) -> impl Iterator<Item = Segment> {
        let answers = self.answers.into_iter().map(|answer| Segment::Copied(answer.frames));
        let timed = self.timed.into_iter().flat_map(|timed| timed.into_segments());
        self.queues.into_iter().flatten().chain(answers).chain(timed)
    }

    /// Moves the next send out of the lanes; `normal` is the queue of the normal one.
    pub(super) fn take(
        &mut self,
        normal: &mut VecDeque<Segment>,
        shares: Shares,
        into: &mut Vec<Segment>,
    ) -> usize {
        let mut bytes = 0;
        // The last send may have ended within a frame.
        if matches!(normal.front(), Some(Segment::Shared(_))) {
            bytes += self.take_frames(Lane::Normal, normal, into);
        }
        while into.len() < SEGMENTS_A_SEND_MAX && bytes < BYTES_A_SEND_MAX {
            let due = self.answers.front().is_some_and(|answer| self.is_due(answer));
            if due && let Some(answer) = self.answers.pop_front() {
                bytes += answer.frames.len();
                into.push(Segment::Copied(answer.frames));
                continue;
            }
            let heads = self.heads(normal);
            let Some(lane) = self.scheduler.next(&heads) else { break };
            let taken = self.take_next(lane, normal, into);
            debug_assert_eq!(taken, heads[lane as usize], "what leaves stood at the head");
            bytes += taken;
            let waits = self.heads(normal).map(|head| head > 0);
            self.scheduler.served(lane, taken, waits, shares);
            #[cfg(debug_assertions)]
            assert!(self.watch.served(lane, taken, (heads, waits), shares), "a lane starves");
        }
        bytes
    }

    /// Recounts what waits, that of the normal lane included. Returns its bytes.
    pub(super) fn check(&self, normal: &VecDeque<Segment>) -> usize {
        let bytes_of = |queue: &VecDeque<Segment>| queue.iter().map(|part| part.bytes().len()).sum::<usize>();
        assert!(self.queues[Lane::Normal as usize].is_empty(), "the normal lane waits in the outbox");
        let mut bytes = bytes_of(normal);
        for lane in Lane::ALL {
            let place = lane as usize;
            let waits = bytes_of(if lane == Lane::Normal { normal } else { &self.queues[place] });
            assert_eq!(self.entered[place] - self.left[place], waits as u64, "bytes of a lane");
            bytes += if lane == Lane::Normal { 0 } else { waits };
        }
        bytes += self.answers.iter().map(|answer| answer.frames.len()).sum::<usize>();
        bytes + self.timed.as_ref().map_or(0, |timed| timed.check())
    }

    fn is_due(&self, answer: &Answer) -> bool {
        answer.behind.iter().zip(&self.left).all(|(behind, left)| behind <= left)
            && self.timed.as_ref().is_none_or(|timed| timed.has_left(answer.arrivals))
    }

    pub(super) fn timed(&mut self) -> &mut Timed {
        self.timed.get_or_insert_default()
    }

    /// Drops what nobody wants any more. Returns how many messages, and their bytes.
    pub(super) fn drop_expired(&mut self, now: Nanos, pool: &mut BufferPool) -> (u64, usize) {
        self.timed.as_mut().map_or((0, 0), |timed| timed.drop_expired(now, pool))
    }

    /// Drops the message of a lane that has most time. Returns how many that were, and their bytes.
    pub(super) fn drop_last(&mut self, lane: Lane, pool: &mut BufferPool) -> (u64, usize) {
        self.timed.as_mut().map_or((0, 0), |timed| timed.drop_last(lane, pool))
    }

    /// Bytes of what leaves next of every lane, as `take_frames` takes it.
    fn heads(&self, normal: &VecDeque<Segment>) -> [usize; LANES] {
        let head = |queue: &VecDeque<Segment>| {
            let first = queue.front().map_or(0, |segment| segment.bytes().len());
            let parts = queue.iter().skip(1).take_while(|segment| matches!(segment, Segment::Shared(_)));
            first + parts.map(|part| part.bytes().len()).sum::<usize>()
        };
        let mut heads = [0; LANES];
        for (place, queue) in self.queues.iter().enumerate() {
            heads[place] = head(queue);
        }
        heads[Lane::Normal as usize] = head(normal);
        if let Some(timed) = &self.timed {
            for (lane, head) in heads.iter_mut().enumerate() {
                *head = match timed.head(lane) {
                    0 => *head,
                    bytes => bytes,
                };
            }
        }
        heads
    }

    /// Takes what is next of a lane: of those with deadlines first.
    fn take_next(&mut self, lane: Lane, normal: &mut VecDeque<Segment>, into: &mut Vec<Segment>) -> usize {
        match self.timed.as_mut().map_or(0, |timed| timed.take(lane, into)) {
            0 => self.take_frames(lane, normal, into),
            bytes => bytes,
        }
    }

    /// Takes a segment, and those behind it that its last frame goes on in.
    fn take_frames(&mut self, lane: Lane, normal: &mut VecDeque<Segment>, into: &mut Vec<Segment>) -> usize {
        let queue = if lane == Lane::Normal { normal } else { &mut self.queues[lane as usize] };
        let mut bytes = 0;
        while let Some(segment) = queue.pop_front() {
            bytes += segment.bytes().len();
            into.push(segment);
            if !matches!(queue.front(), Some(Segment::Shared(_))) {
                break;
            }
        }
        self.left(lane, bytes);
        bytes
    }
}
