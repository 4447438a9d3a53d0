//! Groups that acknowledge: who is given a message, and that nobody else can acknowledge it, however it is
//! said.

use crate::play::{CONNECT, Play, connect_as, hpub, reply_in, user};
use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Rule, Rules, User};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;

/// A worker that has one message in hand and answers requests, and what acknowledges that message.
fn busy_worker(play: &mut Play) -> (usize, String) {
    let worker = play.nats(0, "SUB job g;ack 1\r\nSUB service 2\r\nSUB $EVENTS.> 3\r\n");
    play.nats(0, "PUB job 2\r\ndo\r\n");
    let reply = reply_in(&play.hear(worker));
    (worker, reply)
}

/// Whatever the worker is asked, it answers to where it is told.
fn answer(play: &mut Play, worker: usize) {
    let heard = play.hear(worker);
    for line in
        heard.lines().filter(|line| line.starts_with("MSG service") || line.starts_with("HMSG service"))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers = if words[0] == "HMSG" { 2 } else { 1 };
        if words.len() == 4 + numbers {
            play.say(worker, format!("PUB {} 0\r\n\r\n", words[3]).as_bytes());
        }
    }
}

#[test]
fn an_answer_to_a_request_acknowledges_nothing() {
    for numbered in [false, true] {
        let mut play = Play::new(1);
        let (worker, reply) = busy_worker(&mut play);
        let attacker = play.native(0, |client| {
            client.intern(1, "service");
            let subject = if numbered { SubjectRef::Interned(1) } else { SubjectRef::Literal(b"service") };
            client.publish_as(subject, Some(&reply), 0, b"?");
            client.publish_with_headers("service", Some(&reply), "NATS/1.0\r\nA: b\r\n\r\n", b"?");
        });
        answer(&mut play, worker);
        assert_eq!(play.count(Counter::WorkMessages), 1, "it is still to be done");
        assert_eq!(play.hear(attacker).matches("InvalidSubject").count(), 2, "numbered: {numbered}");
        let attacker =
            play.nats(0, &format!("PUB service {reply} 0\r\n\r\n{}", hpub("service", &reply, "", "")));
        answer(&mut play, worker);
        assert_eq!(play.count(Counter::WorkMessages), 1);
        assert_eq!(play.hear(attacker).matches("Publish with Reply of").count(), 2);
        play.say(worker, format!("PUB {reply} 0\r\n\r\n").as_bytes());
        assert_eq!(play.count(Counter::WorkMessages), 0, "who has it may");
    }
}

#[test]
fn an_acknowledgement_is_said_by_its_subject_and_by_nothing_that_stands_for_it() {
    let mut play = Play::new(1);
    let (_, reply) = busy_worker(&mut play);
    let spy = play.nats(0, "SUB $JS.> 1\r\n");
    let native = play.native(0, |client| client.intern(5, &reply));
    assert!(play.hear(native).contains("InvalidSubject"), "a number does not stand for it");
    play.speak(native, |client| client.publish_as(SubjectRef::Interned(5), None, 0, b""));
    assert!(play.hear(native).contains("UnknownInternedSubject"));
    assert_eq!((play.count(Counter::WorkMessages), play.hear(spy)), (1, String::new()));
}

#[test]
fn a_native_member_acknowledges_what_it_was_given_and_no_more() {
    let mut play = Play::new(1);
    let (_, stranger) = busy_worker(&mut play);
    let member = play.native(0, |client| client.subscribe(1, "other", Some("o;ack"), SlowConsumer::Default));
    play.nats(0, "PUB other 1\r\nx\r\n");
    let own =
        play.hear(member).split(' ').find(|word| word.starts_with("$JS.ACK.")).unwrap_or_default().to_owned();
    play.speak(member, |client| client.publish(&stranger, b""));
    assert_eq!(play.count(Counter::WorkMessages), 2, "it is another's");
    play.speak(member, |client| client.publish(&own, b""));
    assert_eq!(play.count(Counter::WorkMessages), 1);
    assert_eq!(play.count(Counter::AcknowledgementsStray), 1);
}

/// `lim` may read everything but these.
fn access_of(denied: &[&str]) -> Access {
    let mut access = Access::default();
    access.add_user(User { permissions: None, ..user("all", 0, &[], &[]) });
    let mut lim = user("lim", 0, &[">"], &[">"]);
    if let Some(permissions) = &mut lim.permissions {
        permissions.subscribe.deny.extend(denied.iter().filter_map(|rule| Rule::parse(rule)));
    }
    access.add_user(lim);
    access
}

#[test]
fn what_no_member_may_have_keeps_nothing_from_them() {
    let mut play = Play::with(&access_of(&["ok.secret"]), small_limits(2));
    let lim = play.nats_as(0, &connect_as("lim"), "SUB ok.> w;ack 1\r\n");
    let publisher = play.nats_as(0, &connect_as("all"), "PUB ok.secret 1\r\ns\r\nPUB ok.a 1\r\na\r\n");
    assert_eq!(play.hear(lim).matches("MSG ok.a 1").count(), 1);
    assert_eq!(play.count(Counter::DropsNoQueueMember), 1, "nobody could ever have it");
    let other = play.nats_as(1, &connect_as("all"), "SUB ok.> w;ack 7\r\n");
    play.say(publisher, "PUB ok.secret 1\r\ns\r\n".repeat(8).as_bytes());
    assert_eq!(play.hear(other).matches("MSG ok.secret 7").count(), 8, "the member that may has them all");
    assert_eq!(play.hear(lim), "");
}

#[test]
fn who_wants_no_echo_does_not_stop_its_group_by_its_own_messages() {
    let quiet = CONNECT.replace('}', ",\"echo\":false}");
    let mut play = Play::new(2);
    let member = play.nats_as(0, &quiet, "SUB job w;ack 1\r\nPUB job 3\r\nown\r\n");
    play.nats(0, "PUB job 5\r\nother\r\n");
    let heard = play.hear(member);
    assert!(heard.contains("other") && !heard.contains("own"), "{heard}");
    let far = play.nats(1, "SUB job w;ack 1\r\n");
    play.say(member, "PUB job 3\r\nown\r\n".repeat(8).as_bytes());
    assert_eq!(play.hear(far).matches("own").count(), 8);
}

#[test]
fn what_a_member_may_not_have_any_more_goes_to_one_that_may() {
    let mut play = Play::with(&access_of(&[]), small_limits(2));
    let lim = play.nats_as(0, &connect_as("lim"), "SUB ok.> w;ack;inflight=1 1\r\n");
    play.nats_as(0, &connect_as("lim"), "PUB ok.first 1\r\nx\r\nPUB ok.secret 1\r\ns\r\n");
    let first = reply_in(&play.hear(lim));
    play.change_access(&access_of(&["ok.secret"]));
    let other = play.nats_as(1, &connect_as("all"), "SUB ok.> w;ack 7\r\n");
    play.say(lim, format!("PUB {first} 0\r\n\r\n").as_bytes());
    play.pass(1_000_000_000);
    assert_eq!(play.hear(lim), "");
    assert!(play.hear(other).contains("MSG ok.secret 7"));
}

#[test]
fn of_a_group_that_acknowledges_in_part_whoever_may_have_a_message_gets_it() {
    let mut play = Play::with(&access_of(&["ok.secret"]), small_limits(1));
    let lim = play.nats_as(0, &connect_as("lim"), "SUB ok.> q;ack 1\r\n");
    let plain = play.nats_as(0, &connect_as("all"), "SUB ok.> q 1\r\n");
    play.nats_as(0, &connect_as("all"), &"PUB ok.secret 1\r\ns\r\n".repeat(16));
    assert_eq!(play.hear(plain).matches("MSG ok.secret").count(), 16);
    assert_eq!(play.hear(lim), "");
}

#[test]
fn each_group_passes_a_message_on_by_itself() {
    let quiet = CONNECT.replace('}', ",\"echo\":false}");
    let groups = || (0..6).map(|group| format!("SUB job g{group} {group}\r\n")).collect::<String>();
    let mut play = Play::new(2);
    let publisher = play.nats_as(0, &quiet, &groups());
    let far = play.nats(1, &groups());
    play.say(publisher, "PUB job 1\r\nx\r\n".repeat(8).as_bytes());
    assert_eq!(play.hear(far).matches("MSG job").count(), 48);
    assert_eq!(play.count(Counter::DropsNoQueueMember), 0);
}

#[test]
fn a_key_stays_with_its_connection_until_that_is_no_member() {
    let mut play = Play::new(1);
    let subscribe = "SUB job w;ack;key=K 1\r\nSUB * w;ack;key=K 2\r\n";
    let members: Vec<usize> = (0..4).map(|_| play.nats(0, subscribe)).collect();
    let publisher = play.nats(0, "");
    let owners = |play: &mut Play| -> Vec<Option<usize>> {
        let owner = |key: u8| {
            play.say(publisher, hpub("job", "", &format!("K: {key}\r\n"), "do").as_bytes());
            members.iter().position(|&member| play.hear(member).contains("do"))
        };
        (0..4).map(owner).collect()
    };
    let before = owners(&mut play);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    members.iter().for_each(|&member| play.say(member, b"UNSUB 1\r\n"));
    assert_eq!(owners(&mut play), before, "it has another subscription");
    let last = before[0].expect("a member");
    play.say(members[last], b"UNSUB 2\r\n");
    for (owner, had) in owners(&mut play).into_iter().zip(before) {
        assert!(owner.is_some() && owner != Some(last), "who left is given nothing");
        assert!(owner == had || had == Some(last), "and only its keys move");
    }
}

#[test]
fn what_was_promised_before_the_limits_fell_is_delivered() {
    let mut play = Play::new(1);
    let reader = play.nats(0, "SUB big 1\r\nSUB job w;ack 2\r\n");
    let publisher = play.native(0, |_| {});
    let limits = Limits { payload_bytes_max: 1024, outbox_bytes_max: 2048, ..small_limits(1) };
    play.change(&Access::default(), &limits);
    play.hear(reader);
    for subject in ["big", "job", "big"] {
        play.speak(publisher, |client| client.publish(subject, &[b'x'; 4000]));
    }
    play.speak(publisher, |client| client.publish("job", b"small"));
    let heard = play.hear(reader);
    assert_eq!((heard.matches("4000").count(), heard.matches("small").count()), (3, 1), "{heard}");
    assert_eq!(play.reason(reader), None);
}

#[test]
fn who_may_be_in_a_group_may_not_make_another_of_it_by_a_key() {
    let allow = ["job g", "keyed g;ack;key=K"].iter().filter_map(|rule| Rule::parse(rule)).collect();
    let mut shared = user("shared", 0, &[">"], &[]);
    if let Some(permissions) = &mut shared.permissions {
        permissions.subscribe = Rules { allow: Some(allow), deny: Vec::new() };
    }
    let mut access = Access::default();
    access.add_user(shared);
    let mut play = Play::with(&access, small_limits(1));
    let client = play.nats_as(0, &connect_as("shared"), "SUB job g 1\r\nSUB job g;ack;max=3 2\r\n");
    assert_eq!(play.hear(client), "");
    for line in ["SUB job g;ack;key=A 3\r\n", "SUB job g;ack;key=A;key=B 4\r\n", "SUB keyed g 5\r\n"] {
        play.say(client, line.as_bytes());
        assert!(play.hear(client).contains("Permissions Violation for Subscription"), "{line}");
    }
    play.say(client, b"SUB keyed g;ack;key=A;key=K 6\r\n");
    assert_eq!(play.hear(client), "", "the last counts, and may be allowed by its name");
}
