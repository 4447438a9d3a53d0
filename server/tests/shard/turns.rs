//! Who is heard when: nobody waits for all that another one says.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::TICK_NANOS;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

/// Subscriptions to `wide`: what a message to it costs, about.
const WIDE: u32 = 80;

/// A shard that gives a turn and a client so many steps, a listener to `>`, a greedy client and a modest one.
fn world(turn_steps: u32, client_steps: u32) -> (World, usize, usize, usize) {
    let mut world = World::new(Limits { turn_steps, client_steps, ..small_limits(1) }, 1);
    let mut connect = || {
        let client = world.connect(0);
        world.clients[client].hello();
        client
    };
    let all: Vec<usize> = (0..8).map(|_| connect()).collect();
    for (number, &client) in all.iter().enumerate().skip(3) {
        assert!(number < 8 && WIDE.is_multiple_of(5 * 16), "five clients have sixteen subscriptions each");
        (1..=16).for_each(|id| world.clients[client].subscribe(id, "wide", None, SlowConsumer::DropNewest));
    }
    world.clients[all[0]].subscribe(1, ">", None, SlowConsumer::Default);
    all.iter().for_each(|&client| world.write(client));
    world.settle(&BTreeSet::new());
    // The first message to a subject pays for its route.
    publish(&mut world, all[1], "wide", 0..1);
    publish(&mut world, all[2], "narrow", 0..1);
    world.settle(&BTreeSet::new());
    heard(&mut world, all[0]);
    (world, all[0], all[1], all[2])
}

fn publish(world: &mut World, client: usize, subject: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.clients[client].publish_as(SubjectRef::Literal(subject.as_bytes()), None, number, b"");
    }
    world.write(client);
}

/// What the listener got since it was asked last.
fn heard(world: &mut World, listener: usize) -> Vec<u64> {
    world.begin_send(listener);
    world.end_send(listener);
    let received = std::mem::take(&mut world.clients[listener].received);
    let number = |received| match received {
        Received::Delivery { correlation_id, .. } => Some(correlation_id),
        _ => None,
    };
    received.into_iter().filter_map(number).collect()
}

#[test]
fn who_asks_for_much_is_heard_in_later_turns_and_the_others_in_this_one() {
    let (mut world, listener, greedy, modest) = world(1000, 100);
    let before = world.count(Counter::ClientsDeferred);
    publish(&mut world, greedy, "wide", 1..10);
    publish(&mut world, modest, "narrow", 100..103);
    world.receive(greedy, usize::MAX);
    assert_eq!(heard(&mut world, listener), [1, 2], "what was begun is finished");
    world.receive(modest, usize::MAX);
    assert_eq!(heard(&mut world, listener), [100, 101, 102]);
    let turns = std::iter::from_fn(|| world.go_on(0).then(|| heard(&mut world, listener)));
    let turns: Vec<Vec<u64>> = turns.collect();
    assert!(turns.iter().all(|turn| turn.len() <= 2), "{turns:?}");
    assert_eq!(turns.concat(), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.count(Counter::ClientsDeferred), before + 1, "one waited, for all of them");
}

#[test]
fn who_has_been_alone_for_a_while_need_not_share() {
    let (mut world, listener, greedy, modest) = world(100, 100);
    world.tick(TICK_NANOS);
    publish(&mut world, greedy, "wide", 1..6);
    publish(&mut world, modest, "narrow", 100..101);
    world.receive(greedy, usize::MAX);
    assert_eq!(heard(&mut world, listener), [1, 2], "it was another that was heard last");
    while world.go_on(0) {}
    world.tick(TICK_NANOS);
    publish(&mut world, greedy, "wide", 6..11);
    world.receive(greedy, usize::MAX);
    assert_eq!(heard(&mut world, listener), [3, 4, 5, 6, 7, 8, 9, 10]);
    world.receive(modest, usize::MAX);
    while world.go_on(0) {}
    assert_eq!(heard(&mut world, listener), [100]);
    publish(&mut world, greedy, "wide", 11..16);
    world.receive(greedy, usize::MAX);
    assert!(heard(&mut world, listener).len() < 5, "it is not alone any more");
}

#[test]
fn who_spent_more_than_its_share_waits_a_turn_for_each_time_over() {
    let (mut world, listener, greedy, _) = world(1000, 20);
    publish(&mut world, greedy, "wide", 1..4);
    world.receive(greedy, usize::MAX);
    let mut turns = vec![heard(&mut world, listener)];
    while world.go_on(0) {
        turns.push(heard(&mut world, listener));
    }
    let heard_in: Vec<usize> = (0..turns.len()).filter(|&turn| !turns[turn].is_empty()).collect();
    assert_eq!(turns.concat(), [1, 2, 3]);
    let pauses = heard_in.windows(2).map(|pair| pair[1] - pair[0]);
    let fair = (WIDE / 20 - 1) as usize..=(WIDE / 20 + 1) as usize;
    assert!(pauses.into_iter().all(|pause| fair.contains(&pause)), "{heard_in:?}");
}

#[test]
fn when_the_turn_is_over_who_owes_nothing_is_heard_first_in_the_next() {
    let (mut world, listener, greedy, modest) = world(100, 100);
    let mut before = 0;
    for round in 1..9 {
        publish(&mut world, greedy, "wide", 10 * round..10 * round + 4);
        world.receive(greedy, usize::MAX);
        publish(&mut world, modest, "narrow", 1000 + round..1001 + round);
        world.receive(modest, usize::MAX);
        assert_eq!(heard(&mut world, listener).len(), 2, "the turn is over");
        assert!(world.go_on(0));
        before += usize::from(heard(&mut world, listener).first() == Some(&(1000 + round)));
        while world.go_on(0) {}
        heard(&mut world, listener);
        // Another turn begins.
        world.tick(1);
    }
    assert!((4..8).contains(&before), "in most turns, and not in all: {before} of 8");
}
