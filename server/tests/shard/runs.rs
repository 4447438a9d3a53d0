//! Messages to one subject that arrive together are handled together. Nobody may tell: whatever way the
//! same bytes are cut, everyone receives the same bytes.

use proptest::prelude::*;
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use ringbolt_protocol::native::control::{Control, Hello, SlowConsumer};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;
use ringbolt_server::sim::{SimClient, small_limits};
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard};

/// A shard and its connections, with everything each of them was sent.
struct Play {
    shard: Shard,
    sent: Vec<Vec<u8>>,
}

impl Play {
    fn new() -> Play {
        let limits = Limits { outbox_segment_bytes: 4096, outbox_bytes_max: 4 << 20, ..small_limits(1) };
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (0, 0),
            unix_epoch_nanos: 0,
            nats: Some(("127.0.0.1".to_owned(), 4222)),
        };
        let shard = Shard::new(0, &limits, &Access::default(), identity, 1, 2);
        Play { shard, sent: Vec::new() }
    }

    fn open(&mut self, dialect: Dialect, says: &[u8]) -> usize {
        let slot = self.sent.len();
        let opening = Opening { dialect, ..Opening::NATIVE };
        self.sent.push(Vec::new());
        self.handle(|id| Event::Opened(id, opening), slot);
        self.say(slot, says);
        slot
    }

    fn say(&mut self, slot: usize, bytes: &[u8]) {
        self.handle(|id| Event::Bytes(id, bytes), slot);
    }

    fn handle<'b>(&mut self, event: impl FnOnce(ConnectionId) -> Event<'b>, slot: usize) {
        let id = |slot: usize| ConnectionId { slot: slot as u32, generation: 1 };
        let mut effects = Effects::default();
        self.shard.handle(Nanos(1), event(id(slot)), &mut effects);
        let (mut ready, mut segments) = (std::mem::take(&mut effects.send), Vec::new());
        while let Some(id) = ready.pop() {
            self.shard.take_segments(Nanos(1), id, &mut segments);
            for segment in segments.drain(..) {
                self.sent[id.slot as usize].extend_from_slice(segment.bytes());
                self.shard.recycle(segment);
            }
            effects.clear();
            self.shard.handle(Nanos(1), Event::Sent(id), &mut effects);
            ready.append(&mut effects.send);
        }
    }
}

const HELLO: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";

/// Everything as text, for a message that can be read.
fn shown(all: &Outcome) -> Vec<String> {
    let text = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
    all.0.iter().map(text).chain([format!("{:?}", all.1)]).collect()
}

/// What all connections were sent, and how many messages came in and went out.
type Outcome = (Vec<Vec<u8>>, [u64; 2]);

/// Subjects a native publisher numbers from 1.
const NUMBERED: [&str; 5] = ["a.b", "a.c", "twice", "group", "none"];
/// The connection that takes DELIVER_BATCH.
const TAKES_BATCHES: usize = 10;

/// Everyone's bytes after a NATS publisher said `input` in these pieces.
fn play(input: &[u8], cuts: &[usize]) -> Outcome {
    let publisher = [HELLO, b"SUB own 9\r\nSUB a.both 8\r\n"].concat();
    play_of(Dialect::Nats, &publisher, input, cuts)
}

/// Everyone's bytes after a native publisher said `input` in these pieces.
fn play_native(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut publisher = SimClient::default();
    publisher.hello();
    for (place, subject) in NUMBERED.iter().enumerate() {
        publisher.intern(place as u32 + 1, subject);
    }
    play_of(Dialect::Native, &publisher.take_written(), input, cuts)
}

fn play_of(dialect: Dialect, greeting: &[u8], input: &[u8], cuts: &[usize]) -> Outcome {
    let mut play = Play::new();
    let hello = |rest: &str| [HELLO, rest.as_bytes()].concat();
    let publisher = play.open(dialect, greeting);
    for subscriptions in [
        "SUB a.b 1\r\n",
        "SUB a.b 1\r\n",
        "SUB a.b 22\r\n",
        "SUB a.* 1\r\n",
        "SUB > 333\r\n",
        "SUB a.b 1\r\nUNSUB 1 3\r\n",
        "SUB twice 1\r\nSUB twic* 2\r\nSUB * 3\r\n",
        "SUB group q 1\r\n",
    ] {
        play.open(Dialect::Nats, &hello(subscriptions));
    }
    for batches in [false, true] {
        let mut native = SimClient::default();
        let (version_min, version_max, correlation_id) = (1, 1, 0);
        let (name, library, flow) = ("", "", false);
        let hello = Hello { correlation_id, version_min, version_max, name, library, batches, flow };
        native.say(&Control::Hello(hello));
        native.subscribe(5, "a.b", None, SlowConsumer::Default);
        native.subscribe(6, "a.*", Some("q"), SlowConsumer::Default);
        native.subscribe(7, "*.c", None, SlowConsumer::Default);
        play.open(Dialect::Native, &native.take_written());
    }
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        let cut = cut.clamp(from, input.len());
        play.say(publisher, &input[from..cut]);
        from = cut;
    }
    let counters = play.shard.counters_mut();
    let counts = [Counter::MessagesIn, Counter::MessagesOut].map(|counter| counters.get(counter));
    (play.sent, counts)
}

/// A few messages to one subject, mostly written in the usual way.
fn burst() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let subject =
        prop::sample::select(vec!["a.b", "a.b", "a.c", "twice", "group", "own", "a.both", "none", "a..b"]);
    let size = || prop_oneof![8 => 0usize..40, 2 => 90usize..110, 1 => 500usize..530, 1 => 1000usize..1400];
    (subject, prop::collection::vec((size(), 0..40u8), 1..6)).prop_map(|(subject, messages)| {
        messages.into_iter().map(|(size, way)| message(subject, size, way)).collect()
    })
}

fn message(subject: &str, size: usize, way: u8) -> Vec<u8> {
    let head = match way {
        0 => format!("PUB {subject} reply.to {size}\r\n"),
        1 => format!("PUB {subject} 0{size}\r\n"),
        2 => format!("PUB  {subject}  {size}\r\n"),
        3 => format!("pub {subject} {size}\n"),
        4 => format!("PING\r\nPUB {subject} {size}\r\n"),
        5 => format!("HPUB {subject} 12 {}\r\nNATS/1.0\r\n\r\n", 12 + size),
        6 => format!("UNSUB 9\r\nSUB own 9\r\nPUB {subject} {size}\r\n"),
        _ => format!("PUB {subject} {size}\r\n"),
    };
    [head.as_bytes(), &vec![b'x'; size], b"\r\n"].concat()
}

/// A few native messages to one numbered subject: compression, correlation id, size, and whether it wants
/// a reply. All messages of a case have one lane: lanes overtake each other where they wait together.
type Native = (u32, Vec<(u8, u64, usize, bool)>);

fn small_or_not() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0usize..40, 1 => 120usize..140, 1 => 500usize..530]
}

fn native_burst() -> impl Strategy<Value = Native> {
    let number = prop_oneof![4 => Just(1u32), 1 => 1..=NUMBERED.len() as u32 + 1];
    let compression = prop_oneof![6 => Just(0u8), 1 => Just(2u8 << 3)];
    let correlation = prop_oneof![4 => Just(0u64), 1 => 1..9u64];
    let size = small_or_not();
    let reply = prop::sample::select(vec![true, false, false, false, false, false, false, false]);
    (number, prop::collection::vec((compression, correlation, size, reply), 1..8))
}

fn frame(
    number: u32,
    lane: u8,
    &(compression, correlation_id, size, reply): &(u8, u64, usize, bool),
) -> Vec<u8> {
    let publish = Publish {
        flags: Flags(lane | compression),
        timestamp_nanos: 7 + size as u64,
        correlation_id,
        subject: SubjectRef::Interned(number),
        reply: reply.then_some(b"re.ply"),
        header_bytes: 0,
        payload: &vec![b'n'; size],
    };
    let mut frame = Vec::new();
    encode::publish(&mut frame, &publish);
    frame
}

/// Deliveries as text, those of a batch one by one.
fn deliveries(bytes: &[u8]) -> Vec<String> {
    let limits = DecodeLimits { body_bytes_max: 1 << 20 };
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Ok(Decoded::Frame { frame, consumed }) = decode_frame(rest, &limits) {
        rest = &rest[consumed..];
        match frame {
            Frame::Deliver(d) => found.push(format!(
                "{:?} {} {} {} {:?} {:?}",
                d.flags.without_layout_bits(),
                d.timestamp_nanos,
                d.correlation_id,
                d.subscription_id,
                d.subject,
                d.payload
            )),
            Frame::DeliverBatch(d) => found.extend(d.messages.payloads().map(|payload| {
                format!(
                    "{:?} {} {} {} {:?} {payload:?}",
                    d.flags.without_layout_bits(),
                    d.timestamp_nanos,
                    d.correlation_id,
                    d.subscription_id,
                    d.subject
                )
            })),
            _ => {}
        }
    }
    assert!(rest.is_empty(), "whole frames");
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn messages_that_arrive_together_are_delivered_like_those_that_arrive_alone(
        bursts in prop::collection::vec(burst(), 1..12),
        cuts in prop::collection::vec(0usize..8000, 0..4),
    ) {
        let messages = bursts.concat();
        let input = messages.concat();
        let mut at = 0;
        let ends = messages.iter().map(|message| { at += message.len(); at });
        let alone: Vec<usize> = ends.collect();
        let expected = play(&input, &alone);
        prop_assert!(expected.1[0] > 0);
        let mut cuts = cuts;
        cuts.sort_unstable();
        prop_assert_eq!(shown(&play(&input, &[])), shown(&expected), "all at once");
        prop_assert_eq!(shown(&play(&input, &cuts)), shown(&expected), "cut at {:?}", cuts);
    }

    #[test]
    fn native_frames_that_arrive_together_are_delivered_like_those_that_arrive_alone(
        lane in prop::sample::select(vec![0u8, 0, 0, 0, 1, 4]),
        bursts in prop::collection::vec(native_burst(), 1..12),
        cuts in prop::collection::vec(0usize..8000, 0..4),
    ) {
        let frames: Vec<Vec<u8>> = bursts
            .iter()
            .flat_map(|(number, messages)| messages.iter().map(|message| frame(*number, lane, message)))
            .collect();
        let mut at = 0;
        let alone: Vec<usize> = frames.iter().map(|frame| { at += frame.len(); at }).collect();
        let input = frames.concat();
        let expected = play_native(&input, &alone);
        let mut cuts = cuts;
        cuts.sort_unstable();
        prop_assert_eq!(shown(&play_native(&input, &[])), shown(&expected), "all at once");
        prop_assert_eq!(shown(&play_native(&input, &cuts)), shown(&expected), "cut at {:?}", cuts);
    }

    #[test]
    fn a_batch_is_delivered_like_its_messages(
        (number, lane, correlation_id) in (1..=NUMBERED.len() as u32, 0..5u8, 0..2u64),
        sizes in prop::collection::vec(small_or_not(), 1..30),
        cut in 0usize..2000,
    ) {
        // A batch is a frame, and no longer than one may be.
        let mut room = 3500usize;
        let mut fits = |size: &usize| room.checked_sub(*size).map(|rest| room = rest).is_some();
        let sizes: Vec<usize> = sizes.into_iter().take_while(|size| fits(size)).collect();
        prop_assume!(!sizes.is_empty());
        let (mut batch, mut frames) = (Vec::new(), Vec::new());
        let subject = SubjectRef::Interned(number);
        let writer = BatchWriter::publish(&mut batch, Flags(lane), 3, correlation_id, subject);
        for &size in &sizes {
            let payload = vec![b'b'; size];
            writer.message_head(size, &mut batch);
            batch.extend_from_slice(&payload);
            let publish = Publish {
                flags: Flags(lane),
                timestamp_nanos: 3,
                correlation_id,
                subject,
                reply: None,
                header_bytes: 0,
                payload: &payload,
            };
            encode::publish(&mut frames, &publish);
        }
        writer.finish(&mut batch);
        let mut expected = play_native(&frames, &[]);
        let mut found = play_native(&batch, &[cut]);
        let taken = [&mut expected, &mut found].map(|all| deliveries(&all.0.remove(TAKES_BATCHES)));
        prop_assert_eq!(&taken[0], &taken[1]);
        prop_assert_eq!(shown(&found), shown(&expected));
    }
}

#[test]
fn a_long_id_before_many_small_messages_does_not_pass_the_bound() {
    let mut play = Play::new();
    let id = "i".repeat(300);
    let publisher = play.open(Dialect::Nats, HELLO);
    play.open(Dialect::Nats, &[HELLO, format!("SUB a {id}\r\n").as_bytes()].concat());
    let input = b"PUB a 0\r\n\r\n".repeat(180);
    let mut effects = Effects::default();
    for _ in 0..200 {
        let event = Event::Bytes(ConnectionId { slot: publisher as u32, generation: 1 }, &input);
        play.shard.handle(Nanos(1), event, &mut effects);
        effects.clear();
    }
    let reports = play.shard.report(Nanos(1), 0, 8, false).0;
    let largest = reports.iter().map(|report| report.pending_bytes).max().expect("two clients");
    assert!(largest < (4 << 20) + 8192, "{largest} bytes wait, and 4 MiB may");
}

#[test]
fn a_run_cut_at_every_place_is_delivered_whole() {
    let mut input = Vec::new();
    for size in [0, 1, 9, 10, 31, 32, 33, 99, 100] {
        input.extend_from_slice(format!("PUB a.b {size}\r\n{}\r\n", "y".repeat(size)).as_bytes());
    }
    let expected = play(&input, &[]);
    assert!(expected.0[1].windows(4).any(|bytes| bytes == b"MSG "), "something was delivered");
    for cut in 0..input.len() {
        assert_eq!(shown(&play(&input, &[cut])), shown(&expected), "cut at {cut}");
    }
}
