//! Two honest clients of different shards, one of which asks the other all the time.

use crate::nats::Nats;
use crate::server::{Server, await_some};
use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between a request and the next.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the victims are watched before the attack.
const CALM: Duration = Duration::from_millis(500);
/// Of the attacker's thread, 0 being that of all others.
const NICE: i32 = 19;
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

/// The requester, and the responder, which is a thread.
struct Victims {
    nats: Nats,
    number: u64,
    answering: JoinHandle<()>,
}

impl Victims {
    fn of(server: &Server) -> Victims {
        let mut responder = Nats::connect(&server.nats);
        responder.say("SUB victim.ask 1\r\n");
        responder.sync();
        let mut nats = Nats::connect(&server.nats);
        nats.say("SUB victim.inbox 1\r\n");
        nats.sync();
        Victims { nats, number: 0, answering: thread::spawn(|| answer(responder)) }
    }

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

    fn calm(&mut self) -> Times {
        let since = Instant::now();
        self.ask_while(|| since.elapsed() < CALM)
    }

    /// Asks while the attack goes on. Returns also how the attack ended.
    fn attacked(&mut self, attack: impl FnOnce() + Send) -> (Times, thread::Result<()>) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let attacking = scope.spawn(|| {
                let _over = Over(&over);
                // As if from another machine: it is the server's time that it takes, not the victims'.
                rustix::process::setpriority_process(None, NICE).expect("everyone may step back");
                attack();
            });
            let times = self.ask_while(|| !over.load(Ordering::Relaxed));
            (times, attacking.join())
        })
    }

    fn end(mut self) {
        self.nats.say("PUB victim.ask 3\r\nend\r\n");
        self.answering.join().expect("the responder ends");
    }
}

/// The attack is over, whatever became of it.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the victims noticed, before and during the attack.
struct Noticed {
    calm: Times,
    attacked: Times,
}

impl fmt::Display for Noticed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Noticed { calm, attacked } = self;
        let (p99, longest) = (calm.p99(), calm.longest());
        write!(formatter, "P99 {p99:?} calm, {:?} under attack; ", attacked.p99())?;
        write!(formatter, "longest {longest:?} and {:?} of {}", attacked.longest(), attacked.0.len())
    }
}

/// Watches the victims while the attack goes on; `attack` returns what it holds, which is let go afterwards.
pub fn during<T>(name: &str, flags: &[&str], attack: impl Fn(&Server) -> T + Sync) -> Taken {
    let server = Server::start(&[&["--cores", "0,1"], flags].concat());
    let mut victims = Victims::of(&server);
    let calm = victims.calm();
    let (connections, before) = (server.metric("ringbolt_connections"), server.anonymous_bytes());
    // The program's own pages.
    let other = server.resident_bytes() - before;
    let (attacked, ended) = victims.attacked(|| {
        drop(attack(&server));
        let gone = || (server.metric("ringbolt_connections") == connections).then_some(());
        await_some("the end of the attacker's connections", gone);
    });
    ended.expect("the attack goes as written");
    let noticed = Noticed { calm, attacked };
    let most = server.status_bytes("VmHWM").saturating_sub(other);
    // What is given back goes to the system a little later.
    thread::sleep(Duration::from_secs(1));
    let after = server.anonymous_bytes();
    let [before_mib, most_mib, after_mib] = [before, most, after].map(|bytes| bytes >> 20);
    println!("{name}: {noticed}; memory {before_mib} MiB, {most_mib} at most, {after_mib} after");
    let longest = noticed.attacked.longest();
    assert!(longest < ANSWERED_WITHIN, "{name}: {longest:?}");
    assert_eq!(server.metric("ringbolt_subscriptions"), 2.0, "{name}: nothing is left of the attacker");
    victims.end();
    drop(server);
    beside(&attack);
    Taken { most: most.saturating_sub(before), after: after.saturating_sub(before) }
}

/// What the same does to a nats-server, where one is named.
fn beside<T>(attack: &(impl Fn(&Server) -> T + Sync)) {
    let Some(program) = std::env::var_os("RINGBOLT_HOSTILE_BESIDE") else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"]);
    let server = Server::start_with_urls(folder, command);
    let mut victims = Victims::of(&server);
    let calm = victims.calm();
    // What the attack asks of ringbolt itself fails; what the victims noticed until then counts.
    let (attacked, ended) = victims.attacked(|| drop(attack(&server)));
    let how = if ended.is_ok() { "" } else { ", which did not go as written" };
    println!("  nats-server: {}{how}", Noticed { calm, attacked });
    victims.end();
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
