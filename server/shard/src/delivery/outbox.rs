//! What waits to be sent to one connection.
//!
//! One send is in flight at a time; what is produced meanwhile gathers behind it and leaves in the
//! next. Frames are copied into segments; a large payload is a segment of its own, shared with the
//! other receivers. Messages of other lanes than the normal one wait in `beside`, made with the first.

use super::beside::Beside;
use super::pool::{BufferPool, lent_bytes_of};
use super::segment::{BYTES_A_SEND_MAX, SEGMENTS_A_SEND_MAX, Segment};
use super::timed::Frame;
use crate::event::Dialect;
use crate::identity::{Nanos, PublisherId};
use crate::lanes::Lane;
use crate::limits::Shares;
use bytes::Bytes;
use ringbolt_protocol::native;
use ringbolt_protocol::nats;
use std::collections::{BTreeSet, VecDeque};

/// See the module. `queued_bytes` is the sum over `queue`; `flight_bytes` left it with the last take.
#[derive(Debug)]
pub struct Outbox {
    /// What its frames are written in.
    dialect: Dialect,
    queue: VecDeque<Segment>,
    /// The other lanes, while they have something, or a normal message that came after theirs waits.
    beside: Option<Box<Beside>>,
    queued_bytes: usize,
    flight_bytes: usize,
    /// When the send in flight was taken.
    flight_since: Nanos,
    /// The edge was told to send and has not come for it yet.
    announced: bool,
    /// Publishers held back until this outbox is half empty.
    pub paused: BTreeSet<PublisherId>,
}

impl Outbox {
    pub fn new(dialect: Dialect) -> Outbox {
        Outbox {
            dialect,
            queue: VecDeque::new(),
            beside: None,
            queued_bytes: 0,
            flight_bytes: 0,
            flight_since: Nanos(0),
            announced: false,
            paused: BTreeSet::new(),
        }
    }

    /// The buffer that `bytes` more bytes of frame go to.
    #[inline]
    pub fn tail(&mut self, bytes: usize, segment_bytes: usize, pool: &mut BufferPool) -> &mut Vec<u8> {
        tail_of(&mut self.queue, bytes, segment_bytes, pool)
    }

    /// Accounts for bytes written to the tail. Returns whether the edge must be told to send.
    #[inline]
    #[must_use = "the edge sends only what it is told of"]
    pub fn wrote(&mut self, bytes: usize) -> bool {
        self.wrote_in(Lane::Normal, bytes)
    }

    /// The buffer that `bytes` more bytes of a frame in this lane go to.
    #[inline]
    pub fn tail_in(
        &mut self,
        lane: Lane,
        bytes: usize,
        segment_bytes: usize,
        pool: &mut BufferPool,
    ) -> &mut Vec<u8> {
        let queue = match lane {
            Lane::Normal => &mut self.queue,
            _ => self.beside().queue(lane),
        };
        tail_of(queue, bytes, segment_bytes, pool)
    }

    /// Accounts for bytes written in this lane, like [`Outbox::wrote`].
    #[inline]
    #[must_use = "the edge sends only what it is told of"]
    pub fn wrote_in(&mut self, lane: Lane, bytes: usize) -> bool {
        debug_assert!(lane == Lane::Normal || self.beside.is_some(), "it was written beside the normal lane");
        if let Some(beside) = &mut self.beside {
            beside.entered(lane, bytes);
        }
        self.tell_of(bytes)
    }

    /// The buffer that an answer goes to: it leaves behind all that is queued before it.
    pub fn answer_tail(&mut self, bytes: usize, segment_bytes: usize, pool: &mut BufferPool) -> &mut Vec<u8> {
        match &mut self.beside {
            Some(beside) => beside.answer_tail(),
            None => tail_of(&mut self.queue, bytes, segment_bytes, pool),
        }
    }

    /// Accounts for an answer, like [`Outbox::wrote`].
    #[must_use = "the edge sends only what it is told of"]
    pub fn answered(&mut self, bytes: usize) -> bool {
        self.tell_of(bytes)
    }

    #[inline]
    fn tell_of(&mut self, bytes: usize) -> bool {
        debug_assert!(bytes > 0, "what was written has a length");
        self.queued_bytes += bytes;
        let tell = !self.announced && self.flight_bytes == 0;
        self.announced |= tell;
        tell
    }

    /// Makes sure that a message with a deadline may overtake others; to be called before it is written.
    /// Returns whether there is anything to overtake.
    #[cold]
    pub fn begin_timed(&mut self) -> bool {
        let busy = !self.is_empty();
        if busy {
            self.beside();
        }
        busy
    }

    /// Accounts for a message that was just written in this lane, like [`Outbox::wrote`], and lets it leave
    /// by its deadline. `stream`: its publisher and a hash of its subject.
    #[cold]
    #[must_use = "the edge sends only what it is told of"]
    pub fn wrote_timed(
        &mut self,
        lane: Lane,
        bytes: usize,
        deadline: Nanos,
        stream: (PublisherId, u64),
        pool: &mut BufferPool,
    ) -> bool {
        let queue = match lane {
            Lane::Normal => &mut self.queue,
            _ => self.beside().queue(lane),
        };
        let mut frame = Frame::new();
        let mut left = bytes;
        while left > 0 {
            let Some(segment) = queue.pop_back() else { break };
            match segment {
                Segment::Copied(mut tail) => {
                    // In a buffer that is no larger than it: it may wait with very many others.
                    let bytes = tail.len().min(left);
                    frame.push(Segment::Copied(tail[tail.len() - bytes..].to_vec()));
                    tail.truncate(tail.len() - bytes);
                    match tail.is_empty() {
                        true => pool.give(tail),
                        false => queue.push_back(Segment::Copied(tail)),
                    }
                    left -= bytes;
                }
                whole => {
                    left -= whole.bytes().len();
                    frame.push(whole);
                }
            }
        }
        debug_assert_eq!(left, 0, "the message is what the lane ends with");
        frame.reverse();
        self.beside().timed().push(lane, deadline, stream, frame);
        self.tell_of(bytes)
    }

    /// Drops what nobody wants any more. Returns how many deliveries that were.
    #[cold]
    pub fn drop_expired(&mut self, now: Nanos, pool: &mut BufferPool) -> u64 {
        let Some(beside) = &mut self.beside else { return 0 };
        let (dropped, bytes) = beside.drop_expired(now, pool);
        debug_assert!(bytes <= self.queued_bytes, "what expired was counted");
        self.queued_bytes -= bytes;
        dropped
    }

    /// Whole frames that were written elsewhere.
    pub fn push(&mut self, frames: Segment, pool: &mut BufferPool) {
        debug_assert!(!frames.frames().is_empty(), "frames are whole, and some");
        if self.queue.capacity() == 0 {
            self.queue = pool.take_queue();
        }
        self.queue.push_back(frames);
    }

    /// A part of the frame whose head was just written; `wrote` or `wrote_in` accounts for it.
    pub fn share(&mut self, lane: Lane, payload: Bytes) {
        let queue = match lane {
            Lane::Normal => &mut self.queue,
            _ => self.beside().queue(lane),
        };
        debug_assert!(!queue.is_empty(), "a part follows the head of its frame");
        queue.push_back(Segment::Shared(payload));
    }

    /// Whether something may overtake what is written now.
    pub fn has_lanes(&self) -> bool {
        self.beside.is_some()
    }

    #[cold]
    fn beside(&mut self) -> &mut Beside {
        let queued = self.queued_bytes;
        self.beside.get_or_insert_with(|| Box::new(Beside::new(queued)))
    }

    /// Moves the next send out; empty if one is in flight or nothing is queued.
    #[inline(always)]
    pub fn take(&mut self, now: Nanos, shares: &Shares, into: &mut Vec<Segment>) -> usize {
        self.announced = false;
        if self.flight_bytes > 0 {
            return 0;
        }
        let bytes = match self.beside {
            Some(_) => self.take_beside(shares, into),
            None => take_from(&mut self.queue, into),
        };
        debug_assert!(bytes <= self.queued_bytes, "what is taken was counted");
        debug_assert!(bytes > 0 || self.queued_bytes == 0, "whatever waits can leave");
        self.queued_bytes -= bytes;
        self.flight_bytes = bytes;
        self.flight_since = now;
        bytes
    }

    #[cold]
    fn take_beside(&mut self, shares: &Shares, into: &mut Vec<Segment>) -> usize {
        let Some(beside) = &mut self.beside else { return 0 };
        let bytes = beside.take(&mut self.queue, *shares, into);
        if self.queue.is_empty() && beside.is_empty() {
            self.beside = None;
        }
        bytes
    }

    /// The send in flight left whole. Returns its bytes, and whether there is more to send.
    #[must_use = "the edge sends only what it is told of"]
    pub fn sent(&mut self, pool: &mut BufferPool) -> (usize, bool) {
        let bytes = std::mem::take(&mut self.flight_bytes);
        if self.queued_bytes == 0 {
            pool.give_queue(std::mem::take(&mut self.queue));
            debug_assert!(
                self.beside.as_ref().is_none_or(|beside| beside.is_empty()),
                "what waits has bytes"
            );
            self.beside = None;
            return (bytes, false);
        }
        let tell = !self.announced;
        self.announced = true;
        (bytes, tell)
    }

    /// Forgets what is queued; the send in flight stays the edge's. Returns what that was.
    pub fn discard(&mut self, pool: &mut BufferPool) -> impl Iterator<Item = Segment> + use<> {
        pool.is_back(&self.queue);
        let beside = self.beside.take().into_iter().flat_map(|beside| beside.into_segments());
        self.queued_bytes = 0;
        std::mem::take(&mut self.queue).into_iter().chain(beside)
    }

    /// Drops the oldest deliveries of the first segment that has any, from the least important lane that is
    /// below `lane`, or from that lane itself if `own`; answers stay. Returns how many were dropped.
    pub fn drop_oldest(&mut self, lane: Lane, own: bool, pool: &mut BufferPool) -> u64 {
        let below = |other: &Lane| *other > lane || own && *other == lane;
        for other in Lane::ALL.into_iter().rev().filter(below) {
            let queue = match (other, &mut self.beside) {
                (Lane::Normal, _) => &mut self.queue,
                (_, Some(beside)) => beside.queue(other),
                (_, None) => continue,
            };
            let (mut dropped, bytes) = drop_oldest_of(queue, self.dialect, pool);
            debug_assert!(bytes <= self.queued_bytes, "what is dropped was counted");
            self.queued_bytes -= bytes;
            debug_assert_eq!(dropped > 0, bytes > 0, "deliveries have bytes, and answers stay");
            if let Some(beside) = &mut self.beside {
                beside.left(other, bytes);
                if dropped == 0 {
                    let (last, bytes) = beside.drop_last(other, pool);
                    debug_assert!(bytes <= self.queued_bytes, "what is dropped was counted");
                    self.queued_bytes -= bytes;
                    dropped = last;
                }
            }
            if dropped > 0 {
                return dropped;
            }
        }
        0
    }

    /// Recounts what waits.
    pub fn check(&self) {
        let waits = match &self.beside {
            None => self.queue.iter().map(|segment| segment.bytes().len()).sum(),
            Some(beside) => beside.check(&self.queue),
        };
        assert_eq!(self.queued_bytes, waits, "bytes of an outbox");
        let is_due = self.announced || self.flight_bytes > 0;
        assert!(is_due || self.queued_bytes == 0, "the edge was told of what waits");
    }

    /// Memory of its queue, and of the buffer that it has at least.
    pub fn lent_bytes(&self) -> usize {
        lent_bytes_of(&self.queue)
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.queued_bytes == 0 && self.flight_bytes == 0
    }

    /// Memory that what waits takes, and what was taken to be sent.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        let beside = self.beside.as_ref().map_or(0, |beside| beside.extra_bytes());
        self.queued_bytes + self.flight_bytes + beside
    }

    /// Nanoseconds the send in flight has been under way.
    pub fn flight_nanos(&self, now: Nanos) -> u64 {
        if self.flight_bytes == 0 { 0 } else { now.since(self.flight_since) }
    }
}

#[inline]
fn tail_of<'q>(
    queue: &'q mut VecDeque<Segment>,
    bytes: usize,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> &'q mut Vec<u8> {
    let fits = match queue.back() {
        Some(Segment::Copied(last)) => last.len() + bytes <= segment_bytes,
        _ => false,
    };
    if !fits {
        if queue.capacity() == 0 {
            // What it was holds no memory, which to drop it would be to find out.
            std::mem::forget(std::mem::replace(queue, pool.take_queue()));
        }
        let next = match queue.back() {
            // What waits has filled one: the next is not to grow from little again.
            Some(Segment::Copied(last)) if last.len() > segment_bytes / 2 => pool.take_whole(segment_bytes),
            _ => pool.take(),
        };
        queue.push_back(Segment::Copied(next));
    }
    match queue.back_mut() {
        Some(Segment::Copied(last)) => last,
        _ => unreachable!("the last segment was just checked or pushed"),
    }
}

#[inline]
fn take_from(queue: &mut VecDeque<Segment>, into: &mut Vec<Segment>) -> usize {
    let mut bytes = 0;
    while into.len() < SEGMENTS_A_SEND_MAX && bytes < BYTES_A_SEND_MAX {
        let Some(segment) = queue.pop_front() else { break };
        bytes += segment.bytes().len();
        into.push(segment);
    }
    bytes
}

/// Drops the deliveries of the first segment that has any. Returns how many, and their bytes.
fn drop_oldest_of(queue: &mut VecDeque<Segment>, dialect: Dialect, pool: &mut BufferPool) -> (u64, usize) {
    for place in 0..queue.len() {
        let frames = queue[place].frames();
        if frames.is_empty() {
            continue;
        }
        let mut kept = pool.take();
        let (mut offset, mut dropped, mut drops_shared) = (0, 0, false);
        while offset < frames.len() {
            let (deliveries, frame_bytes) = peek(dialect, &frames[offset..]);
            let end = (offset + frame_bytes).min(frames.len());
            if deliveries > 0 {
                dropped += deliveries;
                drops_shared = offset + frame_bytes > frames.len();
            } else {
                kept.extend_from_slice(&frames[offset..end]);
            }
            offset = end;
        }
        if dropped == 0 {
            pool.give(kept);
            continue;
        }
        let whole = matches!(queue.get(place + 1), Some(Segment::Shared(_)));
        debug_assert!(whole || !drops_shared, "the rest of the last frame follows it");
        let mut bytes = frames.len() - kept.len();
        while drops_shared && matches!(queue.get(place + 1), Some(Segment::Shared(_))) {
            let shared = queue.remove(place + 1).expect("just looked at");
            bytes += shared.bytes().len();
        }
        let old = if kept.is_empty() {
            pool.give(kept);
            queue.remove(place)
        } else {
            Some(std::mem::replace(&mut queue[place], Segment::Copied(kept)))
        };
        if let Some(old) = old {
            pool.give_segment(old);
        }
        return (dropped, bytes);
    }
    (0, 0)
}

/// How many deliveries the frame in front is, and its length.
fn peek(dialect: Dialect, frames: &[u8]) -> (u64, usize) {
    let peeked = match dialect {
        Dialect::Native => native::peek_frame(frames).map(|(_, bytes)| (native::deliveries(frames), bytes)),
        Dialect::Nats => nats::peek_frame(frames).map(|(is, bytes)| (u64::from(is), bytes)),
    };
    let (deliveries, bytes) = peeked.expect("an outbox holds whole frames");
    debug_assert!(bytes > 0, "every frame leads on");
    (deliveries, bytes)
}

pub fn count_deliveries(dialect: Dialect, mut frames: &[u8]) -> u64 {
    let mut deliveries = 0;
    while !frames.is_empty() {
        let (count, frame_bytes) = peek(dialect, frames);
        deliveries += count;
        // The last one's payload may be a segment of its own.
        frames = &frames[frame_bytes.min(frames.len())..];
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_protocol::command::{Deliver, Flags, SubjectRef};
    use ringbolt_protocol::native::control::{Control, Pong};
    use ringbolt_protocol::native::{control::encode_control, encode};

    const SEGMENT: usize = 256;

    fn deliver(payload: &[u8]) -> Deliver<'_> {
        Deliver {
            flags: Flags::default(),
            timestamp_nanos: 1,
            correlation_id: 0,
            subscription_id: 1,
            subject: SubjectRef::Interned(0),
            reply: None,
            header_bytes: 0,
            payload,
        }
    }

    fn push(outbox: &mut Outbox, pool: &mut BufferPool, write: impl Fn(&mut Vec<u8>)) -> bool {
        let mut frame = Vec::new();
        write(&mut frame);
        outbox.tail(frame.len(), SEGMENT, pool).extend_from_slice(&frame);
        outbox.wrote(frame.len())
    }

    #[test]
    fn one_send_is_in_flight_and_the_next_gathers_behind_it() {
        let (mut outbox, mut pool) = (Outbox::new(Dialect::Native), BufferPool::new(8, SEGMENT));
        assert!(push(&mut outbox, &mut pool, |out| encode::deliver(out, &deliver(b"one"))));
        assert!(!push(&mut outbox, &mut pool, |out| encode::deliver(out, &deliver(b"two"))));
        let mut segments = Vec::new();
        let first = outbox.take(Nanos(5), &Shares::default(), &mut segments);
        assert!(first > 0 && segments.len() == 1);
        assert!(!push(&mut outbox, &mut pool, |out| encode::deliver(out, &deliver(b"three"))));
        assert_eq!(outbox.take(Nanos(6), &Shares::default(), &mut Vec::new()), 0, "one send at a time");
        assert_eq!(outbox.flight_nanos(Nanos(9)), 4);
        assert!(outbox.sent(&mut pool).1, "more waits");
        assert!(outbox.take(Nanos(7), &Shares::default(), &mut segments) > 0);
        assert!(!outbox.sent(&mut pool).1);
        assert!(outbox.is_empty());
    }

    #[test]
    fn dropping_the_oldest_keeps_control_frames_and_whole_frames() {
        let (mut outbox, mut pool) = (Outbox::new(Dialect::Native), BufferPool::new(8, SEGMENT));
        let mut tell = push(&mut outbox, &mut pool, |out| encode::deliver(out, &deliver(&[1; 60])));
        let pong = Control::Pong(Pong { correlation_id: 7 });
        tell |= push(&mut outbox, &mut pool, |out| encode_control(&pong, out));
        let payload = Bytes::from(vec![9; 5000]);
        let mut head = Vec::new();
        encode::deliver_head(&mut head, &deliver(b""), payload.len());
        tell |= {
            outbox.tail(head.len(), SEGMENT, &mut pool).extend_from_slice(&head);
            let bytes = head.len() + payload.len();
            outbox.share(Lane::Normal, payload);
            outbox.wrote(bytes)
        };
        tell |= push(&mut outbox, &mut pool, |out| encode::deliver(out, &deliver(&[2; 60])));
        assert!(tell);
        assert_eq!(outbox.drop_oldest(Lane::Normal, true, &mut pool), 2, "the first and the shared one");
        let mut segments = Vec::new();
        let bytes = outbox.take(Nanos(0), &Shares::default(), &mut segments);
        let sent: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes().to_vec()).collect();
        assert_eq!(sent.len(), bytes);
        let mut expected = Vec::new();
        encode_control(&pong, &mut expected);
        encode::deliver(&mut expected, &deliver(&[2; 60]));
        assert_eq!(sent, expected);
        assert_eq!(outbox.queued_bytes(), 0);
    }

    #[test]
    fn frames_that_others_get_too_are_dropped_and_counted_like_its_own() {
        let (mut outbox, mut pool) = (Outbox::new(Dialect::Nats), BufferPool::new(8, SEGMENT));
        let common = Bytes::from_static(b"MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n");
        for _ in 0..2 {
            outbox.push(Segment::Common(common.clone()), &mut pool);
            assert!(outbox.wrote(common.len()) || outbox.queued_bytes() > common.len());
        }
        assert_eq!(outbox.drop_oldest(Lane::Normal, true, &mut pool), 2);
        assert_eq!(outbox.queued_bytes(), common.len());
        let deliveries =
            outbox.discard(&mut pool).map(|segment| count_deliveries(Dialect::Nats, segment.frames()));
        assert_eq!(deliveries.sum::<u64>(), 2);
        assert_eq!((outbox.queued_bytes(), &common[..3]), (0, &b"MSG"[..]), "the others keep theirs");
    }

    #[test]
    fn dropping_the_oldest_keeps_the_answers_of_a_nats_client() {
        let (mut outbox, mut pool) = (Outbox::new(Dialect::Nats), BufferPool::new(8, SEGMENT));
        let put = |outbox: &mut Outbox, pool: &mut BufferPool, text: &[u8]| {
            push(outbox, pool, |out| out.extend_from_slice(text));
        };
        put(&mut outbox, &mut pool, b"+OK\r\nMSG a 1 2\r\nhi\r\nPONG\r\nMSG a 1 5000\r\n");
        outbox.share(Lane::Normal, Bytes::from(vec![b'x'; 5000]));
        outbox.share(Lane::Normal, Bytes::from_static(b"\r\n"));
        assert!(!outbox.wrote(5002));
        put(&mut outbox, &mut pool, b"MSG a 1 1\r\nx\r\n");
        assert_eq!(outbox.drop_oldest(Lane::Normal, true, &mut pool), 2);
        let mut segments = Vec::new();
        outbox.take(Nanos(0), &Shares::default(), &mut segments);
        let sent: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes().to_vec()).collect();
        assert_eq!(sent, b"+OK\r\nPONG\r\nMSG a 1 1\r\nx\r\n");
        assert_eq!(outbox.queued_bytes(), 0);
    }
}
