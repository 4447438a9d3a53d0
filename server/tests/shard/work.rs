//! What members of a group that acknowledges are given, and what becomes of it.

use ringbolt_protocol::command::{Compression, Flags, Priority, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::lanes::SLACK_HEADS;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{Nanos, TICK_NANOS};
use std::collections::BTreeSet;

/// One shard, a producer, and what it published to `job`.
fn world() -> (World, usize) {
    let mut world = World::new(small_limits(1), 1);
    let producer = world.connect(0);
    world.clients[producer].hello();
    world.write(producer);
    (world, producer)
}

fn member(world: &mut World, group: &str) -> usize {
    member_beside(world, group, &BTreeSet::new())
}

/// Likewise, while some clients read nothing.
fn member_beside(world: &mut World, group: &str, stalled: &BTreeSet<usize>) -> usize {
    let client = world.connect(0);
    world.clients[client].hello();
    world.clients[client].subscribe(1, "job", Some(group), SlowConsumer::Default);
    world.write(client);
    world.settle(stalled);
    client
}

fn publish(world: &mut World, producer: usize, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, b"do");
    }
    world.write(producer);
    world.settle(&BTreeSet::new());
}

/// Numbers and reply subjects of what a member was given since it was asked last.
fn given(world: &mut World, client: usize) -> Vec<(u64, String)> {
    let received = std::mem::take(&mut world.clients[client].received);
    let delivery = |received| match received {
        Received::Delivery { correlation_id, reply: Some(reply), .. } => Some((correlation_id, reply)),
        _ => None,
    };
    received.into_iter().filter_map(delivery).collect()
}

fn say(world: &mut World, client: usize, reply: &str, words: &str) {
    world.clients[client].publish(reply, words.as_bytes());
    world.write(client);
    world.settle(&BTreeSet::new());
}

#[test]
fn a_member_has_no_more_in_flight_than_it_may() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=2");
    publish(&mut world, producer, 1..6);
    let first = given(&mut world, client);
    assert_eq!(first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    say(&mut world, client, &first[1].1, "+ACK");
    assert_eq!(given(&mut world, client)[0].0, 3, "a place for the next");
    say(&mut world, client, &first[1].1, "+ACK");
    assert!(given(&mut world, client).is_empty(), "what was acknowledged once counts once");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 1);
}

#[test]
fn a_connection_with_several_subscriptions_is_one_member() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=2");
    world.clients[client].subscribe(2, "*", Some("g;ack;inflight=2"), SlowConsumer::Default);
    world.write(client);
    publish(&mut world, producer, 1..6);
    let had = given(&mut world, client);
    assert_eq!(had.len(), 2);
    say(&mut world, client, &had[0].1, "+ACK");
    assert_eq!(given(&mut world, client).len(), 1);
    world.crash(client);
    world.settle(&BTreeSet::new());
    let other = member(&mut world, "g;ack;inflight=9");
    assert_eq!(given(&mut world, other).len(), 4);
}

#[test]
fn the_important_goes_first_and_the_earliest_deadline_before_it() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=1");
    publish(&mut world, producer, 1..3);
    for (number, priority) in [(3, Priority::Background), (4, Priority::Critical), (5, Priority::High)] {
        world.clients[producer].flags = Flags::new(priority, Compression::None);
        publish(&mut world, producer, number..number + 1);
    }
    let mut order = Vec::new();
    while let Some((number, reply)) = given(&mut world, client).pop() {
        order.push(number);
        say(&mut world, client, &reply, "");
    }
    assert_eq!(order, [1, 4, 5, 2, 3]);
}

#[test]
fn what_a_member_leaves_another_gets_at_once() {
    let (mut world, producer) = world();
    let (first, second) = (member(&mut world, "g;ack;inflight=8"), member(&mut world, "g;ack"));
    publish(&mut world, producer, 1..9);
    let left: Vec<u64> = given(&mut world, first).iter().map(|(number, _)| *number).collect();
    assert_eq!(left.len(), 4, "shared evenly");
    given(&mut world, second);
    world.crash(first);
    world.settle(&BTreeSet::new());
    let got: Vec<u64> = given(&mut world, second).iter().map(|(number, _)| *number).collect();
    assert_eq!(got, left);
    assert_eq!(world.count(Counter::Redeliveries), 4);
}

#[test]
fn everyone_has_one_turn_in_a_round_whoever_leaves() {
    for leaving in 0..6 {
        let (mut world, producer) = world();
        let members: Vec<usize> =
            (0..6).map(|_| member(&mut world, "g;ack;balance=round-robin;inflight=9")).collect();
        publish(&mut world, producer, 1..4);
        world.clients[members[leaving]].unsubscribe(1, 0);
        world.write(members[leaving]);
        world.settle(&BTreeSet::new());
        publish(&mut world, producer, 4..if leaving < 3 { 7 } else { 6 });
        for (place, &client) in members.iter().enumerate() {
            let had = given(&mut world, client).len();
            assert_eq!(had, usize::from(place < 3 || place != leaving), "{place}, when {leaving} leaves");
        }
    }
}

#[test]
fn who_unsubscribes_may_still_settle_what_he_has() {
    let (mut world, producer) = world();
    let (first, second) = (member(&mut world, "g;ack"), member(&mut world, "g;ack"));
    publish(&mut world, producer, 1..5);
    let had = given(&mut world, first);
    assert_eq!((had.len(), given(&mut world, second).len()), (2, 2));
    world.clients[first].unsubscribe(1, 0);
    world.write(first);
    world.settle(&BTreeSet::new());
    say(&mut world, first, &had[0].1, "+ACK");
    assert!(given(&mut world, second).is_empty(), "it may still be at it");
    assert_eq!(world.count(Counter::WorkMessages), 3);
    publish(&mut world, producer, 5..6);
    assert_eq!(given(&mut world, second).len(), 1, "and is given no more");
    world.crash(first);
    world.settle(&BTreeSet::new());
    let got: Vec<u64> = given(&mut world, second).iter().map(|(number, _)| *number).collect();
    assert_eq!(got, [had[1].0], "but now it is not");
}

#[test]
fn a_member_whose_outbox_is_full_is_given_no_more_and_is_not_cut() {
    let (mut world, producer) = world();
    let slow = member(&mut world, "g;ack;inflight=100");
    let stalled = BTreeSet::from([slow]);
    let payload = vec![1; 2000];
    for number in 1..=20 {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, &payload);
        world.write(producer);
        world.settle(&stalled);
    }
    assert!(!world.is_gone(slow));
    let held = world.count(Counter::WorkInFlight);
    assert!((5..9).contains(&held), "16 KiB are all it may let wait: {held}");
    let other = member_beside(&mut world, "g;ack;inflight=100", &stalled);
    let wait = |world: &mut World| {
        (0..6).for_each(|_| {
            world.tick(TICK_NANOS);
            world.settle(&stalled);
        });
    };
    wait(&mut world);
    let others = given(&mut world, other).len();
    assert!(others > 0, "others get what it cannot take");
    world.crash(slow);
    wait(&mut world);
    assert_eq!(others + given(&mut world, other).len(), 20);
}

#[test]
fn room_in_an_outbox_is_used_when_it_comes_and_not_with_the_next_tick() {
    let (mut world, producer) = world();
    let reader = member(&mut world, "g;ack;inflight=100");
    for number in 1..=20 {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, &[1; 2000]);
        world.write(producer);
        world.settle(&BTreeSet::from([reader]));
    }
    assert!(world.count(Counter::WorkInFlight) < 20, "not all fit");
    world.settle(&BTreeSet::new());
    let numbers: Vec<u64> = given(&mut world, reader).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
}

#[test]
fn groups_share_the_room_of_a_connection_in_turn() {
    let (mut world, producer) = world();
    let reader = world.connect(0);
    world.clients[reader].hello();
    for id in 1..=3 {
        let group = format!("g{id};ack;inflight=100");
        world.clients[reader].subscribe(id, "job", Some(&group), SlowConsumer::Default);
    }
    world.write(reader);
    world.settle(&BTreeSet::new());
    for number in 1..=20 {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, &[1; 2000]);
        world.write(producer);
        world.settle(&BTreeSet::from([reader]));
    }
    let mut had = [0; 3];
    while world.count(Counter::WorkInFlight) < 60 {
        world.begin_send(reader);
        world.end_send(reader);
        for id in 1..=3 {
            let before = std::mem::replace(&mut had[id - 1], world.clients[reader].payloads(id as u32).len());
            assert!(before <= had[id - 1]);
        }
        let (least, most) = (had.iter().min(), had.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 16), "{had:?}");
    }
    world.settle(&BTreeSet::new());
    assert_eq!([1, 2, 3].map(|id| world.clients[reader].payloads(id).len()), [20; 3]);
}

#[test]
fn a_message_that_several_members_fail_is_poison_and_its_letter_says_so() {
    let (mut world, producer) = world();
    let mourner = world.connect(0);
    world.clients[mourner].hello();
    world.clients[mourner].subscribe(1, "$DLQ.>", None, SlowConsumer::Default);
    world.write(mourner);
    let group = "g;ack;max=10;poison=2;backoff=1ms..1ms";
    let members = [member(&mut world, group), member(&mut world, group)];
    publish(&mut world, producer, 1..2);
    let mut failures = 0;
    while failures < 10 && world.count(Counter::DeadLettersPoison) == 0 {
        for client in members {
            for (_, reply) in given(&mut world, client) {
                failures += 1;
                say(&mut world, client, &reply, "-NAK it burns");
            }
        }
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(failures, 2, "another member is tried first");
    let letters = world.clients[mourner].payloads(1);
    let letter = String::from_utf8_lossy(letters[0]);
    for line in ["Ringbolt-Subject: job", "Ringbolt-Reason: poison", "Ringbolt-Deliveries: 2", "it burns"] {
        assert!(letter.contains(line), "{line} in {letter}");
    }
    assert!(letter.ends_with("do"), "{letter}");
}

#[test]
fn poison_is_told_of_once() {
    let (mut world, producer) = world();
    let alarmed = world.connect(0);
    world.clients[alarmed].hello();
    world.clients[alarmed].subscribe(1, "$EVENTS.poison", None, SlowConsumer::Default);
    world.write(alarmed);
    let client = member(&mut world, "g;ack;poison=1");
    publish(&mut world, producer, 1..2);
    let reply = given(&mut world, client).remove(0).1;
    say(&mut world, client, &reply, "-NAK it burns");
    world.tick(100 * TICK_NANOS);
    world.settle(&BTreeSet::new());
    let events = world.clients[alarmed].payloads(1);
    assert_eq!(events.len(), 1);
    let event = String::from_utf8_lossy(events[0]);
    for part in ["\"group\":\"g\"", "\"subject\":\"job\"", "\"deliveries\":1", "it burns"] {
        assert!(event.contains(part), "{part} in {event}");
    }
}

#[test]
fn a_letter_says_what_kind_of_failure_it_was() {
    for (words, class) in [
        ("-NAK", "transient"),
        ("-NAK {\"delay\": 1000000}", "overload"),
        ("+TERM", "permanent"),
        ("", "overload"),
    ] {
        let (mut world, producer) = world();
        world.clients[producer].subscribe(2, "$DLQ.>", None, SlowConsumer::Default);
        let client = member(&mut world, "g;ack;max=1;wait=1s");
        publish(&mut world, producer, 1..2);
        let reply = given(&mut world, client).remove(0).1;
        if words.is_empty() {
            world.tick(2_000_000_000);
            world.settle(&BTreeSet::new());
        } else {
            say(&mut world, client, &reply, words);
        }
        let letters = world.clients[producer].payloads(2);
        let letter = String::from_utf8_lossy(letters.first().unwrap_or_else(|| panic!("{words}: no letter")));
        assert!(letter.contains(&format!("Ringbolt-Class: {class}\r\n")), "{words}: {letter}");
    }
}

#[test]
fn a_lane_of_a_group_that_waits_gets_its_share_of_deliveries() {
    let limits = Limits { work_bytes_max: 16 << 20, ..small_limits(1) };
    let mut world = World::new(limits.clone(), 1);
    let producer = world.connect(0);
    world.clients[producer].hello();
    world.write(producer);
    let client = member(&mut world, "g;ack;inflight=1");
    let priorities =
        [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Background];
    for (lane, priority) in priorities.into_iter().enumerate() {
        world.clients[producer].flags = Flags::new(priority, Compression::None);
        publish(&mut world, producer, 1000 * lane as u64..1000 * lane as u64 + 1000);
    }
    let mut counts = [0u64; 5];
    for served in 1..=900u64 {
        let (number, reply) = given(&mut world, client).remove(0);
        counts[number as usize / 1000] += 1;
        for (lane, &share) in limits.lane_shares.0.iter().enumerate() {
            let least = (served * u64::from(share) / 1000).saturating_sub(SLACK_HEADS);
            assert!(counts[lane] >= least, "{counts:?} of {served}");
        }
        say(&mut world, client, &reply, "+ACK");
    }
    assert!(counts[0] > 600, "the rest is the critical lane's: {counts:?}");
}

#[test]
fn progress_buys_time_and_silence_costs_it() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;wait=1s;max=2;backoff=1ms..1ms");
    publish(&mut world, producer, 1..2);
    let reply = given(&mut world, client).remove(0).1;
    for _ in 0..5 {
        world.tick(800_000_000);
        say(&mut world, client, &reply, "+WPI");
    }
    assert_eq!(world.count(Counter::Redeliveries), 0);
    for _ in 0..20 {
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(world.count(Counter::Redeliveries), 1);
    for _ in 0..20 {
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert_eq!(world.count(Counter::DeadLettersExhausted), 1);
    assert!(world.now > Nanos(6_000_000_000));
}

#[test]
fn a_full_group_sheds_the_least_important() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=1;pending=3");
    world.clients[producer].flags = Flags::new(Priority::Background, Compression::None);
    publish(&mut world, producer, 1..10);
    assert_eq!(world.count(Counter::DropsWorkFull), 5, "one in flight, three wait");
    world.clients[producer].flags = Flags::new(Priority::High, Compression::None);
    publish(&mut world, producer, 10..12);
    assert_eq!(world.count(Counter::DropsWorkFull), 7, "two of the background made room");
    let mut order = Vec::new();
    while let Some((number, reply)) = given(&mut world, client).pop() {
        order.push(number);
        say(&mut world, client, &reply, "+ACK");
    }
    assert_eq!(order, [1, 10, 11, 2]);
}

#[test]
fn what_is_reserved_only_critical_messages_take() {
    let (mut world, producer) = world();
    let clients: Vec<usize> = (0..5).map(|_| member(&mut world, "g;ack;inflight=1;reserve=2")).collect();
    publish(&mut world, producer, 1..20);
    let mut held: Vec<(usize, String)> = Vec::new();
    for &client in &clients {
        held.extend(given(&mut world, client).into_iter().map(|(_, reply)| (client, reply)));
    }
    assert_eq!(held.len(), 3, "two of five are kept");
    world.clients[producer].flags = Flags::new(Priority::Critical, Compression::None);
    publish(&mut world, producer, 100..103);
    let critical: Vec<u64> =
        clients.iter().flat_map(|&client| given(&mut world, client)).map(|(number, _)| number).collect();
    assert_eq!(critical.len(), 2, "both go at once, and the third waits: {critical:?}");
    let (client, reply) = held.remove(0);
    say(&mut world, client, &reply, "+ACK");
    assert_eq!(given(&mut world, client)[0].0, 102, "it is next, and the others wait");
}

#[test]
fn a_group_that_takes_all_memory_makes_room_for_the_others() {
    let limits = Limits { work_bytes_max: 100_000, ..small_limits(1) };
    let mut world = World::new(limits, 1);
    let producer = world.connect(0);
    world.clients[producer].hello();
    world.write(producer);
    let hog = member(&mut world, "hog;ack;inflight=1");
    publish(&mut world, producer, 1..1000);
    let kept = world.count(Counter::WorkMessages);
    assert!(kept < 400, "the memory is full with {kept} messages");
    // Another group has the same messages now, and they are important to nobody less.
    let other = member(&mut world, "other;ack;inflight=1000");
    world.clients[producer].flags = Flags::new(Priority::Background, Compression::None);
    publish(&mut world, producer, 2000..2050);
    assert_eq!(given(&mut world, other).len(), 50, "of the other group none was lost");
    assert!(world.count(Counter::WorkBytes) <= 100_000);
    assert_eq!(given(&mut world, hog).len(), 1);
}

#[test]
fn a_member_that_fails_everything_is_given_nothing_for_a_while_and_it_is_told() {
    let (mut world, producer) = world();
    let observer = world.connect(0);
    world.clients[observer].hello();
    world.clients[observer].subscribe(1, "$EVENTS.breaker.*", None, SlowConsumer::Default);
    world.write(observer);
    let group = "g;ack;inflight=1;max=100;poison=100;backoff=1ms..1ms";
    let broken = member(&mut world, group);
    publish(&mut world, producer, 1..4);
    for _ in 0..3 {
        let reply = given(&mut world, broken).remove(0).1;
        say(&mut world, broken, &reply, "-NAK");
        world.tick(TICK_NANOS);
        world.settle(&BTreeSet::new());
    }
    assert!(given(&mut world, broken).is_empty(), "three failures in a row are enough");
    let event = String::from_utf8_lossy(world.clients[observer].payloads(1)[0]).into_owned();
    assert!(event.contains("\"state\":\"open\"") && event.contains("\"group\":\"g\""), "{event}");
    let works = member(&mut world, group);
    assert_eq!(given(&mut world, works).len(), 1, "others get what it would have had");
    (0..12).for_each(|_| world.tick(TICK_NANOS));
    world.settle(&BTreeSet::new());
    assert_eq!(given(&mut world, broken).len(), 1, "then a probe");
    assert_eq!(world.count(Counter::BreakerChanges), 2);
}

#[test]
fn what_is_published_twice_is_delivered_once_and_both_are_confirmed() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=2;pending=1");
    world.clients[producer].subscribe(9, "inbox", None, SlowConsumer::Default);
    for id in ["a", "a", "b", "b", "c", "d", "a"] {
        let block = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\nNats-Expected-Stream: ringbolt\r\n\r\n");
        world.clients[producer].publish_with_headers("job", Some("inbox"), &block, b"do");
        world.write(producer);
        world.settle(&BTreeSet::new());
    }
    let confirmed: Vec<String> = world.clients[producer]
        .payloads(9)
        .into_iter()
        .map(|payload| String::from_utf8_lossy(payload).into_owned())
        .collect();
    let duplicates = confirmed.iter().filter(|words| words.contains("\"duplicate\":true")).count();
    assert_eq!((confirmed.len(), duplicates), (7, 3), "{confirmed:?}");
    assert!(confirmed[5].contains("503"), "the group is full: {confirmed:?}");
    assert_eq!(given(&mut world, client).len(), 2);
    assert_eq!(world.count(Counter::Duplicates), 3);
    assert_eq!(world.count(Counter::DropsWorkFull), 1);
}

#[test]
fn messages_that_rest_are_bounded_like_those_that_wait() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack;inflight=1;pending=3;max=9;breaker=off");
    publish(&mut world, producer, 1..3);
    for _ in 0..2 {
        let reply = given(&mut world, client).remove(0).1;
        say(&mut world, client, &reply, "-NAK {\"delay\": 18446744073709551615}");
    }
    publish(&mut world, producer, 3..9);
    assert_eq!(world.count(Counter::WorkMessages), 4, "two rest, one waits, one is in flight");
    assert_eq!(world.count(Counter::DropsWorkFull), 4);
}

#[test]
fn a_message_whose_deadline_is_past_is_dropped_or_a_dead_letter() {
    let (mut world, producer) = world();
    for (id, pattern) in [(2, "job"), (3, "$DLQ.expired.>")] {
        world.clients[producer].subscribe(id, pattern, None, SlowConsumer::Default);
    }
    let worker = member(&mut world, "g;ack");
    let plain = member(&mut world, "h");
    world.tick(2_000_000_000);
    for (deadline, arrives) in [("1970-01-01T00:00:01Z", 0), ("1970-01-01T00:01:00Z", 1)] {
        let block = format!("NATS/1.0\r\nRingbolt-Deadline: {deadline}\r\n\r\n");
        world.clients[producer].publish_with_headers("job", None, &block, b"do");
        world.write(producer);
        world.settle(&BTreeSet::new());
        assert_eq!(world.clients[producer].payloads(2).len(), arrives, "{deadline}");
        assert_eq!(world.clients[plain].payloads(1).len(), arrives, "{deadline}");
        assert_eq!(given(&mut world, worker).len(), arrives, "{deadline}");
    }
    assert_eq!(world.clients[producer].payloads(3).len(), 1);
    assert_eq!(world.count(Counter::DropsExpired), 2);
}

#[test]
fn what_nobody_wants_is_a_dead_letter_if_that_was_asked() {
    let (mut world, producer) = world();
    world.clients[producer].subscribe(2, "$DLQ.>", None, SlowConsumer::Default);
    for block in ["NATS/1.0\r\n\r\n", "NATS/1.0\r\nRingbolt-Unroutable: dead-letter\r\n\r\n"] {
        world.clients[producer].publish_with_headers("nowhere", None, block, b"lost?");
        world.write(producer);
        world.settle(&BTreeSet::new());
    }
    let letters = world.clients[producer].payloads(2);
    assert_eq!(letters.len(), 1);
    let letter = String::from_utf8_lossy(letters[0]);
    assert!(letter.contains("Ringbolt-Reason: unroutable\r\n") && letter.ends_with("lost?"), "{letter}");
}

#[test]
fn nobody_settles_what_he_was_not_given() {
    let (mut world, producer) = world();
    let client = member(&mut world, "g;ack");
    publish(&mut world, producer, 1..2);
    let reply = given(&mut world, client).remove(0).1;
    say(&mut world, producer, &reply, "+ACK");
    say(&mut world, producer, "$JS.ACK.ringbolt.g.1.99.99.0.0", "+TERM");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 2);
    assert_eq!(world.count(Counter::WorkMessages), 1);
    world.clients[client].subscribe(2, "secret", None, SlowConsumer::Default);
    let asks = |world: &mut World, who: usize| {
        world.clients[who].publish_as(SubjectRef::Literal(reply.as_bytes()), Some("secret"), 0, b"+WPI");
        world.write(who);
        world.settle(&BTreeSet::new());
        world.clients[client].payloads(2).len()
    };
    assert_eq!(asks(&mut world, producer), 0, "nobody confirms what was not settled");
    assert_eq!(asks(&mut world, client), 1);
    say(&mut world, client, &reply, "nonsense");
    assert_eq!(world.count(Counter::AcknowledgementsStray), 4);
    say(&mut world, client, &reply, "+ACK");
    assert_eq!(world.count(Counter::WorkMessages), 0);
}
