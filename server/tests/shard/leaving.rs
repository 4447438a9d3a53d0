//! What a connection had goes in pieces, and harms nobody meanwhile.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::{RefusalCode, SlowConsumer};
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::TICK_NANOS;
use ringbolt_shard::limits::{Limits, SlowConsumerPolicy};
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

const SUBSCRIPTIONS: u64 = 200;
/// What a turn with these limits may take of a connection that leaves.
const PIECE: u64 = 12;

/// Two shards, on the first of which one with many subscriptions is gone, and another one that asks.
fn world() -> (World, usize, usize) {
    let limits = Limits { turn_steps: 400, client_steps: 80, subscriptions_max: 1000, ..small_limits(2) };
    let mut world = World::new(limits, 1);
    let (many, neighbour) = (world.connect(0), world.connect(0));
    for client in [many, neighbour] {
        world.clients[client].hello();
    }
    for id in 1..=SUBSCRIPTIONS as u32 {
        world.clients[many].subscribe(id, &format!("a.{id}"), None, SlowConsumer::Default);
    }
    world.clients[neighbour].subscribe(1, "own", None, SlowConsumer::Default);
    [many, neighbour].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    assert_eq!(world.count(Counter::Subscriptions), SUBSCRIPTIONS + 1);
    world.crash(many);
    (world, many, neighbour)
}

fn ask(world: &mut World, client: usize, subject: &str) {
    world.clients[client].publish_as(SubjectRef::Literal(subject.as_bytes()), Some("own"), 1, b"");
    world.write(client);
    world.receive(client, usize::MAX);
}

#[test]
fn a_connection_that_had_much_goes_in_pieces_and_others_are_heard_between() {
    let (mut world, many, neighbour) = world();
    let mut left = world.count(Counter::Subscriptions);
    assert!(left > SUBSCRIPTIONS - PIECE && !world.is_forgotten(many), "{left}");
    let mut turns = 0;
    while world.go_on(0) {
        let now = world.count(Counter::Subscriptions);
        assert!(now <= left && left - now <= PIECE, "{left}, then {now}");
        (left, turns) = (now, turns + 1);
        let before = world.count(Counter::MessagesOut);
        ask(&mut world, neighbour, "own");
        assert_eq!(world.count(Counter::MessagesOut), before + 1, "in turn {turns}");
        world.begin_send(neighbour);
        world.end_send(neighbour);
    }
    assert!(turns > SUBSCRIPTIONS / PIECE);
    assert!(world.is_forgotten(many));
    assert_eq!((left, world.count(Counter::Connections)), (1, 1));
    world.settle(&BTreeSet::new());
    let before = world.count(Counter::MeshMessagesOut);
    let other = world.connect(1);
    world.clients[other].hello();
    world.clients[other].publish("a.1", b"");
    world.write(other);
    world.settle(&BTreeSet::new());
    assert_eq!(world.count(Counter::MeshMessagesOut), before, "the other shard knows, too");
}

#[test]
fn nothing_is_delivered_to_who_leaves_and_who_asks_it_is_told_that_nobody_is_there() {
    let (mut world, many, neighbour) = world();
    let delivered = world.count(Counter::MessagesOut);
    ask(&mut world, neighbour, &format!("a.{SUBSCRIPTIONS}"));
    assert!(!world.is_forgotten(many));
    assert_eq!((world.count(Counter::MessagesOut), world.count(Counter::NoResponders)), (delivered, 1));
    world.settle(&BTreeSet::new());
    assert!(world.is_forgotten(many));
}

#[test]
fn a_drain_waits_for_those_who_leave() {
    let (mut world, many, _) = world();
    world.drain();
    world.settle(&BTreeSet::new());
    assert!(world.is_forgotten(many) && world.is_drained());
}

#[test]
fn what_a_member_held_comes_back_in_pieces_each_message_once() {
    let limits = Limits { turn_steps: 400, client_steps: 80, ..small_limits(1) };
    let mut world = World::new(limits, 1);
    let connect = |world: &mut World, group: Option<&str>| {
        let client = world.connect(0);
        world.clients[client].hello();
        if group.is_some() {
            world.clients[client].subscribe(1, "job", group, SlowConsumer::Default);
        }
        world.write(client);
        world.settle(&BTreeSet::new());
        client
    };
    let producer = connect(&mut world, None);
    let group = Some("g;ack;inflight=100");
    let first = connect(&mut world, group);
    for number in 1..=40 {
        world.clients[producer].publish_as(SubjectRef::Literal(b"job"), None, number, b"do");
    }
    world.write(producer);
    world.settle(&BTreeSet::new());
    assert_eq!(world.clients[first].payloads(1).len(), 40);
    let second = connect(&mut world, group);
    world.crash(first);
    let given = world.count(Counter::Redeliveries);
    assert!(given < PIECE && !world.is_forgotten(first), "in pieces: {given}");
    world.settle(&BTreeSet::new());
    let mut got: Vec<u64> = world.clients[second].received.iter().filter_map(number).collect();
    got.sort_unstable();
    assert!(got.iter().copied().eq(1..=40), "{got:?}");
    assert!(world.is_forgotten(first));
}

fn number(received: &Received) -> Option<u64> {
    match received {
        Received::Delivery { correlation_id, .. } => Some(*correlation_id),
        _ => None,
    }
}

#[test]
fn what_was_queued_for_who_is_cut_is_given_back_in_pieces() {
    const MESSAGES: u64 = 4000;
    let limits = Limits { payload_bytes_max: 4096, outbox_bytes_max: 16 << 20, ..small_limits(1) };
    let mut world = World::new(limits, 1);
    let (deaf, publisher) = (world.connect(0), world.connect(0));
    for client in [deaf, publisher] {
        world.clients[client].hello();
    }
    world.clients[deaf].subscribe(1, "a", None, SlowConsumer::Default);
    [deaf, publisher].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    for number in 0..MESSAGES {
        world.clients[publisher].publish_as(SubjectRef::Literal(b"a"), None, number, &[b'x'; 1000]);
    }
    world.write(publisher);
    world.settle(&BTreeSet::from([deaf]));
    world.crash(deaf);
    let first = world.count(Counter::DropsConnectionEnded);
    assert!(0 < first && first < MESSAGES, "{first}");
    while world.go_on(0) {}
    assert_eq!(world.count(Counter::DropsConnectionEnded), MESSAGES, "each is counted");
}

#[test]
fn who_waits_for_a_connection_that_ends_goes_on_at_once() {
    let limits = Limits { turn_steps: 400, client_steps: 80, subscriptions_max: 1000, ..small_limits(1) };
    let mut world = World::new(limits, 1);
    let (many, publisher) = (world.connect(0), world.connect(0));
    for client in [many, publisher] {
        world.clients[client].hello();
    }
    for id in 1..=SUBSCRIPTIONS as u32 {
        world.clients[many].subscribe(id, &format!("a.{id}"), None, SlowConsumer::PausePublisher);
    }
    [many, publisher].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    (0..30).for_each(|_| world.clients[publisher].publish("a.1", &[b'x'; 1000]));
    world.write(publisher);
    world.receive(publisher, usize::MAX);
    while !world.is_paused(publisher) && world.go_on(0) {}
    assert!(world.is_paused(publisher), "it waits for who takes nothing");
    world.crash(many);
    assert!(!world.is_forgotten(many), "what it had takes some turns");
    assert_eq!(world.count(Counter::PublishersPaused), 0, "but nobody waits for it");
    world.settle(&BTreeSet::new());
    assert!(world.is_forgotten(many));
}

/// A reader under a policy that holds, and a publisher that is held back with more than its outbox takes.
fn outrun(slow_consumer: SlowConsumerPolicy) -> (World, usize, usize) {
    let limits = Limits { slow_consumer, ..small_limits(1) };
    let mut world = World::new(limits, 1);
    let [reader, publisher] = [(); 2].map(|()| world.connect(0));
    [reader, publisher].into_iter().for_each(|client| world.clients[client].hello());
    world.clients[reader].subscribe(1, "a", None, SlowConsumer::Default);
    [reader, publisher].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    (0..40).for_each(|_| world.clients[publisher].publish("a", &[0; 1000]));
    world.write(publisher);
    assert!(world.receive(publisher, usize::MAX) && world.is_paused(publisher));
    (world, reader, publisher)
}

#[test]
fn who_takes_what_it_is_sent_gets_all_that_was_said_before_the_end() {
    let (mut world, reader, publisher) = outrun(SlowConsumerPolicy::Hold);
    world.drain();
    assert!(!world.is_gone(reader) && !world.is_drained());
    // What is said from now on is too late.
    world.clients[publisher].publish("a", b"late");
    world.write(publisher);
    world.settle(&BTreeSet::new());
    assert!(world.is_drained());
    assert_eq!(world.clients[reader].payloads(1), vec![&[0; 1000][..]; 40]);
    assert_eq!(world.count(Counter::ConnectionsClosedSlowConsumer), 0);
}

#[test]
fn what_is_published_at_the_end_is_refused() {
    let (mut world, reader, _) = outrun(SlowConsumerPolicy::Hold);
    let late = world.connect(0);
    world.clients[late].hello();
    world.write(late);
    world.receive(late, usize::MAX);
    world.drain();
    world.clients[late].publish("a", b"late");
    world.write(late);
    assert!(world.receive(late, usize::MAX));
    world.settle(&BTreeSet::new());
    let refused = Received::Refused { code: RefusalCode::ShuttingDown, correlation_id: 0 };
    assert!(world.clients[late].received.contains(&refused), "{:?}", world.clients[late].received);
    assert_eq!(world.clients[reader].payloads(1).len(), 40);
}

#[test]
fn the_end_waits_a_second_for_who_takes_nothing() {
    let (mut world, _, publisher) = outrun(SlowConsumerPolicy::PausePublisher);
    world.drain();
    let ticks = (1..30).find(|_| {
        world.tick(TICK_NANOS);
        world.is_gone(publisher)
    });
    assert!(ticks.is_some_and(|ticks| (9..=11).contains(&ticks)), "after {ticks:?} tenths of a second");
}
