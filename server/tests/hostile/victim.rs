//! Two honest clients of different shards, one of which asks the other all the time.

use crate::nats::Nats;
use crate::server::{Server, await_some};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between a request and the next.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the victims are watched before the attack.
const CALM: Duration = Duration::from_millis(500);
/// Whatever others do, a request is answered within this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// How long requests took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }

    fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

/// Memory the server took beyond what it had before the attack.
pub struct Taken {
    pub most: u64,
    pub after: u64,
}

/// The requester; the responder is a thread.
struct Requester {
    nats: Nats,
    number: u64,
}

impl Requester {
    fn ask(&mut self) -> Duration {
        self.number += 1;
        let asked = Instant::now();
        self.nats.say(&format!("PUB victim.ask victim.inbox 20\r\n{:020}\r\n", self.number));
        self.nats.await_word(&format!("{:020}\r\n", self.number));
        asked.elapsed()
    }

    fn ask_while(&mut self, goes_on: impl Fn() -> bool) -> Times {
        let mut times = Times::default();
        while goes_on() {
            times.0.push(self.ask());
            thread::sleep(PAUSE);
        }
        times
    }
}

/// The attack is over, whatever became of it.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Watches the victims while the attack goes on; `attack` returns what it holds, which is let go afterwards.
pub fn during<T>(name: &str, flags: &[&str], attack: impl FnOnce(&Server) -> T + Send) -> Taken {
    let server = Server::start(&[&["--cores", "0,1"], flags].concat());
    let over = AtomicBool::new(false);
    let mut responder = Nats::connect(&server.nats);
    responder.say("SUB victim.ask 1\r\n");
    responder.sync();
    let mut requester = Requester { nats: Nats::connect(&server.nats), number: 0 };
    requester.nats.say("SUB victim.inbox 1\r\n");
    requester.nats.sync();
    let answering = thread::spawn(|| answer(responder));
    let since = Instant::now();
    let calm = requester.ask_while(|| since.elapsed() < CALM);
    let (connections, before) = (server.metric("ringbolt_connections"), server.anonymous_bytes());
    // The program's own pages.
    let other = server.resident_bytes() - before;
    let under_attack = thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            let _over = Over(&over);
            drop(attack(&server));
            let gone = || (server.metric("ringbolt_connections") == connections).then_some(());
            await_some("the end of the attacker's connections", gone);
        });
        let under_attack = requester.ask_while(|| !over.load(Ordering::Relaxed));
        attacking.join().expect("the attack goes as written");
        under_attack
    });
    let most = server.status_bytes("VmHWM").saturating_sub(other);
    // What is given back goes to the system a little later.
    thread::sleep(Duration::from_secs(1));
    let after = server.anonymous_bytes();
    println!(
        "{name}: P99 {:?} calm, {:?} under attack; longest {:?} and {:?} of {}; memory {} MiB, {} at most, \
         {} after",
        calm.p99(),
        under_attack.p99(),
        calm.longest(),
        under_attack.longest(),
        under_attack.0.len(),
        before >> 20,
        most >> 20,
        after >> 20,
    );
    assert!(under_attack.longest() < ANSWERED_WITHIN, "{name}: {:?}", under_attack.longest());
    assert_eq!(server.metric("ringbolt_subscriptions"), 2.0, "{name}: nothing is left of the attacker");
    requester.nats.say("PUB victim.ask 3\r\nend\r\n");
    answering.join().expect("the responder ends");
    Taken { most: most.saturating_sub(before), after: after.saturating_sub(before) }
}

/// Answers until it is asked for the end.
fn answer(mut responder: Nats) {
    loop {
        let heard = responder.await_word("\r\n");
        let line = String::from_utf8(heard).expect("a line");
        let Some(reply) = line.strip_prefix("MSG victim.ask 1 ").and_then(|rest| rest.split(' ').next())
        else {
            continue;
        };
        let payload = responder.await_word("\r\n");
        if payload == b"end\r\n" {
            return;
        }
        responder.say(&format!("PUB {reply} {}\r\n", payload.len() - 2));
        responder.say(&String::from_utf8(payload).expect("digits"));
    }
}
