//! What a native client is promised of subjects holds, whoever publishes to them.

use crate::play::{Play, reply_in};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::shard::metrics::Counter;

/// Subjects for NATS clients that native ones have no word for.
fn beyond() -> Vec<String> {
    let long = format!("a.{}", "x".repeat(254));
    let tokens = format!("a{}", ".b".repeat(32));
    vec![
        long,
        tokens,
        "a.\x0b".to_owned(),
        "a.*".to_owned(),
        "a.x.>".to_owned(),
        format!("a{}", ".b".repeat(999)),
    ]
}

/// The longest subject, and the one of most tokens, that there can be.
fn within() -> [String; 2] {
    [format!("a.{}", "x".repeat(253)), format!("a{}", ".b".repeat(31))]
}

#[test]
fn a_native_client_gets_no_subject_beyond_what_it_was_told() {
    for shards in [1, 2] {
        let mut play = Play::new(shards);
        let far = shards as u16 - 1;
        let native = play.native(far, |client| {
            client.subscribe(1, "a.>", None, SlowConsumer::Default);
            client.subscribe(2, ">", None, SlowConsumer::Default);
        });
        let nats = play.nats(far, "SUB a.> 1\r\n");
        let mut dropped = 0;
        for subject in beyond() {
            let publisher = play.nats(0, &format!("PUB {subject} 1\r\nx\r\n").repeat(3));
            assert_eq!(play.hear(native), "", "{subject}");
            assert_eq!(play.hear(nats).matches("MSG a.").count(), 3, "{subject}");
            play.close(publisher);
            dropped += 6;
            assert_eq!(play.count(Counter::DropsNativeLimits), dropped, "{subject}");
        }
        for subject in within() {
            play.nats(0, &format!("PUB {subject} 1\r\nx\r\n").repeat(3));
            assert_eq!(play.hear(native).matches(&subject).count(), 6, "{subject}");
        }
        assert_eq!(play.count(Counter::DropsNativeLimits), dropped);
    }
}

#[test]
fn a_native_client_gets_no_reply_subject_beyond_what_it_was_told() {
    for shards in [1, 2] {
        let mut play = Play::new(shards);
        let far = shards as u16 - 1;
        let native = play.native(far, |client| {
            client.subscribe(1, "job", None, SlowConsumer::Default);
            client.subscribe(2, "j.*", None, SlowConsumer::Default);
        });
        for reply in beyond().into_iter().chain(["a..b".to_owned()]) {
            let words = format!("PUB job {reply} 1\r\nx\r\nPUB j.k {reply} 1\r\nx\r\n");
            play.nats(0, &words);
            assert_eq!(play.hear(native), "", "{reply}");
        }
        assert_eq!(play.count(Counter::DropsNativeLimits), 14);
        for reply in within() {
            play.nats(0, &format!("PUB job {reply} 1\r\nx\r\n"));
            assert_eq!(play.hear(native), format!("1 0 {reply} x\n"));
        }
    }
}

#[test]
fn who_asks_only_native_clients_in_vain_hears_that_nobody_is_there() {
    let mut play = Play::new(1);
    play.native(0, |client| client.subscribe(1, "a.>", None, SlowConsumer::Default));
    for subject in beyond() {
        let asker = play.nats(0, &format!("SUB in 1\r\nPUB {subject} in 1\r\nx\r\n"));
        assert!(play.hear(asker).contains("NATS/1.0 503"), "{subject}");
    }
}

#[test]
fn of_a_group_a_member_takes_the_message_that_may() {
    for shards in [1, 2] {
        for options in ["", ";ack;inflight=100"] {
            let mut play = Play::new(shards);
            let far = shards as u16 - 1;
            let group = format!("g{options}");
            let native =
                play.native(0, |client| client.subscribe(1, "a.>", Some(&group), SlowConsumer::Default));
            let nats = play.nats(far, &format!("SUB a.> {group} 1\r\n"));
            for subject in beyond() {
                play.nats(far, &format!("PUB {subject} 1\r\nx\r\n").repeat(5));
            }
            (0..5).for_each(|_| play.pass(1_000_000_000));
            assert_eq!(play.hear(native), "");
            if shards == 1 {
                assert_eq!(play.hear(nats).matches("MSG a.").count(), 5 * beyond().len(), "{options}");
            }
        }
    }
}

/// Nothing is kept for members that will never have it.
#[test]
fn a_group_of_native_members_keeps_nothing_it_cannot_give() {
    let mut play = Play::new(1);
    let native = play.native(0, |client| client.subscribe(1, "a.>", Some("g;ack"), SlowConsumer::Default));
    for subject in beyond() {
        let asker = play.nats(0, &format!("SUB in 1\r\nPUB {subject} in 1\r\nx\r\n"));
        assert!(play.hear(asker).contains("NATS/1.0 503"), "{subject}");
    }
    assert_eq!((play.hear(native), play.count(Counter::WorkMessages)), (String::new(), 0));
    play.nats(0, "PUB a.b in..x 1\r\nx\r\n");
    assert!(reply_in(&play.hear(native)).starts_with("$JS.ACK."), "a reply subject is a header there");
}
