//! Messages to one subject that arrive together are handled together. Nobody may tell: whatever way the
//! same bytes are cut, everyone receives the same bytes.

use proptest::prelude::*;
use ringbolt_server::access::Access;
use ringbolt_server::limits::Limits;
use ringbolt_server::shard::metrics::Counter;
use ringbolt_server::shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard};
use ringbolt_server::sim::{SimClient, small_limits};

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
fn shown(all: &(Vec<Vec<u8>>, [u64; 2])) -> Vec<String> {
    let text = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
    all.0.iter().map(text).chain([format!("{:?}", all.1)]).collect()
}

/// What all connections were sent after the publisher said `input` in these pieces.
fn play(input: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, [u64; 2]) {
    let mut play = Play::new();
    let hello = |rest: &str| [HELLO, rest.as_bytes()].concat();
    let publisher = play.open(Dialect::Nats, &hello("SUB own 9\r\nSUB a.both 8\r\n"));
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
    let mut native = SimClient::default();
    native.hello();
    native.subscribe(5, "a.b", None, ringbolt_protocol::native::control::SlowConsumer::Default);
    play.open(Dialect::Native, &native.take_written());
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
