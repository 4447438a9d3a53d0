//! A subscription is known by one id, byte for byte, and ends once.

use crate::play::{Play, connect_as, hpub, reply_in, user};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::Access;
use ringbolt_shard::metrics::Counter;

/// Ids that end or begin with bytes which count as blanks in some places and not in others.
const ODD_IDS: [&str; 6] = ["1\x0c", "\x0c1", "1\x0b", "\x0c", "1\x0c\x0c", "\u{a0}1\u{a0}"];

#[test]
fn an_id_with_odd_bytes_ends_its_own_subscription_and_once() {
    for id in ODD_IDS {
        for pattern in ["a", "a.*", "a\x0c"] {
            let mut play = Play::new(1);
            let odd = play.nats(0, &format!("SUB {pattern} {id}\r\nUNSUB {id}\r\n"));
            assert_eq!(play.count(Counter::Subscriptions), 0, "{id:?}");
            let other = play.nats(0, "SUB b 7\r\nSUB b.* 8\r\n");
            play.say(odd, format!("UNSUB {id}\r\nUNSUB {id} 5\r\nUNSUB {id}\r\nPING\r\n").as_bytes());
            assert_eq!(play.hear(odd), "PONG\n", "{id:?}");
            assert_eq!(
                play.patterns(0),
                [("b".to_owned(), "7".to_owned()), ("b.*".to_owned(), "8".to_owned())]
            );
            play.say(odd, b"PUB b 2\r\nhi\r\n");
            assert_eq!(play.hear(other), "MSG b 7 2\nhi\n", "{id:?}: a stranger keeps its own");
        }
    }
}

#[test]
fn an_id_is_told_as_it_was_given() {
    for id in ODD_IDS {
        let mut play = Play::new(1);
        let client =
            play.nats(0, &format!("SUB a {id}\r\nSUB a.* {id}+\r\nPUB a 1\r\nx\r\nPUB a.b 1\r\ny\r\n"));
        let said = |id: &str| id.as_bytes().escape_ascii().to_string();
        assert_eq!(
            play.hear(client),
            format!("MSG a {} 1\nx\nMSG a.b {} 1\ny\n", said(id), said(&format!("{id}+")))
        );
        let ids: Vec<String> = play.patterns(0).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [id.to_owned(), format!("{id}+")]);
    }
}

#[test]
fn an_id_with_odd_bytes_survives_its_last_delivery_and_a_change_of_who_may_what() {
    for id in ODD_IDS {
        let users = |subscribe: &[&str]| {
            let mut access = Access::default();
            access.add_user(user("ann", 0, &[">"], subscribe));
            access
        };
        let before = users(&[">"]);
        let mut after = users(&["b"]);
        after.succeed(&before).expect("few");
        let mut play = Play::with(&before, small_limits(1));
        let words = format!(
            "SUB a {id}\r\nUNSUB {id} 1\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\nSUB c {id}\r\nSUB b 2\r\n"
        );
        let ann = play.nats_as(0, &connect_as("ann"), &words);
        assert_eq!(play.hear(ann).matches("MSG a").count(), 1);
        play.change_access(&after);
        assert!(play.hear(ann).contains("Permissions Violation for Subscription to \"c\""), "{id:?}");
        play.change_access(&after);
        assert_eq!(play.patterns(0), [("b".to_owned(), "2".to_owned())]);
        play.close(ann);
        assert_eq!(play.count(Counter::Subscriptions), 0);
    }
}

/// The place of a subscription that ended is another's soon.
#[test]
fn what_a_member_left_behind_is_not_held_against_who_comes_to_its_place() {
    let mut play = Play::new(1);
    let first = play.nats(0, "SUB job g;ack;wait=1s;max=9;poison=9;backoff=1ms..1ms 1\r\n");
    for _ in 0..4 {
        play.say(first, b"PUB job 2\r\ndo\r\n");
    }
    assert_eq!(play.hear(first).matches("MSG job").count(), 4);
    play.say(first, b"UNSUB 1\r\n");
    // At the same place in the table.
    let second = play.nats(0, "SUB job g;ack;wait=60s;max=9;poison=9;backoff=1ms..1ms 1\r\n");
    (0..15).for_each(|_| play.pass(100_000_000));
    assert_eq!(play.count(Counter::BreakerChanges), 0, "the second has failed nothing");
    assert_eq!(play.hear(second).matches("MSG job").count(), 4);
}

#[test]
fn an_id_that_one_group_has_seen_is_new_to_the_next_in_its_place() {
    for numbered in ["1", "2"] {
        let mut play = Play::new(1);
        let first = play.nats(0, "SUB job g;ack 1\r\n");
        play.nats(0, &hpub("job", "", "Nats-Msg-Id: 7\r\n", "do"));
        let reply = reply_in(&play.hear(first));
        play.say(first, format!("PUB {reply} 0\r\n\r\nUNSUB 1\r\n").as_bytes());
        // At the same place in the table.
        let second = play.nats(0, &format!("SUB other.{numbered} h;ack 1\r\n"));
        let ask = hpub(&format!("other.{numbered}"), "", "Nats-Msg-Id: 7\r\n", "do");
        play.nats(0, &ask.repeat(2));
        assert_eq!(play.hear(second).matches("$JS.ACK.").count(), 1, "of the two that are the same");
        assert_eq!(play.count(Counter::Duplicates), 1);
    }
}
