//! Attacks by what the server is made to keep. However it is asked, what it takes stays within
//! `memory_bytes_max`, and is given back.

use crate::nats::Nats;
use crate::server::Server;
use crate::victim::{Taken, during};

/// Of the whole server.
const BYTES_MAX: u64 = 64 << 20;
const FLAGS: &[&str] = &["--memory-bytes-max", "64MiB", "--send-stall-time-max", "20s"];

/// Watches the victims likewise, of a server that may take little memory.
fn within_memory<T>(name: &str, attack: impl Fn(&Server) -> T + Sync) {
    let taken = keeping_within_memory(name, attack);
    assert!(taken.after < BYTES_MAX / 2, "{name}: keeps {} MiB", taken.after >> 20);
}

/// Likewise, where what was accepted is kept, whoever left.
fn keeping_within_memory<T>(name: &str, attack: impl Fn(&Server) -> T + Sync) -> Taken {
    let taken = during(name, FLAGS, attack);
    // What is said is a tenth; how the allocator is used by threads that run at once differs by more.
    assert!(taken.most < BYTES_MAX + BYTES_MAX / 2, "{name}: took {} MiB", taken.most >> 20);
    taken
}

/// Subscribes until it is refused, or has so many.
fn subscribe(nats: &mut Nats, lines: impl Iterator<Item = String>) {
    for line in lines {
        if !nats.say_deaf(&line) {
            return;
        }
    }
    nats.try_sync();
}

#[test]
fn subscriptions_have_very_many_tokens() {
    within_memory("C2 patterns of 2000 tokens", |server| {
        let mut nats = Nats::connect(&server.nats);
        let tokens = "a.".repeat(2000);
        subscribe(&mut nats, (0..3000).map(|id| format!("SUB {id}.{tokens}* {id}\r\n")));
        nats
    });
}

#[test]
fn subscriptions_are_many_and_long() {
    within_memory("C9 subscriptions of eight connections", |server| {
        let mut all: Vec<Nats> = (0..8).map(|_| Nats::connect(&server.nats)).collect();
        let text = "c9".repeat(700);
        for (place, nats) in all.iter_mut().enumerate() {
            subscribe(nats, (0..9000).map(|id| format!("SUB c9.{place}.{id}.{text} {id}\r\n")));
        }
        all
    });
}

#[test]
fn subjects_are_many_and_long() {
    within_memory("100 000 subjects of 4000 bytes", |server| {
        let mut nats = Nats::connect(&server.nats);
        let text = "s".repeat(3900);
        nats.say_all((0..100_000).map(|number| format!("PUB {text}.{number} 0\r\n\r\n")));
        nats.say_all((0..100_000).map(|number| format!("PUB {}.{number} 0\r\n\r\n", &text[..200])));
        nats
    });
}

#[test]
fn messages_are_begun_and_not_ended() {
    within_memory("C3 600 unfinished messages", |server| {
        let mut begun = format!("PUB c3 {}\r\n", 1 << 20);
        begun.push_str(&"x".repeat((1 << 20) - 1));
        let all: Vec<Nats> = (0..600).map(|_| Nats::connect(&server.nats)).collect();
        all.into_iter()
            .map(|mut nats| {
                nats.say_in_vain(&begun);
                nats
            })
            .collect::<Vec<_>>()
    });
}

#[test]
fn kept_messages_name_long_reply_subjects() {
    keeping_within_memory("C5 reply subjects of kept messages", |server| {
        let mut member = Nats::connect(&server.nats);
        member.say("SUB c5 w;ack;inflight=1;wait=1h 1\r\n");
        member.sync();
        let mut nats = Nats::connect(&server.nats);
        let reply = "r".repeat(4000);
        nats.say_all((0..60_000).map(|_| format!("PUB c5 {reply} 1\r\nx\r\n")));
        (member, nats)
    });
}

#[test]
fn dead_letters_name_long_reply_subjects() {
    keeping_within_memory("C5 reply subjects of dead letters", |server| {
        let mut member = Nats::connect(&server.nats);
        member.say("SUB c5 w;ack;max=1;wait=1ms 1\r\n");
        member.sync();
        let mut nats = Nats::connect(&server.nats);
        let block = "NATS/1.0\r\nRingbolt-Deadline: 2001-01-01T00:00:00Z\r\n\r\n";
        let reply = "r".repeat(4000);
        let line = format!("HPUB c5 {reply} {0} {0}\r\n{block}\r\n", block.len());
        nats.say_all((0..60_000).map(|_| line.clone()));
        member
    });
}

#[test]
fn watched_requests_name_long_reply_subjects() {
    within_memory("C6 reply subjects of watched requests", |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say("SUB c6.ask 1\r\n");
        nats.sync();
        let block = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";
        let reply = "r".repeat(3900);
        let line = |number| format!("HPUB c6.ask {reply}.{number} {0} {0}\r\n{block}\r\n", block.len());
        for from in (0..60_000).step_by(500) {
            nats.say(&(from..from + 500).map(line).collect::<String>());
            nats.sync();
        }
        nats
    });
}

/// A connection that is subscribed and reads nothing.
fn deaf(server: &Server, pattern: &str) -> Nats {
    let mut nats = Nats::connect_deaf(&server.nats);
    nats.say(&format!("SUB {pattern} 1\r\n"));
    nats.sync();
    nats
}

#[test]
fn messages_with_deadlines_are_not_read() {
    within_memory("C7 messages with deadlines", |server| {
        let deaf: Vec<Nats> = (0..4).map(|_| deaf(server, "c7")).collect();
        let mut nats = Nats::connect(&server.nats);
        let block = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";
        let line = format!("HPUB c7 {0} {0}\r\n{block}\r\n", block.len());
        nats.say_all((0..300_000).map(|_| line.clone()));
        (deaf, nats)
    });
}

#[test]
fn answers_stand_between_messages_of_lanes() {
    within_memory("C7 answers between messages of a lane", |server| {
        let mut all: Vec<Nats> = (0..4).map(|_| deaf(server, "c7.none")).collect();
        let block = "NATS/1.0\r\nRingbolt-Priority: low\r\n\r\n";
        let line = format!("HPUB c7.own {0} {0}\r\n{block}\r\nPING\r\n", block.len());
        for nats in &mut all {
            nats.say("SUB c7.own 2\r\n");
        }
        for nats in &mut all {
            for _ in 0..100 {
                nats.say_deaf(&line.repeat(1000));
            }
        }
        all
    });
}

#[test]
fn answers_are_not_read() {
    within_memory("C8 unread PONGs of twelve connections", |server| {
        let mut all: Vec<Nats> = (0..12).map(|_| Nats::connect_deaf(&server.nats)).collect();
        let pings = "PING\r\n".repeat(50_000);
        for _ in 0..60 {
            for nats in &mut all {
                nats.say_deaf(&pings);
            }
        }
        all
    });
}

#[test]
fn what_is_sent_is_not_read() {
    within_memory("sends in flight to 100 that do not read", |server| {
        let deaf: Vec<Nats> = (0..100).map(|_| deaf(server, "c0")).collect();
        let mut nats = Nats::connect(&server.nats);
        let payload = "x".repeat(3000);
        nats.say_all((0..4000).map(|_| format!("PUB c0 3000\r\n{payload}\r\n")));
        (deaf, nats)
    });
}

#[test]
fn a_group_comes_and_goes_for_the_other_shard() {
    during("C4 a group comes and goes", FLAGS, |server| {
        let mut all: Vec<Nats> = (0..4).map(|_| Nats::connect_deaf(&server.nats)).collect();
        for nats in &mut all {
            for id in 0..200 {
                nats.say_deaf(&format!("SUB c4 w {id}\r\nUNSUB {id}\r\n").repeat(500));
            }
        }
        all
    });
}
