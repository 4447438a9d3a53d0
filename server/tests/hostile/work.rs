//! Attacks by requests and by groups whose members acknowledge.

use crate::nats::Nats;
use crate::victim::during;

/// A request that the server looks after for a long time.
fn watched(number: usize) -> String {
    let block = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";
    format!("HPUB c6.ask c6.inbox.{number} {0} {0}\r\n{block}\r\n", block.len())
}

#[test]
fn requests_are_watched_until_the_year_2500() {
    during("C6 watched requests", &[], |server| {
        let mut responder = Nats::connect(&server.nats);
        responder.say("SUB c6.ask 1\r\nUNSUB 1 70000\r\n");
        responder.sync();
        let mut nats = Nats::connect(&server.nats);
        for from in (0..60_000).step_by(500) {
            nats.say(&(from..from + 500).map(watched).collect::<String>());
            nats.sync();
        }
        assert!(server.metric("ringbolt_requests_watched") > 20_000.0);
        drop(nats);
        server.await_metric("ringbolt_requests_watched", |watched| watched == 0.0);
        responder
    });
}

#[test]
fn a_group_with_a_key_has_many_members() {
    during("B4 1000 members of a group with a key", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        let subscribe = |id: usize| format!("SUB b4 w;ack;key=K {id}\r\n");
        nats.say(&(0..1000).map(subscribe).collect::<String>());
        nats.sync();
        nats.say(&(0..1000).map(|id| format!("UNSUB {id}\r\n")).collect::<String>());
        nats.sync();
        nats
    });
}

#[test]
fn what_is_acknowledged_is_nothing_and_long() {
    during("B18 a megabyte of JSON for no message", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        let words = format!("-NAK {{\"delay\": [{}0]}}", "0,".repeat(500_000));
        for number in 0..20 {
            nats.say(&format!("PUB $JS.ACK.ringbolt.w.1.{number}.1.0.0 {}\r\n{words}\r\n", words.len()));
        }
        nats.sync();
        nats
    });
}

#[test]
fn nobody_who_is_free_in_a_large_group_wants_what_waits() {
    unwanted("4000 free members, and 300 messages that none of them wants", "w;ack;inflight=1");
}

#[test]
fn nobody_who_is_free_in_a_large_group_with_a_key_wants_what_waits() {
    unwanted("4000 free members of a key, and 300 messages that none wants", "w;ack;inflight=1;key=K");
}

fn unwanted(name: &str, group: &str) {
    during(name, &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say(&format!("SUB unwanted.a {group} 0\r\n"));
        let mut others = Nats::connect(&server.nats);
        others.say_all((1..=4000).map(|id| format!("SUB unwanted.b {group} {id}\r\n")));
        let lanes = ["critical", "high", "normal", "low", "background"];
        let line = |number: usize| {
            let lane = lanes[number % 5];
            let block = format!("NATS/1.0\r\nRingbolt-Priority: {lane}\r\nK: {number}\r\n\r\n");
            format!("HPUB unwanted.a {0} {0}\r\n{block}\r\n", block.len())
        };
        nats.say_all((0..300).map(line));
        (nats, others)
    });
}
