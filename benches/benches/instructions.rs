//! Instructions a message takes through the pure shard, counted by callgrind: the same on every run, so a
//! regression of a few percent shows, whatever else the machine does.
//!
//! Each case runs twice with different counts; the difference leaves out starting, connecting and warming.
//!
//! ```text
//! cargo bench --package ringbolt-benches --bench instructions              # print
//! cargo bench --package ringbolt-benches --bench instructions -- --check   # compare with instructions.toml
//! cargo bench --package ringbolt-benches --bench instructions -- --bless   # write it anew
//! ```

mod core;

use self::core::Core;
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use ringbolt_protocol::native::encode;
use ringbolt_shard::ConnectionId;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
/// More than this above the baseline is a regression, less than it below a reason to write it anew.
const TOLERANCE: f64 = 0.03;
/// Deliveries between the two runs of a case, at least, and the rounds it is warmed up.
const DELIVERIES: u64 = 10_000;
const WARM_UP_ROUNDS: u64 = 3;

/// A shard, who publishes, what it says, and the deliveries (or messages, if nobody listens) that makes.
struct Case {
    core: Core,
    publisher: ConnectionId,
    input: Vec<u8>,
    messages: u64,
}

type Make = fn() -> Case;

const CASES: &[(&str, Make)] = &[
    ("nats publish, nobody, 16 B", || nats(0, 64, |_| "orders.eu".into(), 16)),
    ("nats 1 to 1, one subject, 16 B", || nats(1, 64, |_| "orders.eu".into(), 16)),
    ("nats 1 to 1, one subject, 1 KiB", || nats(1, 16, |_| "orders.eu".into(), 1024)),
    ("nats 1 to 1, subjects in turn, 16 B", || nats(1, 64, |n| format!("orders.{}", n % 8), 16)),
    ("nats 1 to 1, one message at a time, 16 B", || nats(1, 1, |_| "orders.eu".into(), 16)),
    ("nats 1 to 16, one subject, 128 B", || nats(16, 64, |_| "orders.eu".into(), 128)),
    ("nats 1 to 1000, one subject, 128 B", || nats(1000, 16, |_| "orders.eu".into(), 128)),
    ("nats 10000 wildcards, subjects in turn, 16 B", wildcards),
    ("nats request, 64 B", request),
    ("native 1 to 1, one subject, 16 B", || native(1, 64, 16, false)),
    ("native 1 to 1, one message at a time, 16 B", || native(1, 1, 16, false)),
    ("native 1 to 16, one subject, 128 B", || native(16, 64, 128, false)),
    ("native batch of 256, 1 to 1, 16 B", batch),
];

fn nats(receivers: u32, messages: u64, subject: impl Fn(u64) -> String, payload_bytes: usize) -> Case {
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "");
    for slot in 1..=receivers {
        core.connect_nats(slot, "SUB orders.* 1\r\n");
    }
    let payload = "x".repeat(payload_bytes);
    let input: String =
        (0..messages).map(|n| format!("PUB {} {payload_bytes}\r\n{payload}\r\n", subject(n))).collect();
    Case { core, publisher, input: input.into(), messages: messages * u64::from(receivers.max(1)) }
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
    let input: String = (0..PATTERNS)
        .map(|n| format!("PUB rb.{}.m 16\r\n{}\r\n", n * 7919 % PATTERNS, "x".repeat(16)))
        .collect();
    Case { core, publisher, input: input.into(), messages: PATTERNS }
}

fn request() -> Case {
    let mut core = Core::new();
    let publisher = core.connect_nats(0, "SUB _INBOX.a.* 1\r\n");
    core.connect_nats(1, "SUB service q 1\r\n");
    let input = format!("PUB service _INBOX.a.7 64\r\n{}\r\n", "x".repeat(64));
    Case { core, publisher, input: input.into(), messages: 1 }
}

fn native(receivers: u32, messages: u64, payload_bytes: usize, batches: bool) -> Case {
    let mut core = Core::new();
    let publisher = core.connect(0, false, false);
    for slot in 1..=receivers {
        core.connect(slot, true, batches);
    }
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
    Case { core, publisher, input, messages: messages * u64::from(receivers) }
}

fn batch() -> Case {
    let Case { core, publisher, .. } = native(1, 1, 16, true);
    let mut input = Vec::new();
    let writer = BatchWriter::publish(&mut input, Flags::default(), 1, 0, SubjectRef::Interned(1));
    for _ in 0..256 {
        writer.message_head(16, &mut input);
        input.extend_from_slice(&[1; 16]);
    }
    writer.finish(&mut input);
    Case { core, publisher, input, messages: 256 }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, rounds] = &arguments[..]
        && run == "--run"
    {
        run_case(name, rounds.parse().expect("a count"));
        return ExitCode::SUCCESS;
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let baseline = (!has("--bless")).then(read_baseline).flatten();
    let mut counts = BTreeMap::new();
    let mut regressions = 0;
    println!("{:<48} {:>14} {:>10} {:>8}", "instructions a delivery", "now", "baseline", "");
    for &(name, make) in CASES {
        let messages = make().messages;
        let rounds = DELIVERIES.div_ceil(messages).max(WARM_UP_ROUNDS);
        let [few, many] = [WARM_UP_ROUNDS, WARM_UP_ROUNDS + rounds].map(|rounds| count(name, rounds));
        let each = (many - few) as f64 / (rounds * messages) as f64;
        let before = baseline.as_ref().and_then(|baseline| baseline.get(name)).copied();
        let change = before.map(|before| each / before - 1.0);
        let worse = change.is_some_and(|change| change > TOLERANCE);
        regressions += u32::from(worse);
        println!(
            "{name:<48} {each:>14.1} {:>10} {:>8} {}",
            before.map_or("-".to_owned(), |before| format!("{before:.1}")),
            change.map_or("-".to_owned(), |change| format!("{:+.1} %", 100.0 * change)),
            if worse { "worse" } else { "" }
        );
        counts.insert(name.to_owned(), (each * 10.0).round() / 10.0);
    }
    if has("--bless") {
        let text = format!(
            "# Instructions a delivery, with one compiler; written by\n\
             # `cargo bench --package ringbolt-benches --bench instructions -- --bless`.\n\n{}",
            toml::to_string(&BTreeMap::from([("compiler", compiler())])).expect("a table")
        );
        let counts = toml::to_string(&BTreeMap::from([("counts", counts)])).expect("a table");
        std::fs::write(BASELINE, text + "\n" + &counts).expect("the baseline is writable");
    }
    if has("--check") && baseline.is_none() {
        println!("nothing to compare with: the baseline is of another compiler than {}", compiler());
    }
    if has("--check") && regressions > 0 {
        println!("{regressions} cases take over {:.0} % more than the baseline", 100.0 * TOLERANCE);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_case(name: &str, rounds: u64) {
    let (_, make) = CASES.iter().find(|(known, _)| *known == name).expect("a case");
    let mut case = make();
    for _ in 0..rounds {
        case.core.say(case.publisher, &case.input);
    }
}

/// Instructions of a whole run, by callgrind.
fn count(name: &str, rounds: u64) -> u64 {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--run", name, &rounds.to_string()])
        .output()
        .expect("valgrind is installed: apt-get install valgrind");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind counted nothing:\n{text}"))
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The counts kept, if they are of this compiler.
fn read_baseline() -> Option<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(BASELINE).ok()?;
    let table: toml::Table = text.parse().expect("a baseline as it was written");
    let same = table.get("compiler")?.as_str()? == compiler();
    let counts = table.get("counts")?.as_table()?;
    same.then(|| counts.iter().filter_map(|(name, count)| Some((name.clone(), count.as_float()?))).collect())
}
