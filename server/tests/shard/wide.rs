//! Messages to very many: nobody else waits for all of their deliveries, and each receiver has its order.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

const PIECE: u32 = 20;
const RECEIVERS: usize = 10;
const EACH: u32 = 12;

fn limits(shards: usize) -> Limits {
    Limits { piece_steps: PIECE, turn_steps: 4 * PIECE, client_steps: PIECE, ..small_limits(shards) }
}

/// One shard whose outboxes take all there is.
fn roomy() -> Limits {
    Limits { outbox_bytes_max: 4 << 20, ..limits(1) }
}

fn client(world: &mut World, shard: u16) -> usize {
    let client = world.connect(shard);
    world.clients[client].hello();
    world.write(client);
    client
}

/// Clients of shard 0 with twelve subscriptions to `wide` each.
fn receivers(world: &mut World) -> Vec<usize> {
    let all: Vec<usize> = (0..RECEIVERS).map(|_| client(world, 0)).collect();
    for &one in &all {
        (1..=EACH).for_each(|id| world.clients[one].subscribe(id, "wide", None, SlowConsumer::Default));
        world.write(one);
    }
    world.settle(&BTreeSet::new());
    // The first message to a subject pays for its route.
    let publisher = client(world, 0);
    publish(world, publisher, "wide", 0..1);
    world.settle(&BTreeSet::new());
    all.iter().for_each(|&one| world.clients[one].received.clear());
    all
}

fn publish(world: &mut World, client: usize, subject: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.clients[client].publish_as(SubjectRef::Literal(subject.as_bytes()), None, number, b"");
    }
    world.write(client);
}

/// What each subscription of a client got.
fn got(world: &mut World, client: usize) -> Vec<(u32, u64)> {
    world.begin_send(client);
    world.end_send(client);
    let delivery = |received: &Received| match received {
        Received::Delivery { subscription, correlation_id, .. } => Some((*subscription, *correlation_id)),
        _ => None,
    };
    world.clients[client].received.iter().filter_map(delivery).collect()
}

fn all_got(world: &mut World, of: &[usize]) -> usize {
    of.iter().map(|&one| got(world, one).len()).sum()
}

fn each_has(world: &mut World, one: usize, numbers: &[u64]) {
    let got = got(world, one);
    for id in 1..=EACH {
        let of: Vec<u64> = got.iter().filter(|(to, _)| *to == id).map(|&(_, number)| number).collect();
        assert_eq!(of, numbers, "subscription {id} of {one}");
    }
}

#[test]
fn others_are_heard_between_the_pieces_and_the_publisher_after_the_last() {
    let mut world = World::new(limits(1), 1);
    let all = receivers(&mut world);
    let [publisher, other, listener] = [(); 3].map(|()| client(&mut world, 0));
    world.clients[listener].subscribe(1, "narrow", None, SlowConsumer::Default);
    world.write(listener);
    world.settle(&BTreeSet::new());
    publish(&mut world, publisher, "wide", 1..4);
    publish(&mut world, publisher, "narrow", 10..11);
    world.clients[publisher].ping(9);
    world.write(publisher);
    assert!(world.receive(publisher, usize::MAX));
    let mut before = all_got(&mut world, &all);
    assert!(before <= PIECE as usize, "{before} at once");
    publish(&mut world, other, "narrow", 100..101);
    assert!(world.receive(other, usize::MAX));
    assert_eq!(got(&mut world, listener), [(1, 100)], "it is heard at once");
    let mut turns = 0;
    while world.go_on(0) {
        let now = all_got(&mut world, &all);
        assert!(now - before <= 5 * PIECE as usize, "{} in a turn", now - before);
        before = now;
        turns += 1;
    }
    world.settle(&BTreeSet::new());
    assert!(turns > 3, "{turns}");
    all.iter().for_each(|&one| each_has(&mut world, one, &[1, 2, 3]));
    assert_eq!(got(&mut world, listener), [(1, 100), (1, 10)]);
    assert!(world.clients[publisher].received.contains(&Received::Pong(9)));
    assert_eq!(world.count(Counter::MessagesInPieces), 4);
}

#[test]
fn who_comes_between_two_pieces_gets_nothing_and_who_leaves_nothing_more() {
    // A turn serves about half of them.
    const MANY: u32 = 9000;
    let limits = Limits { turn_steps: 4000, client_steps: 4000, subscriptions_max: MANY as usize, ..roomy() };
    let mut world = World::new(limits, 1);
    let [many, last, publisher, late] = [(); 4].map(|()| client(&mut world, 0));
    (1..=MANY).for_each(|id| world.clients[many].subscribe(id, "wide", None, SlowConsumer::Default));
    world.write(many);
    world.settle(&BTreeSet::new());
    (1..=EACH).for_each(|id| world.clients[last].subscribe(id, "wide", None, SlowConsumer::Default));
    world.write(last);
    world.settle(&BTreeSet::new());
    publish(&mut world, publisher, "wide", 1..2);
    assert!(world.receive(publisher, usize::MAX) && world.go_on(0));
    let served = got(&mut world, many).len() as u32;
    assert!((1000..8000).contains(&served), "{served}");
    // The last one ends its subscriptions, whose places the next one takes. Another turn begins.
    world.tick(1);
    (1..=EACH).for_each(|id| world.clients[last].unsubscribe(id, 0));
    world.clients[last].ping(1);
    world.write(last);
    while world.receive(last, usize::MAX) {}
    (1..=EACH).for_each(|id| world.clients[late].subscribe(id, "wide", None, SlowConsumer::Default));
    world.write(late);
    while world.receive(late, usize::MAX) {}
    world.begin_send(late);
    world.end_send(late);
    assert!(world.clients[late].received.contains(&Received::Subscribed(EACH)), "it is heard at once");
    world.settle(&BTreeSet::new());
    assert_eq!(got(&mut world, many).len() as u32, MANY);
    let heard = &world.clients[last].received;
    let pong = heard.iter().position(|received| *received == Received::Pong(1)).expect("a PONG");
    let later = heard[pong..].iter().filter(|received| matches!(received, Received::Delivery { .. }));
    assert_eq!(later.count(), 0, "nothing comes after the PONG");
    each_has(&mut world, late, &[]);
    assert!(!world.is_paused(publisher));
}

#[test]
fn a_publisher_of_another_shard_keeps_its_order_and_delays_no_other() {
    let mut world = World::new(limits(2), 1);
    let all = receivers(&mut world);
    let [publisher, other] = [(); 2].map(|()| client(&mut world, 1));
    let listener = client(&mut world, 0);
    world.clients[listener].subscribe(1, "narrow", None, SlowConsumer::Default);
    world.write(listener);
    world.settle(&BTreeSet::new());
    publish(&mut world, publisher, "wide", 1..3);
    publish(&mut world, publisher, "narrow", 10..11);
    publish(&mut world, other, "narrow", 100..101);
    assert!(world.receive(publisher, usize::MAX));
    // It has spent its share.
    while world.go_on(1) {}
    assert!(world.receive(other, usize::MAX));
    while world.send_batch(1, 0) {}
    while world.receive_batch(1, 0) {}
    assert_eq!(got(&mut world, listener), [(1, 100)], "another's message does not wait");
    assert!(all_got(&mut world, &all) <= 4 * PIECE as usize);
    while world.send_batch(0, 1) {}
    while world.receive_batch(0, 1) {}
    assert!(world.is_paused(publisher) && !world.is_paused(other));
    world.settle(&BTreeSet::new());
    all.iter().for_each(|&one| each_has(&mut world, one, &[1, 2]));
    assert_eq!(got(&mut world, listener), [(1, 100), (1, 10)]);
    assert!(!world.is_paused(publisher));
}

#[test]
fn one_of_each_of_very_many_groups_gets_it() {
    let mut world = World::new(limits(2), 1);
    let members: Vec<usize> = (0..RECEIVERS).map(|number| client(&mut world, (number % 2) as u16)).collect();
    for (number, &member) in members.iter().enumerate() {
        for id in 1..=EACH {
            // Each group has members of two clients, on two shards.
            let group = format!("g{}", (number / 2) as u32 * EACH + id);
            world.clients[member].subscribe(id, "wide", Some(&group), SlowConsumer::Default);
        }
        world.write(member);
    }
    world.settle(&BTreeSet::new());
    let publisher = client(&mut world, 0);
    publish(&mut world, publisher, "wide", 1..4);
    world.settle(&BTreeSet::new());
    let mut taken = std::collections::BTreeMap::new();
    for (number, &member) in members.iter().enumerate() {
        for (id, message) in got(&mut world, member) {
            *taken.entry(((number / 2) as u32 * EACH + id, message)).or_insert(0) += 1;
        }
    }
    assert_eq!(taken.len(), 3 * EACH as usize * RECEIVERS / 2);
    assert!(taken.values().all(|&times| times == 1), "{taken:?}");
    assert!(world.count(Counter::MessagesInPieces) >= 3);
}

#[test]
fn what_was_accepted_is_delivered_before_the_end() {
    let mut world = World::new(limits(2), 1);
    let all = receivers(&mut world);
    let publishers = [client(&mut world, 0), client(&mut world, 1)];
    world.settle(&BTreeSet::new());
    for publisher in publishers {
        publish(&mut world, publisher, "wide", 1..5);
        assert!(world.receive(publisher, usize::MAX));
    }
    // What the other shard sends comes when this one takes no more of its own clients.
    world.drain();
    world.settle(&BTreeSet::new());
    assert!(world.is_drained());
    for &one in &all {
        let got = got(&mut world, one);
        for id in 1..=EACH {
            let numbers = got.iter().filter(|(to, _)| *to == id).map(|&(_, number)| number);
            let mut numbers: Vec<u64> = numbers.collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 4, 4], "subscription {id} of {one}");
        }
    }
}

#[test]
fn a_publisher_that_is_closed_by_a_server_that_leaves_has_said_all_in_order() {
    // What is copied for each counts: a message may be in pieces, and the next one on its subject not.
    let limits = Limits { piece_steps: 10 * PIECE, shared_payload_bytes_min: 1 << 20, ..roomy() };
    let mut world = World::new(limits, 1);
    let publisher = client(&mut world, 0);
    let all = receivers(&mut world);
    for (number, bytes) in [(1, 1000), (2, 0), (3, 1000), (4, 0)] {
        let payload = vec![0; bytes];
        world.clients[publisher].publish_as(SubjectRef::Literal(b"wide"), None, number, &payload);
    }
    world.write(publisher);
    assert!(world.receive(publisher, usize::MAX));
    world.lame_duck();
    // A second after the grace, of the ten that all have.
    world.tick(2_000_000_000);
    assert!(world.is_gone(publisher) && !world.is_gone(all[1]));
    world.settle(&BTreeSet::new());
    all.iter().for_each(|&one| each_has(&mut world, one, &[1, 2, 3, 4]));
    assert_eq!(world.count(Counter::MessagesInPieces), 2);
}
