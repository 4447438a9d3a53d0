//! One round: a server, its clients, and what is left of them.

use crate::honest::Honest;
use crate::life::{Words, live};
use crate::native_words::NativeWords;
use crate::nats_words::NatsWords;
use crate::server::{Server, await_some};
use crate::settings;
use crate::words::{Manner, once_in, pick};
use ringbolt_shard::random::Random;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(5);
const CLIENTS: u64 = 8;
/// Between two exchanges of the honest.
const PAUSE: Duration = Duration::from_millis(2);
/// An exchange takes no longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// Nor where others have all that the honest say, and may hold them back by not reading it.
const HELD_BACK_WITHIN: Duration = Duration::from_secs(20);
/// What the allocator and the program's own tables may take beyond what is counted.
const OTHER_BYTES: u64 = 64 << 20;

/// What clients of a round are like.
#[derive(Clone, Copy)]
struct Kind {
    seed: u64,
    /// Whether there are accounts, and users.
    users: bool,
    /// Whether clients may subscribe to everything, what the honest say included.
    reach: bool,
    memory_bytes_max: u64,
}

/// Ends the round, also by a panic.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn write_settings(kind: Kind, path: &Path, random: &mut Random) -> u64 {
    let (text, memory) = if kind.users {
        (settings::nats(random), kind.memory_bytes_max)
    } else {
        settings::ringbolt(&mut Random::new(kind.seed), random)
    };
    std::fs::write(path, text).expect("writes");
    memory
}

pub fn play(seed: u64) {
    let mut random = Random::new(seed);
    let (users, reach) = (once_in(&mut random, 3), once_in(&mut random, 2));
    let mode = match (users, reach) {
        (true, _) => "with accounts",
        (false, true) => "some hear all",
        (false, false) => "without accounts",
    };
    println!("RINGBOLT_SEED={seed}: {mode}");
    // The file of nats-server has no key for it: the default is more than clients make it keep here.
    let mut kind = Kind { seed, users, reach: reach && !users, memory_bytes_max: 1 << 30 };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("settings");
    kind.memory_bytes_max = write_settings(kind, &file, &mut random);
    let path = file.to_str().expect("UTF-8");
    let program = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut server = if users {
        Server::start_as_nats(place, program, &["-c", path, "-cores", "0,1"])
    } else {
        Server::start_in(place, program, &["--config", path, "--cores", "0,1"])
    };
    let mut honest = Honest::connect(&server.nats, users.then_some("honest"));
    let before = Left::of(&server);
    let longest = converse(kind, &server, &mut honest, &file);
    await_some("the end of all others' connections", || (Left::of(&server) == before).then_some(()));
    honest.talk();
    let taken = server.anonymous_bytes();
    println!(
        "  longest exchange {longest:?}; {} connections, {} messages in, {} out, {} acknowledged, {} dead; \
         {} MiB at most",
        server.metric("ringbolt_connections_opened_total"),
        server.metric("ringbolt_messages_in_total"),
        server.metric("ringbolt_messages_out_total"),
        server.metric("ringbolt_acknowledgements_total"),
        server.metric("ringbolt_dead_letters_total"),
        server.status_bytes("VmHWM") >> 20,
    );
    let most = kind.memory_bytes_max + OTHER_BYTES;
    assert!(taken < most, "keeps {} MiB of {}", taken >> 20, most >> 20);
    server.signal("TERM");
    assert_eq!(server.await_exit().code(), Some(0), "it stops in order");
}

/// The honest talk while others say what they like. Returns the longest that an exchange took.
fn converse(kind: Kind, server: &Server, honest: &mut Honest, file: &Path) -> Duration {
    let over = AtomicBool::new(false);
    let since = Instant::now();
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        let _over = Over(&over);
        for number in 0..CLIENTS {
            let (over, mut random) = (&over, Random::new(kind.seed * 1000 + number));
            scope.spawn(move || {
                let native = !kind.users && once_in(&mut random, 2);
                let address = if native { &server.native } else { &server.nats };
                let begin = |random: &mut Random| {
                    let manner = Manner { reach: kind.reach, rude: once_in(random, 2) };
                    if native {
                        Words::Native(NativeWords::new(manner))
                    } else {
                        Words::Nats(NatsWords::new(kind.users, manner))
                    }
                };
                live(&mut random, address, begin, over);
            });
        }
        scope.spawn(|| administrate(kind, server, file, &over));
        while since.elapsed() < TIME {
            let took = honest.talk();
            let limit = if kind.reach { HELD_BACK_WITHIN } else { ANSWERED_WITHIN };
            assert!(took < limit, "an exchange of the honest took {took:?}");
            longest = longest.max(took);
            thread::sleep(PAUSE);
        }
    });
    longest
}

/// Reads pages, and has other settings read.
fn administrate(kind: Kind, server: &Server, file: &Path, over: &AtomicBool) {
    let mut random = Random::new(kind.seed ^ 0xadd);
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(u64::from(random.below(400))));
        if once_in(&mut random, 3) {
            write_settings(kind, file, &mut random);
            server.signal("HUP");
        }
        let request = pick(
            &mut random,
            &[
                "GET /metrics",
                "GET /connz?subs=detail&limit=3",
                "GET /connz?sort=bytes_to&offset=2",
                "GET /subsz?subs=1",
                "GET /varz",
                "GET /healthz",
                "GET /dead-letters",
                "GET /dead-letters?limit=2",
                "POST /dead-letters/purge?all=1",
                "POST /dead-letters/replay?all=1",
                "POST /dead-letters/replay?id=0-1",
            ],
        );
        let mut stream = TcpStream::connect(&server.admin).expect("the admin address answers");
        write!(stream, "{request} HTTP/1.1\r\nRingbolt-Admin: 1\r\nConnection: close\r\n\r\n")
            .expect("writes");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 "), "{request}: {}", String::from_utf8_lossy(&answer));
    }
}

/// What clients that are gone must not leave.
#[derive(PartialEq, Debug)]
struct Left {
    connections: f64,
    subscriptions: f64,
    interned: f64,
    paused: f64,
    waiting: f64,
    /// By what the memory is for.
    bytes: [f64; 4],
}

impl Left {
    fn of(server: &Server) -> Left {
        let bytes = |what| server.metric(&format!("ringbolt_memory_bytes{{reason=\"{what}\"}}"));
        Left {
            connections: server.metric("ringbolt_connections"),
            subscriptions: server.metric("ringbolt_subscriptions"),
            interned: server.metric("ringbolt_interned_subjects"),
            paused: server.metric("ringbolt_publishers_paused"),
            waiting: server.metric("ringbolt_mesh_pending_bytes"),
            bytes: ["begun", "deferred", "gathered", "connections"].map(bytes),
        }
    }
}
