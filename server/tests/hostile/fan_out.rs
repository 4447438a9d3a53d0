//! Attacks by what a client publishes, and to how many.

use crate::nats::Nats;
use crate::victim::during;

/// Publishes until all is said, or the server ends the connection, which reads nothing.
fn publish(nats: &mut Nats, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    let _ = lines.chunks(1000).all(|some| nats.say_deaf(&some.concat()));
}

#[test]
fn every_subject_has_many_receivers() {
    during("B2 20 000 wildcards for 20 000 subjects", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..20_000).map(|id| format!("SUB b2.* {id}\r\n")));
        publish(&mut nats, (0..20_000).map(|subject| format!("PUB b2.{subject} 0\r\n\r\n")));
        nats
    });
}

#[test]
fn one_message_after_the_other_goes_to_very_many() {
    during("B10 a megabyte of publishes to 60 000 subscriptions", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..60_000).map(|id| format!("SUB b10.same {id}\r\n")));
        publish(&mut nats, (0..60_000).map(|_| "PUB b10.same 0\r\n\r\n".to_owned()));
        nats
    });
}

#[test]
fn a_message_goes_to_half_a_million_subscriptions() {
    during("B10 publishes to 500 000 subscriptions of ten clients", &[], |server| {
        let mut listeners: Vec<Nats> = (0..10).map(|_| Nats::connect(&server.nats)).collect();
        for nats in &mut listeners {
            nats.say_all((0..50_000).map(|id| format!("SUB b10.all {id}\r\n")));
        }
        publish(&mut listeners[0], (0..40).map(|_| "PUB b10.all 0\r\n\r\n".to_owned()));
        listeners
    });
}

#[test]
fn patterns_multiply_paths() {
    during("B10 subjects that 4096 patterns match by many paths", &[], |server| {
        let pattern = |bits: u32| {
            let tokens = (0..12).map(|place| if bits >> place & 1 == 0 { "a" } else { "*" });
            tokens.collect::<Vec<_>>().join(".")
        };
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..1 << 12).map(|bits| format!("SUB {}.b {bits}\r\n", pattern(bits))));
        let mut publisher = Nats::connect(&server.nats);
        let subject = "a.".repeat(12);
        // Each is another subject, and none has a receiver.
        publish(&mut publisher, (0..2000).map(|last| format!("PUB {subject}{last} 0\r\n\r\n")));
        publisher.sync();
        (nats, publisher)
    });
}

#[test]
fn large_headers_go_to_many_receivers() {
    during("B5 879 KiB of headers for 300 receivers", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..300).map(|id| format!("SUB b5 {id}\r\n")));
        let block = format!("NATS/1.0\r\n{}\r\n", "A: b\r\n".repeat(150_000));
        let publish = format!("HPUB b5 {0} {0}\r\n{block}\r\n", block.len());
        let _ = (0..5).all(|_| nats.say_deaf(&publish));
        nats
    });
}

#[test]
fn no_member_of_a_large_group_takes_a_message() {
    during("a group of 50 000 of whom nobody takes a message", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say("CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n");
        nats.say_all((0..50_000).map(|id| format!("SUB group.a q {id}\r\n")));
        nats.say_all((0..3000).map(|_| "PUB group.a 0\r\n\r\n".to_owned()));
        nats
    });
}

#[test]
fn the_route_of_a_large_group_is_made_anew_all_the_time() {
    during("a group of 50 000 and interest that changes", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..50_000).map(|id| format!("SUB group.b q {id}\r\n")));
        let change = "SUB group.b 50001\r\nPUB group.b 0\r\n\r\nUNSUB 50001\r\nPUB group.b 0\r\n\r\n";
        nats.say_all((0..500).map(|_| change.to_owned()));
        nats
    });
}
