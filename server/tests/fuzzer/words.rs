//! What clients of either dialect speak about: few subjects, so that they meet.

use ringbolt_shard::random::Random;
use std::time::{Duration, SystemTime};

const TOKENS: &[&str] = &["a", "b", "c", "d"];
const ODD_SUBJECTS: &[&str] = &[
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a.*",
    ">",
    "a b",
    "a\tb",
    "$DLQ.expired.a",
    "$EVENTS.poison",
    "$SYS.REQ.SERVER.PING",
    "$JS.ACK.a",
    "$JS.API.INFO",
    "_INBOX.a",
    "\u{fc}.a",
    "a.\u{0}",
];
const GROUPS: &[&str] = &[
    "w",
    "w",
    "v",
    "w;ack",
    "w;ack;inflight=1;wait=100ms",
    "w;ack;max=2;backoff=1ms..10ms",
    "w;ack;key=K",
    "w;ack;balance=latency;breaker=off",
    "w;ack;balance=adaptive;poison=1",
    "w;ack;pending=3;reserve=1",
    "w;ack;balance=round-robin",
    "w;ack;key=K;inflight=1",
    "w;ack;none=1",
    "w;",
    ";ack",
    "w;ack;wait=0s",
];
const PRIORITIES: &[&str] = &["critical", "high", "normal", "low", "background", "none"];
const SIZES: &[u32] = &[0, 1, 2, 20, 100, 1000, 5000, 70_000];

/// How a client speaks during one life.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Whether it may subscribe to everything, what the honest say included.
    pub reach: bool,
    /// Whether it says what ends its connection or is refused.
    pub rude: bool,
}

pub fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u32) as usize]
}

/// Whether it is one of so many times.
pub fn once_in(random: &mut Random, times: u32) -> bool {
    random.below(times) == 0
}

fn tokens(random: &mut Random) -> u32 {
    if once_in(random, 50) { 1 + random.below(40) } else { 1 + random.below(3) }
}

pub fn subject(random: &mut Random, manner: Manner) -> String {
    if manner.rude && once_in(random, 20) {
        return pick(random, ODD_SUBJECTS).to_owned();
    }
    let count = tokens(random);
    (0..count).map(|_| pick(random, TOKENS)).collect::<Vec<_>>().join(".")
}

pub fn pattern(random: &mut Random, manner: Manner) -> String {
    let mut text = subject(random, manner);
    if once_in(random, 3) {
        text = text.replacen(&format!(".{}", pick(random, TOKENS)), ".*", 1);
    }
    if once_in(random, 4) {
        text.push_str(".>");
    }
    if once_in(random, 4) && manner.reach {
        text = pick(random, &[">", "*", "*.>", "*.*", "*.a"]).to_owned();
    }
    let everything = text.starts_with('>') || text.starts_with('*');
    if everything && !manner.reach { "a".to_owned() } else { text }
}

/// Not with everything: what a group fails to work off may be published again, also to others.
pub fn group(random: &mut Random, pattern: &str) -> Option<&'static str> {
    let everything = pattern.starts_with(['*', '>']);
    (!everything && once_in(random, 2)).then(|| pick(random, GROUPS))
}

/// A block of headers, or what is none.
pub fn headers(random: &mut Random, manner: Manner) -> String {
    let mut block = "NATS/1.0\r\n".to_owned();
    for _ in 0..random.below(4) {
        let now = SystemTime::now() + Duration::from_millis(u64::from(random.below(400)));
        let line = match random.below(12) {
            0 => "Ringbolt-Deadline: 2001-01-01T00:00:00Z".to_owned(),
            1 => "Ringbolt-Deadline: 2500-01-01T00:00:00Z".to_owned(),
            2 | 3 => format!("Ringbolt-Deadline: {}", humantime::format_rfc3339_millis(now)),
            4 => format!("Ringbolt-Gather: {}", random.below(4)),
            5 => format!("Nats-Msg-Id: {}", random.below(30)),
            6 => "Nats-Expected-Stream: ringbolt".to_owned(),
            7 => "Ringbolt-Unroutable: dead-letter".to_owned(),
            8 => format!("K: {}", random.below(5)),
            9 => format!("Ringbolt-Deliveries: {}", random.below(9)),
            _ => format!("Ringbolt-Priority: {}", pick(random, PRIORITIES)),
        };
        block.push_str(&line);
        block.push_str("\r\n");
    }
    match random.below(if manner.rude { 20 } else { u32::MAX }) {
        0 => block.truncate(random.below(block.len() as u32) as usize),
        1 => block.insert_str(10, &"x: y\r\n".repeat(random.below(200) as usize)),
        _ => {}
    }
    block.push_str("\r\n");
    block
}

pub fn payload(random: &mut Random, manner: Manner) -> Vec<u8> {
    let most = if manner.rude { pick(random, SIZES) } else { 40 };
    vec![b'x'; random.below(most + 1) as usize]
}

/// What a member says about a message.
pub fn verdict(random: &mut Random) -> &'static str {
    pick(
        random,
        &["+ACK", "", "-NAK", "+WPI", "+TERM no", "-NAK {\"delay\":1000000}", "+ACK {\"load\":9}", "?"],
    )
}

/// Damages some of what is said.
pub fn damaged(random: &mut Random, manner: Manner, mut bytes: Vec<u8>) -> Vec<u8> {
    if !manner.rude || bytes.is_empty() || !once_in(random, 60) {
        return bytes;
    }
    let place = random.below(bytes.len() as u32) as usize;
    match random.below(3) {
        0 => bytes.truncate(place),
        1 => bytes[place] = random.number() as u8,
        _ => bytes.splice(place..place, (0..random.below(40)).map(|_| random.number() as u8)).for_each(drop),
    }
    bytes
}
