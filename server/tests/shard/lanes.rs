//! What is promised of lanes: importance goes first, nobody starves, order within a lane is kept, and an
//! answer comes behind what was queued before it.

use bytes::Bytes;
use proptest::prelude::*;
use ringbolt_protocol::command::{Deliver, Flags, SubjectRef};
use ringbolt_protocol::native::control::{Control, Pong, encode_control};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;
use ringbolt_shard::delivery::{BufferPool, Outbox};
use ringbolt_shard::lanes::{LANES, Lane, Scheduler, Watch};
use ringbolt_shard::limits::Shares;
use ringbolt_shard::{ConnectionId, Dialect, Nanos, PublisherId};
use std::collections::VecDeque;

const SEGMENT_BYTES: usize = 256;

fn shares() -> impl Strategy<Value = Shares> {
    prop::array::uniform5(0u16..=Shares::SUM_MAX / LANES as u16).prop_map(Shares)
}

/// Mostly small, and now and then as large as a message may be.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1usize..100, 2 => 300usize..70_000, 1 => Just(1 << 20)]
}

/// Many small items, or a few that are as large as many of them.
fn burst() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![3 => (1usize..100, 1usize..2000), 1 => (1000usize..30_000, 1usize..3)]
}

/// A scheduler with queues of items that are only lengths.
struct Queues {
    scheduler: Scheduler,
    queues: [VecDeque<usize>; LANES],
    shares: Shares,
    watch: Watch,
}

impl Queues {
    fn new(shares: Shares) -> Queues {
        let (queues, watch) = (Default::default(), Watch::default());
        Queues { scheduler: Scheduler::default(), queues, shares, watch }
    }

    fn heads(&self) -> [usize; LANES] {
        std::array::from_fn(|lane| self.queues[lane].front().copied().unwrap_or(0))
    }

    /// Serves one item. Returns whether no lane is further behind its share than promised.
    fn serve(&mut self) -> bool {
        let Some(lane) = self.scheduler.next(&self.heads()) else { return true };
        let heads = self.heads();
        let bytes = self.queues[lane as usize].pop_front().expect("it is not empty");
        let waits = self.heads().map(|head| head > 0);
        self.scheduler.served(lane, bytes, waits, self.shares);
        self.watch.served(lane, bytes, (heads, waits), self.shares)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_lane_that_waits_gets_its_share(
        shares in shares(),
        steps in prop::collection::vec((0..LANES, 1usize..100, 1usize..20, 0usize..30), 1..300),
    ) {
        let mut queues = Queues::new(shares);
        for (lane, bytes, items, served) in steps {
            queues.queues[lane].extend(std::iter::repeat_n(bytes, items));
            for _ in 0..served {
                prop_assert!(queues.serve(), "{:?}", queues.watch);
            }
        }
    }

    #[test]
    fn a_lane_that_waits_gets_its_share_whatever_the_size_of_what_waits(
        shares in shares(),
        steps in prop::collection::vec((0..LANES, burst(), 0usize..2000), 1..60),
    ) {
        let mut queues = Queues::new(shares);
        for (lane, (bytes, items), served) in steps {
            queues.queues[lane].extend(std::iter::repeat_n(bytes, items));
            for _ in 0..served {
                prop_assert!(queues.serve(), "{:?}", queues.watch);
            }
        }
    }

    /// A debug build looks at every send, and ends if a lane starves.
    #[test]
    fn large_messages_of_any_lane_and_deadline_starve_nobody(
        shares in shares(),
        steps in prop::collection::vec((0..LANES, size(), any::<bool>(), 0u8..3), 1..60),
    ) {
        let mut play = Play::new(shares);
        play.deliver(Lane::Normal, 10);
        for (lane, bytes, timed, takes) in steps {
            if timed {
                play.deliver_timed(Lane::ALL[lane], bytes);
            } else {
                play.deliver(Lane::ALL[lane], bytes);
            }
            (0..takes).for_each(|_| play.take());
        }
        while !play.outbox.is_empty() {
            play.take();
        }
    }

    #[test]
    fn whatever_overtakes_whatever_lanes_keep_their_order_and_answers_theirs(
        shares in shares(),
        steps in prop::collection::vec((0u8..8, 0usize..600, 0u8..4), 1..200),
    ) {
        let mut play = Play::new(shares);
        for (what, bytes, takes) in steps {
            match what {
                0..5 => play.deliver(Lane::ALL[usize::from(what)], bytes),
                5 => play.deliver(Lane::Normal, bytes),
                _ => play.answer(),
            }
            (0..takes / 2).for_each(|_| play.take());
        }
        while !play.outbox.is_empty() {
            play.take();
        }
        prop_assert_eq!(play.read(), Ok(()));
        prop_assert!(!play.outbox.has_lanes());
    }
}

/// An outbox, and all that was sent from it.
struct Play {
    outbox: Outbox,
    pool: BufferPool,
    shares: Shares,
    sent: Vec<u8>,
    /// Messages written, by lane.
    written: [u64; LANES],
    numbers: u64,
    /// For every answer, what was written before it.
    answers: Vec<[u64; LANES]>,
}

impl Play {
    fn new(shares: Shares) -> Play {
        Play {
            outbox: Outbox::new(Dialect::Native),
            pool: BufferPool::new(4, SEGMENT_BYTES),
            shares,
            sent: Vec::new(),
            written: [0; LANES],
            numbers: 0,
            answers: Vec::new(),
        }
    }

    /// A message whose correlation id says its lane and number; a long payload is shared.
    fn deliver(&mut self, lane: Lane, payload_bytes: usize) {
        let number = self.written[lane as usize];
        self.written[lane as usize] += 1;
        let payload = vec![lane as u8; payload_bytes];
        let mut deliver = Deliver {
            flags: Flags::default(),
            timestamp_nanos: number,
            correlation_id: lane as u64,
            subscription_id: 1,
            subject: SubjectRef::Interned(0),
            reply: None,
            header_bytes: 0,
            payload: &[],
        };
        let shared = payload_bytes > 300;
        let tail = self.outbox.tail_in(lane, 64 + payload_bytes, SEGMENT_BYTES, &mut self.pool);
        let before = tail.len();
        if shared {
            encode::deliver_head(tail, &deliver, payload_bytes);
        } else {
            deliver.payload = &payload;
            encode::deliver(tail, &deliver);
        }
        let mut bytes = tail.len() - before;
        if shared {
            self.outbox.share(lane, Bytes::from(payload));
            bytes += payload_bytes;
        }
        let _tell = match lane {
            Lane::Normal => self.outbox.wrote(bytes),
            _ => self.outbox.wrote_in(lane, bytes),
        };
    }

    /// A message that has a deadline, each another one's.
    fn deliver_timed(&mut self, lane: Lane, payload_bytes: usize) {
        if !self.outbox.begin_timed() {
            return self.deliver(lane, payload_bytes);
        }
        let (number, payload) = (self.numbers, Bytes::from(vec![0; payload_bytes]));
        self.numbers += 1;
        let connection = ConnectionId { slot: 0, generation: 1 };
        let tail = self.outbox.tail_in(lane, 64, SEGMENT_BYTES, &mut self.pool);
        tail.extend_from_slice(&[0; 24]);
        self.outbox.share(lane, payload);
        let deadline = Nanos(1 + number * 7919 % 101);
        let stream = (PublisherId { shard: 0, connection }, number);
        let _tell = self.outbox.wrote_timed(lane, 24 + payload_bytes, deadline, stream, &mut self.pool);
    }

    fn answer(&mut self) {
        let pong = Control::Pong(Pong { correlation_id: self.answers.len() as u64 });
        self.answers.push(self.written);
        let tail = self.outbox.answer_tail(64, SEGMENT_BYTES, &mut self.pool);
        let before = tail.len();
        encode_control(&pong, tail);
        let bytes = tail.len() - before;
        let _tell = self.outbox.answered(bytes);
    }

    fn take(&mut self) {
        let mut segments = Vec::new();
        let bytes = self.outbox.take(Nanos(0), &self.shares, &mut segments);
        let before = self.sent.len();
        segments.iter().for_each(|segment| self.sent.extend_from_slice(segment.bytes()));
        assert_eq!(self.sent.len() - before, bytes);
        segments.into_iter().for_each(|segment| self.pool.give_segment(segment));
        let _more = self.outbox.sent(&mut self.pool);
    }

    /// Reads what was sent, and says what is wrong with it.
    fn read(&self) -> Result<(), String> {
        let limits = DecodeLimits { body_bytes_max: 1 << 20 };
        let (mut seen, mut answers, mut rest) = ([0; LANES], 0, &self.sent[..]);
        while !rest.is_empty() {
            let decoded = decode_frame(rest, &limits).map_err(|error| error.to_string())?;
            let Decoded::Frame { frame, consumed } = decoded else { return Err("cut off".to_owned()) };
            match frame {
                Frame::Deliver(deliver) => {
                    let lane = deliver.correlation_id as usize;
                    if deliver.timestamp_nanos != seen[lane] {
                        return Err(format!("lane {lane}: {} after {}", deliver.timestamp_nanos, seen[lane]));
                    }
                    if deliver.payload.iter().any(|&byte| usize::from(byte) != lane) {
                        return Err(format!("lane {lane}: a payload of another"));
                    }
                    seen[lane] += 1;
                }
                Frame::Control(Control::Pong(pong)) => {
                    let before = self.answers[answers];
                    if pong.correlation_id != answers as u64
                        || (0..LANES).any(|lane| seen[lane] < before[lane])
                    {
                        return Err(format!("answer {answers} came before what it was behind: {seen:?}"));
                    }
                    answers += 1;
                }
                other => return Err(format!("{other:?}")),
            }
            rest = &rest[consumed..];
        }
        let whole = seen == self.written && answers == self.answers.len();
        whole.then_some(()).ok_or_else(|| format!("{seen:?} of {:?}", self.written))
    }
}

#[test]
fn a_critical_message_overtakes_all_that_waits() {
    let mut play = Play::new(Shares::default());
    (0..1000).for_each(|_| play.deliver(Lane::Background, 100));
    (0..1000).for_each(|_| play.deliver(Lane::Normal, 100));
    play.deliver(Lane::Critical, 100);
    play.take();
    let limits = DecodeLimits { body_bytes_max: 1 << 20 };
    let Ok(Decoded::Frame { frame: Frame::Deliver(first), .. }) = decode_frame(&play.sent, &limits) else {
        panic!("a delivery is expected");
    };
    assert_eq!(first.correlation_id, Lane::Critical as u64);
    while !play.outbox.is_empty() {
        play.take();
    }
    assert_eq!(play.read(), Ok(()));
}

#[test]
fn what_is_shed_is_the_least_important() {
    let mut play = Play::new(Shares::default());
    for lane in [Lane::Critical, Lane::Background, Lane::Normal, Lane::Low] {
        play.deliver(lane, 200);
        play.deliver(lane, 200);
    }
    let mut drop_for = |lane, own| play.outbox.drop_oldest(lane, own, &mut play.pool);
    assert_eq!(drop_for(Lane::Normal, false), 1, "of the background");
    assert_eq!(drop_for(Lane::Normal, false), 1);
    assert_eq!(drop_for(Lane::Normal, false), 1, "of the low lane");
    assert_eq!(drop_for(Lane::Low, false), 0, "nothing less important is left");
    assert_eq!(drop_for(Lane::Low, true), 1, "but its own oldest");
    assert_eq!(drop_for(Lane::Normal, false), 0);
    assert_eq!(drop_for(Lane::Critical, true), 1, "of the normal lane");
    play.answer();
    while !play.outbox.is_empty() {
        play.take();
    }
    assert!(!play.outbox.has_lanes(), "an answer does not wait for what was dropped");
}

#[test]
fn a_large_message_with_a_deadline_may_wait_behind_many_small_ones() {
    for lane in Lane::ALL {
        let mut play = Play::new(Shares::default());
        play.deliver(Lane::Normal, 100);
        play.deliver_timed(lane, 1 << 20);
        (0..40_000).for_each(|_| play.deliver(Lane::Critical, 100));
        while !play.outbox.is_empty() {
            play.take();
        }
    }
}
