//! Messages that are kept and that nobody on their shard may have: where they go, and that none is lost on
//! the way.

use crate::play::{CONNECT, Play, connect_as, hpub, reply_in, user};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Rule};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;

/// Connects so that it is given nothing of what it published itself.
fn quiet() -> String {
    CONNECT.replace('}', ",\"echo\":false}")
}

#[test]
fn what_was_kept_once_waits_where_it_is_handed_over_to() {
    let quiet = CONNECT.replace('}', ",\"echo\":false}");
    let mut play = Play::new(2);
    let publisher = play.nats_as(1, &quiet, "SUB job w;ack 1\r\n");
    let worker = play.nats(0, "SUB job w;ack 1\r\n");
    play.say(publisher, hpub("job", "", "Nats-Msg-Id: x\r\n", "do").as_bytes());
    assert_eq!(play.hear(worker).matches("do").count(), 1);
    play.close(worker);
    play.pass(1_000_000_000);
    assert_eq!(play.count(Counter::WorkMessages), 1, "its publisher does not want it, but others may come");
    let next = play.nats(1, "SUB job w;ack 1\r\n");
    assert_eq!(play.hear(next).matches("do").count(), 1);
    assert_eq!(play.hear(publisher), "");
}

#[test]
fn what_a_full_link_does_not_take_is_handed_over_when_it_does() {
    let limits = Limits { subjects_max: 512, outbox_bytes_max: 1 << 20, ..small_limits(2) };
    let mut play = Play::with(&Access::default(), limits);
    let first = play.nats(0, "SUB job w;ack;inflight=1 1\r\n");
    for number in 0..200 {
        play.say(first, format!("PUB job 500\r\n{number:0500}\r\n").as_bytes());
    }
    play.close(first);
    assert_eq!(play.count(Counter::WorkMessages), 200);
    let next = play.nats(1, "SUB job w;ack;inflight=1000 1\r\n");
    (0..20).for_each(|_| play.pass(100_000_000));
    let heard = play.hear(next);
    assert!((0..200).all(|number| heard.contains(&format!("{number:0500}\n"))), "none is lost");
    assert_eq!(heard.matches("MSG job").count(), 200, "or given twice");
    assert_eq!(play.count(Counter::WorkMessages), 200);
}

#[test]
fn who_wants_no_echo_any_more_hands_its_own_messages_over() {
    let quiet = CONNECT.replace('}', ",\"echo\":false}");
    let mut play = Play::new(2);
    let member = play.nats(0, "SUB job w;ack;inflight=1 1\r\nPUB job 1\r\n0\r\n");
    play.say(member, b"PUB job 3\r\nown\r\n");
    let reply = reply_in(&play.hear(member));
    play.say(member, quiet.as_bytes());
    let far = play.nats(1, "SUB job w;ack;inflight=1 1\r\n");
    play.pass(100_000_000);
    assert_eq!(play.hear(far).matches("own").count(), 1);
    play.say(member, format!("PUB {reply} 0\r\n\r\n").as_bytes());
    assert_eq!(play.hear(member), "");
}

#[test]
fn what_is_handed_over_and_back_is_no_duplicate_of_itself() {
    let mut play = Play::new(2);
    let leaving = play.nats(0, "SUB job w;ack;inflight=1 1\r\nPUB job 1\r\n0\r\n");
    play.say(leaving, hpub("job", "", "Nats-Msg-Id: x\r\n", "do").as_bytes());
    let far = play.nats(1, "SUB job w;ack;inflight=1 1\r\n");
    // What it holds keeps the group there, with all it remembers.
    play.say(leaving, b"UNSUB 1\r\n");
    play.pass(1_000_000_000);
    assert_eq!(play.hear(far).matches("do").count(), 1);
    play.say(leaving, b"SUB job w;ack;inflight=9 2\r\n");
    play.close(far);
    play.pass(1_000_000_000);
    assert_eq!(play.hear(leaving).matches("do").count(), 1, "it comes back");
    assert_eq!(play.count(Counter::Duplicates), 0);
}

#[test]
fn what_no_native_member_may_be_given_is_not_handed_to_and_fro() {
    let long = (0..40).map(|number| format!("t{number}")).collect::<Vec<_>>().join(".");
    let mut play = Play::new(2);
    let leaving = play.nats(0, "SUB t0.> w;ack 1\r\n");
    for shard in [0, 1] {
        play.native(shard, |client| {
            client.subscribe(1, "t0.>", Some("w;ack"), SlowConsumer::Default);
            client.subscribe(2, "h.x", Some("w;ack"), SlowConsumer::Default);
        });
    }
    play.say(leaving, format!("PUB {long} 1\r\nx\r\n").as_bytes());
    play.close(leaving);
    (0..3).for_each(|_| play.pass(100_000_000));
    let before = play.count(Counter::MeshMessagesOut);
    (0..20).for_each(|_| play.pass(100_000_000));
    assert_eq!(play.count(Counter::MeshMessagesOut), before);
    assert_eq!(play.count(Counter::WorkMessages), 1);
}

/// Native members that acknowledge, who may not have what has so long a subject.
fn natives(play: &mut Play, shards: impl Iterator<Item = u16>) {
    for shard in shards {
        play.native(shard, |client| {
            client.subscribe(1, "t0.>", Some("w;ack"), SlowConsumer::Default);
        });
    }
}

fn long_publish() -> String {
    let subject = (0..40).map(|number| format!("t{number}")).collect::<Vec<_>>().join(".");
    format!("PUB {subject} 1\r\nx\r\n")
}

#[test]
fn whoever_may_have_it_is_found_on_whichever_shard() {
    for place in 1..4 {
        let mut play = Play::new(4);
        let leaving = play.nats(0, "SUB t0.> w;ack 1\r\n");
        natives(&mut play, 0..4);
        let busy = play.nats(place, "SUB t0.> w;ack;inflight=9 1\r\n");
        play.say(leaving, long_publish().repeat(20).as_bytes());
        play.close(leaving);
        assert_eq!(play.hear(busy).matches("MSG t0").count(), 20, "on shard {place}");
        // There they wait for somebody else as well.
        let next = play.nats(place % 3 + 1, "SUB t0.> w;ack 1\r\n");
        play.close(busy);
        assert_eq!(play.hear(next).matches("MSG t0").count(), 20, "then on another");
        assert_eq!(play.count(Counter::DropsNoQueueMember), 0);
    }
}

#[test]
fn what_nobody_may_have_waits_for_whoever_comes() {
    for place in 0..4 {
        let mut play = Play::new(4);
        let leaving = play.nats(0, "SUB t0.> w;ack 1\r\n");
        natives(&mut play, 0..3);
        // Of these nobody acknowledges.
        play.native(3, |client| client.subscribe(1, "t0.>", Some("w"), SlowConsumer::Default));
        play.say(leaving, long_publish().as_bytes());
        play.close(leaving);
        play.pass(100_000_000);
        assert_eq!(play.count(Counter::WorkMessages), 1, "it is not lost to who may not have it");
        let next = play.nats(place, "SUB t0.> w;ack 1\r\n");
        assert_eq!(play.hear(next).matches("MSG t0").count(), 1, "on shard {place}");
        assert_eq!(play.count(Counter::DropsNoQueueMember), 0);
    }
}

#[test]
fn members_that_do_not_acknowledge_have_what_nobody_else_may() {
    for place in 0..2 {
        let mut play = Play::new(2);
        let leaving = play.nats(0, "SUB t0.> w;ack 1\r\n");
        natives(&mut play, 0..2);
        play.say(leaving, long_publish().as_bytes());
        let plain = play.nats(place, "SUB t0.> w 1\r\n");
        assert_eq!(play.hear(plain), "");
        play.close(leaving);
        assert_eq!(play.hear(plain).matches("MSG t0").count(), 1, "on shard {place}");
        assert_eq!(play.count(Counter::WorkMessages), 0, "it is not kept for anybody else");
    }
}

#[test]
fn who_may_have_more_than_before_has_what_it_declined() {
    let mut play = Play::new(3);
    let publisher = play.nats_as(1, &quiet(), "SUB job w;ack 1\r\n");
    let worker = play.nats(0, "SUB job w;ack 1\r\n");
    play.say(publisher, b"PUB job 2\r\ndo\r\n");
    play.hear(worker);
    play.close(worker);
    play.pass(100_000_000);
    assert_eq!((play.hear(publisher).as_str(), play.count(Counter::WorkMessages)), ("", 1));
    play.say(publisher, CONNECT.replace('}', ",\"echo\":true}").as_bytes());
    play.pass(100_000_000);
    assert_eq!(play.hear(publisher).matches("do").count(), 1);
}

#[test]
fn who_may_read_more_than_before_has_what_it_declined() {
    let access = |denied: &[&str]| {
        let mut limited = user("lim", 0, &[">"], &[">"]);
        if let Some(permissions) = &mut limited.permissions {
            permissions.subscribe.deny.extend(denied.iter().filter_map(|rule| Rule::parse(rule)));
        }
        let mut access = Access::default();
        access.add_user(user("all", 0, &[">"], &[">"]));
        access.add_user(limited);
        access
    };
    let mut play = Play::with(&access(&["job.secret"]), small_limits(2));
    let limited = play.nats_as(1, &connect_as("lim"), "SUB job.* w;ack 1\r\n");
    let leaving = play.nats_as(0, &connect_as("all"), "SUB job.* w;ack 1\r\nPUB job.secret 1\r\ns\r\n");
    play.close(leaving);
    assert_eq!((play.hear(limited).as_str(), play.count(Counter::WorkMessages)), ("", 1));
    play.change_access(&access(&[]));
    play.pass(100_000_000);
    assert_eq!(play.hear(limited).matches("MSG job.secret").count(), 1);
}

#[test]
fn what_a_shard_has_no_room_for_stays_until_it_has() {
    let mut play = Play::new(2);
    let leaving = play.nats(0, "SUB job w;ack 1\r\n");
    for number in 0..300 {
        play.say(leaving, format!("PUB job 3\r\n{number:03}\r\n").as_bytes());
    }
    let next = play.nats(1, "SUB job w;ack;inflight=3;pending=2 1\r\n");
    play.hear(leaving);
    play.close(leaving);
    let mut done = Vec::new();
    for _ in 0..400 {
        let heard = play.hear(next);
        for part in heard.split("MSG job").skip(1) {
            let is_payload = |line: &&str| line.len() == 3 && line.parse::<u16>().is_ok();
            done.push(part.lines().find(is_payload).expect("a payload").to_owned());
            play.say(next, format!("PUB {} 0\r\n\r\n", reply_in(part)).as_bytes());
        }
        play.say(next, b"PONG\r\n");
        play.pass(100_000_000);
    }
    done.sort();
    assert_eq!(done, (0..300).map(|number| format!("{number:03}")).collect::<Vec<_>>(), "none is lost");
    assert_eq!(play.count(Counter::DropsWorkFull), 0);
}

#[test]
fn who_has_no_room_for_a_kept_message_has_it_when_there_is_some() {
    for place in 0..2 {
        let mut play = Play::new(2);
        let leaving = play.nats(0, "SUB t0.> w;ack 1\r\n");
        natives(&mut play, 0..2);
        let plain = play.nats(place, "SUB fill 2\r\n");
        let large = long_publish().replace(" 1\r\nx", &format!(" 4000\r\n{}", "x".repeat(4000)));
        play.say(leaving, large.as_bytes());
        play.say(plain, b"SUB t0.> w 1\r\n");
        play.deafen(plain);
        let fill = format!("PUB fill 4000\r\n{}\r\n", "y".repeat(4000));
        let publisher = play.nats(place, &fill.repeat(4));
        play.close(leaving);
        (0..3).for_each(|_| play.pass(100_000_000));
        assert_eq!(play.count(Counter::WorkMessages), 1, "it does not fit");
        assert_eq!(play.reason(plain), None, "nobody is cut for what waits elsewhere");
        play.listen(plain);
        (0..3).for_each(|_| play.pass(100_000_000));
        assert_eq!(play.hear(plain).matches("MSG t0").count(), 1, "on shard {place}");
        assert_eq!(play.count(Counter::WorkMessages), 0);
        assert_eq!(play.hear(publisher), "");
    }
}
