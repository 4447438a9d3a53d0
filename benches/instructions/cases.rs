//! What is counted: shards, who says what, and the deliveries (or messages, if nobody listens) that makes.

use crate::core::Core;
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use ringbolt_protocol::native::encode;
use ringbolt_shard::ConnectionId;
use ringbolt_shard::metrics::Counter;

/// One round of a case is what is said again and again.
pub struct Case {
    core: Core,
    round: Box<dyn FnMut(&mut Core)>,
    /// In a round.
    pub messages: u64,
    /// What counts the messages.
    counter: Counter,
}

type Make = fn() -> Case;

pub const CASES: &[(&str, Make)] = &[
    ("nats publish, nobody, 16 B", || nats(0, 64, |_| "orders.eu".into(), 16)),
    ("nats 1 to 1, one subject, 16 B", || nats(1, 64, |_| "orders.eu".into(), 16)),
    ("nats 1 to 1, one subject, 1 KiB", || nats(1, 16, |_| "orders.eu".into(), 1024)),
    ("nats 1 to 1, subjects in turn, 16 B", || nats(1, 64, |n| format!("orders.{}", n % 8), 16)),
    ("nats 1 to 1, one message at a time, 16 B", || nats(1, 1, |_| "orders.eu".into(), 16)),
    ("nats 1 to 16, one subject, 128 B", || nats(16, 64, |_| "orders.eu".into(), 128)),
    ("nats 1 to 16, 1 KiB of headers, 128 B", headers),
    ("nats 1 to 1000, one subject, 128 B", || nats(1000, 16, |_| "orders.eu".into(), 128)),
    ("nats 10000 wildcards, subjects in turn, 16 B", wildcards),
    ("nats request, 64 B", request),
    ("nats queue group of 8, one subject, 16 B", queue_group),
    ("nats acknowledging group of 4, 64 B", acknowledging_group),
    ("nats to another shard, 128 B", || sending(nats_pair())),
    ("nats from another shard, 128 B", || receiving(nats_pair())),
    ("native 1 to 1, one subject, 16 B", || native(1, 64, 16)),
    ("native 1 to 1, one message at a time, 16 B", || native(1, 1, 16)),
    ("native 1 to 16, one subject, 128 B", || native(16, 64, 128)),
    ("native batch of 256, 1 to 1, 16 B", batch),
    ("native to another shard, 128 B", || sending(native_pair())),
    ("native from another shard, 128 B", || receiving(native_pair())),
];

impl Case {
    pub fn named(name: &str) -> Case {
        let (_, make) = CASES.iter().find(|(known, _)| *known == name).expect("a case");
        make()
    }

    pub fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            (self.round)(&mut self.core);
        }
    }

    /// Messages so far, as the shard counts them.
    pub fn counted(&self) -> u64 {
        self.core.shard.counters().get(self.counter)
    }

    /// `publisher` says `input`, which makes so many deliveries.
    fn says(core: Core, publisher: ConnectionId, input: Vec<u8>, messages: u64) -> Case {
        let round = Box::new(move |core: &mut Core| core.say(publisher, &input));
        Case { core, round, messages, counter: Counter::MessagesOut }
    }
}

fn publishes(messages: u64, subject: impl Fn(u64) -> String, payload_bytes: usize) -> Vec<u8> {
    let payload = "x".repeat(payload_bytes);
    let publish = |n| format!("PUB {} {payload_bytes}\r\n{payload}\r\n", subject(n));
    (0..messages).map(publish).collect::<String>().into()
}

fn nats(receivers: u32, messages: u64, subject: impl Fn(u64) -> String, payload_bytes: usize) -> Case {
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 1..=receivers {
        core.connect_nats(slot, "SUB orders.* 1\r\n");
    }
    let input = publishes(messages, subject, payload_bytes);
    match receivers {
        0 => Case { counter: Counter::MessagesIn, ..Case::says(core, publisher, input, messages) },
        _ => Case::says(core, publisher, input, messages * u64::from(receivers)),
    }
}

/// A kibibyte of headers: sixteen lines, as a client that traces its requests has.
fn headers() -> Case {
    const RECEIVERS: u32 = 16;
    const MESSAGES: u64 = 16;
    const HEADERS: usize = 1024;
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 1..=RECEIVERS {
        core.connect_nats(slot, "SUB orders.* 1\r\n");
    }
    let mut block = "NATS/1.0\r\n".to_owned();
    for number in 0..15 {
        block += &format!("Header-{number:02}: {}\r\n", "v".repeat(51));
    }
    block +=
        &format!("Header-15: {}\r\n\r\n", "v".repeat(HEADERS - block.len() - "Header-15: \r\n\r\n".len()));
    let payload = "x".repeat(128);
    let (header_bytes, all_bytes) = (block.len(), block.len() + payload.len());
    let input = format!("HPUB orders.eu {header_bytes} {all_bytes}\r\n{block}{payload}\r\n");
    Case::says(core, publisher, input.repeat(MESSAGES as usize).into(), MESSAGES * u64::from(RECEIVERS))
}

fn wildcards() -> Case {
    const PATTERNS: u64 = 10_000;
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 0..10 {
        let patterns = (0..PATTERNS).skip(slot).step_by(10);
        let says: String = patterns.map(|n| format!("SUB rb.{n}.* {n}\r\n")).collect();
        core.connect_nats(slot as u32 + 1, &says);
    }
    let input = publishes(PATTERNS, |n| format!("rb.{}.m", n * 7919 % PATTERNS), 16);
    Case::says(core, publisher, input, PATTERNS)
}

fn request() -> Case {
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "SUB _INBOX.a.* 1\r\n");
    core.connect_nats(1, "SUB service q 1\r\n");
    let input = format!("PUB service _INBOX.a.7 64\r\n{}\r\n", "x".repeat(64));
    Case::says(core, publisher, input.into(), 1)
}

fn queue_group() -> Case {
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 1..=8 {
        core.connect_nats(slot, "SUB orders.* workers 1\r\n");
    }
    Case::says(core, publisher, publishes(64, |_| "orders.eu".into(), 16), 64)
}

/// Published, delivered and acknowledged; reading the members' reply subjects is counted with it.
fn acknowledging_group() -> Case {
    const MEMBERS: u32 = 4;
    const MESSAGES: u64 = 16;
    const PAYLOAD: usize = 64;
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 1..=MEMBERS {
        core.connect_nats(slot, "SUB jobs workers;ack 1\r\n");
    }
    let input = publishes(MESSAGES, |_| "jobs".into(), PAYLOAD);
    let mut answers: Vec<(ConnectionId, Vec<u8>)> = Vec::new();
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let round = move |core: &mut Core| {
        core.say_and_hear(publisher, &input, |member, bytes| {
            let mut answer = spare.pop().unwrap_or_default();
            acknowledge(bytes, PAYLOAD, &mut answer);
            answers.push((member, answer));
        });
        for (member, mut answer) in answers.drain(..) {
            core.say(member, &answer);
            answer.clear();
            spare.push(answer);
        }
    };
    Case { core, round: Box::new(round), messages: MESSAGES, counter: Counter::AcknowledgementsAck }
}

/// Writes an acknowledgement of each message in `heard`, all of which have a payload of `payload_bytes`.
fn acknowledge(mut heard: &[u8], payload_bytes: usize, answer: &mut Vec<u8>) {
    while let Some(start) = heard.iter().position(|&letter| letter == b'$') {
        heard = &heard[start..];
        let end = heard.iter().position(|&letter| letter == b' ').expect("a length follows");
        answer.extend_from_slice(b"PUB ");
        answer.extend_from_slice(&heard[..end]);
        answer.extend_from_slice(b" 4\r\n+ACK\r\n");
        heard = &heard[end + payload_bytes..];
    }
}

/// Two shards, the first with a publisher and what it says, the second with a subscriber.
struct Pair {
    cores: [Core; 2],
    publisher: ConnectionId,
    input: Vec<u8>,
    messages: u64,
}

fn nats_pair() -> Pair {
    let mut cores = Core::pair();
    let publisher = cores[0].connect_nats(0, "");
    cores[1].connect_nats(0, "SUB orders.* 1\r\n");
    Core::meet(&mut cores);
    Pair { cores, publisher, input: publishes(64, |_| "orders.eu".into(), 128), messages: 64 }
}

fn native_pair() -> Pair {
    let mut cores = Core::pair();
    let publisher = cores[0].connect(0, false, false);
    cores[1].connect(0, true, false);
    Core::meet(&mut cores);
    Pair { cores, publisher, input: native_publishes(64, 128), messages: 64 }
}

/// The shard of the publisher, up to the batches for the other one.
fn sending(pair: Pair) -> Case {
    let Pair { cores: [core, _], publisher, input, messages } = pair;
    let round = move |core: &mut Core| {
        core.say(publisher, &input);
        core.take_batches(1, drop);
    };
    Case { core, round: Box::new(round), messages, counter: Counter::MeshMessagesOut }
}

/// The shard of the subscriber, from those batches on.
fn receiving(pair: Pair) -> Case {
    let Pair { cores: [mut sender, core], publisher, input, messages } = pair;
    let mut batches = Vec::new();
    sender.say(publisher, &input);
    sender.take_batches(1, |batch| batches.push(batch));
    let round = move |core: &mut Core| batches.iter().for_each(|batch| core.receive(0, batch));
    Case { core, round: Box::new(round), messages, counter: Counter::MessagesOut }
}

fn native_publishes(messages: u64, payload_bytes: usize) -> Vec<u8> {
    let payload = vec![1; payload_bytes];
    let mut input = Vec::new();
    for _ in 0..messages {
        let publish = Publish {
            flags: Flags::default(),
            timestamp_nanos: 1,
            correlation_id: 0,
            subject: SubjectRef::Interned(1),
            reply: None,
            header_bytes: 0,
            payload: &payload,
        };
        encode::publish(&mut input, &publish);
    }
    input
}

fn native(receivers: u32, messages: u64, payload_bytes: usize) -> Case {
    let mut core = Core::new();
    let publisher = core.connect(0, false, false);
    for slot in 1..=receivers {
        core.connect(slot, true, false);
    }
    let input = native_publishes(messages, payload_bytes);
    Case::says(core, publisher, input, messages * u64::from(receivers))
}

fn batch() -> Case {
    const MESSAGES: usize = 256;
    let mut core = Core::new();
    let publisher = core.connect(0, false, false);
    core.connect(1, true, true);
    let mut input = Vec::new();
    let writer = BatchWriter::publish(&mut input, Flags::default(), 1, 0, SubjectRef::Interned(1));
    for _ in 0..MESSAGES {
        writer.message_head(16, &mut input);
        input.extend_from_slice(&[1; 16]);
    }
    writer.finish(&mut input);
    Case::says(core, publisher, input, MESSAGES as u64)
}
