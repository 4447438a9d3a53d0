//! Attacks by what a client subscribes to.

use crate::nats::Nats;
use crate::victim::during;

/// Subscriptions of one connection; the default limit is 65 536.
const SUBSCRIPTIONS: usize = 65_000;

#[test]
fn many_subscriptions_of_one_subject_end_at_once() {
    during("B1 many subscriptions of one subject end", &[], |server| {
        for _ in 0..3 {
            let mut nats = Nats::connect(&server.nats);
            nats.say_all((0..SUBSCRIPTIONS).map(|id| format!("SUB b1.same {id}\r\n")));
        }
    });
}

#[test]
fn ids_are_many_and_look_alike() {
    during("B3 many ids", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..40_000).map(|id| format!("SUB b3.{id} {id:0>64}\r\n")));
        nats.say_all((0..40_000).map(|id| format!("UNSUB {id:0>64}\r\n")));
        nats
    });
}

#[test]
fn a_subject_has_many_groups() {
    during("B10 a subject has 20 000 groups", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..20_000).map(|group| format!("SUB b10 g{group} {group}\r\n")));
        nats.say_all((0..20_000).map(|group| format!("UNSUB {group}\r\n")));
        nats
    });
}

#[test]
fn a_wildcard_comes_and_goes() {
    during("B17 a wildcard comes and goes", &[], |server| {
        let mut nats = Nats::connect(&server.nats);
        nats.say_all((0..100_000).map(|id| format!("SUB b17.*.x {id}\r\nUNSUB {id}\r\n")));
        nats
    });
}
