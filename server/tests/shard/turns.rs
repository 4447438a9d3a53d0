//! Who is heard when: nobody waits for all that another one says.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::access::{Access, Credential, Secret, User};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{
    ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard, TICK_NANOS,
};
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
fn who_owes_pays_also_in_turns_that_others_use_up() {
    let (mut world, listener, greedy, _) = world(60, 10);
    publish(&mut world, greedy, "wide", 1..3);
    world.receive(greedy, usize::MAX);
    // Six others, who owe nothing, take all of every turn.
    for client in 2..8 {
        publish(&mut world, client, "narrow", 1000..1400);
        world.receive(client, usize::MAX);
    }
    assert!(heard(&mut world, listener).contains(&1));
    let turn = (1..).find(|_| world.go_on(0) && heard(&mut world, listener).contains(&2));
    let owed = (WIDE / 10) as usize;
    assert!(turn.is_some_and(|turn| turn <= owed + 1), "in turn {turn:?}, for {owed} times its share");
}

#[test]
fn when_the_turn_is_over_who_owes_nothing_is_heard_first_in_the_next() {
    let (mut world, listener, greedy, modest) = world(100, 100);
    let mut before = 0;
    for round in 1..41 {
        // Rounds of different lengths, so that any of their turns is a fourth one.
        publish(&mut world, greedy, "wide", 10 * round..10 * round + 3 + round % 5);
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
    assert!((20..40).contains(&before), "in most turns, and not in all: {before} of 40");
}

#[test]
fn a_publisher_that_is_paused_while_it_waits_for_its_turn_hears_that_it_may_go_on() {
    let mut world = World::new(Limits { turn_steps: 1000, client_steps: 20, ..small_limits(1) }, 1);
    let (slow, greedy) = (world.connect(0), world.connect(0));
    world.clients[greedy].flow = true;
    for client in [slow, greedy] {
        world.clients[client].hello();
    }
    (1..=16).for_each(|id| world.clients[slow].subscribe(id, "wide", None, SlowConsumer::PausePublisher));
    [slow, greedy].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    for number in 0..4 {
        world.clients[greedy].publish_as(SubjectRef::Literal(b"wide"), None, number, &[b'x'; 1000]);
    }
    world.write(greedy);
    world.receive(greedy, usize::MAX);
    assert!(world.is_paused(greedy));
    world.begin_send(slow);
    world.end_send(slow);
    while world.go_on(0) {
        world.begin_send(slow);
        world.end_send(slow);
    }
    world.settle(&BTreeSet::new());
    let flow = |received: &Received| match received {
        Received::Flow(paused) => Some(*paused),
        _ => None,
    };
    let told: Vec<bool> = world.clients[greedy].received.iter().filter_map(flow).collect();
    assert!(told.contains(&true), "it was paused");
    assert_eq!((told.last(), world.is_paused(greedy)), (Some(&false), false), "{told:?}");
}

/// Another shard may hold a publisher back that waits for its turn.
#[test]
fn who_is_held_back_while_it_waits_for_its_turn_is_not_heard_until_it_is_let_go() {
    const MESSAGES: u64 = 40;
    let mut world = World::new(Limits { turn_steps: 1000, client_steps: 5, ..small_limits(2) }, 1);
    let (slow, greedy) = (world.connect(1), world.connect(0));
    for client in [slow, greedy] {
        world.clients[client].hello();
    }
    world.clients[slow].subscribe(1, "wide", None, SlowConsumer::PausePublisher);
    [slow, greedy].into_iter().for_each(|client| world.write(client));
    world.settle(&BTreeSet::new());
    for number in 0..MESSAGES {
        world.clients[greedy].publish_as(SubjectRef::Literal(b"wide"), None, number, &[b'x'; 1000]);
    }
    world.write(greedy);
    world.receive(greedy, usize::MAX);
    while world.count(Counter::PublisherPauses) == 0 {
        assert!(world.go_on(0), "it waits for its turn until it is held back");
        for (from, to) in [(0, 1), (1, 0)] {
            while world.send_batch(from, to) && world.receive_batch(from, to) {}
        }
    }
    let heard = world.count(Counter::MessagesIn);
    assert!(heard < MESSAGES);
    while world.go_on(0) {}
    assert_eq!(world.count(Counter::MessagesIn), heard);
    world.settle(&BTreeSet::new());
    assert_eq!(world.clients[slow].payloads(1).len() as u64, MESSAGES);
}

#[test]
fn what_waits_for_a_turn_is_published_before_its_client_is_closed() {
    let mut world = World::new(Limits { turn_steps: 1000, client_steps: 10, ..small_limits(1) }, 1);
    let (greedy, listener) = (world.connect(0), world.connect(0));
    for client in [greedy, listener] {
        world.clients[client].hello();
        world.write(client);
    }
    (1..=16).for_each(|id| world.clients[listener].subscribe(id, "wide", None, SlowConsumer::Default));
    world.write(listener);
    world.settle(&BTreeSet::new());
    publish(&mut world, greedy, "wide", 1..6);
    world.receive(greedy, usize::MAX);
    assert_eq!(heard(&mut world, listener).len(), 16, "the first, and others wait");
    world.lame_duck();
    let mut told = Vec::new();
    for _ in 0..200 {
        world.tick(TICK_NANOS);
        told.extend(heard(&mut world, listener));
        if world.is_gone(greedy) {
            break;
        }
    }
    assert!(world.is_gone(greedy) && !world.is_gone(listener));
    assert_eq!(told.len(), 4 * 16, "what was accepted is delivered");
}

/// A shard by itself, and how many connections it ended.
struct Lone {
    shard: Shard,
    closed: usize,
}

impl Lone {
    fn new(limits: &Limits, access: &Access) -> Lone {
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (1, 2),
            unix_epoch_nanos: 0,
            nats: Some(("127.0.0.1".to_owned(), 4222)),
        };
        Lone { shard: Shard::new(0, limits, access, identity, 1, 2), closed: 0 }
    }

    /// Returns the messages delivered so far, the connections it ended, and whether somebody waits.
    fn handle(&mut self, now: u64, event: Event<'_>) -> (u64, usize, bool) {
        let mut effects = Effects::default();
        self.shard.handle(Nanos(now), event, &mut effects);
        self.closed += effects.close.len();
        (self.shard.counters().get(Counter::MessagesOut), self.closed, self.shard.is_behind())
    }

    fn connect(&mut self, slot: u32) {
        let opening = Opening { dialect: Dialect::Nats, ..Opening::NATIVE };
        self.handle(1, Event::Opened(client(slot), opening));
        self.say(slot, "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"x\"}\r\n");
    }

    fn say(&mut self, slot: u32, words: &str) -> (u64, usize, bool) {
        self.handle(1, Event::Bytes(client(slot), words.as_bytes()))
    }

    fn count(&mut self, counter: Counter) -> u64 {
        self.shard.refresh_gauges();
        self.shard.counters().get(counter)
    }

    fn catch_up(&mut self) -> (u64, usize, bool) {
        while self.handle(1, Event::Continue).2 {}
        self.handle(1, Event::Continue)
    }
}

fn client(slot: u32) -> ConnectionId {
    ConnectionId { slot, generation: 1 }
}

#[test]
fn what_waits_for_a_turn_is_judged_by_the_limits_that_it_was_said_under() {
    let limits = Limits { outbox_bytes_max: 1 << 20, ..small_limits(1) };
    let limits = Limits { turn_steps: 1000, client_steps: 10, ..limits };
    let mut lone = Lone::new(&limits, &Access::default());
    (0..2).for_each(|slot| lone.connect(slot));
    lone.say(0, &(0..16).map(|id| format!("SUB wide {id}\r\n")).collect::<String>());
    lone.catch_up();
    let publish = |bytes: usize| format!("PUB wide {bytes}\r\n{}\r\n", "x".repeat(bytes));
    let said = lone.say(1, &[publish(1), publish(900), publish(400)].concat());
    assert_eq!(said, (16, 0, true), "the others wait");
    let lower = Limits { payload_bytes_max: 500, ..limits.clone() };
    lone.handle(1, Event::Settings(&Access::default(), &lower));
    assert_eq!(lone.catch_up(), (3 * 16, 0, false));
    let after = lone.say(1, &publish(900));
    assert_eq!(after, (3 * 16, 1, false), "what is said from now on is judged by what was announced");
}

#[test]
fn who_said_in_time_who_it_is_is_not_closed_for_waiting() {
    let limits = Limits { turn_steps: 10, client_steps: 10, ..small_limits(1) };
    let late = limits.hello_timeout_nanos + 1_000_000_000;
    let mut access = Access::default();
    access.add_user(User::new("a", Credential::Password(Secret::new("x")), 0));
    let mut lone = Lone::new(&limits, &access);
    lone.connect(0);
    lone.catch_up();
    // It makes the turn longer than the one that comes next may have.
    assert!(lone.say(0, &(0..9).map(|id| format!("SUB a {id}\r\n")).collect::<String>()).2);
    lone.connect(1);
    lone.handle(late, Event::Tick);
    assert_eq!(lone.closed, 0, "it waits");
    assert_eq!(lone.catch_up(), (0, 0, false));
    lone.handle(late, Event::Tick);
    assert_eq!(lone.closed, 0, "and is admitted");
}

#[test]
fn whoever_owes_comes_to_its_turn_however_much_others_owe() {
    let limits = Limits { subscriptions_max: 300, outbox_bytes_max: 1 << 20, ..small_limits(1) };
    let mut world = World::new(Limits { turn_steps: 100, client_steps: 40, ..limits }, 1);
    let listener = world.connect(0);
    let speakers: Vec<usize> = (0..3).map(|_| world.connect(0)).collect();
    for client in std::iter::once(listener).chain(speakers.iter().copied()) {
        world.clients[client].hello();
        world.write(client);
    }
    // Two ask for more than a turn each time, the third for a little more than its share.
    for (subject, copies) in [("large", 101), ("middling", 45)] {
        let first = if subject == "large" { 1 } else { 1000 };
        (first..first + copies)
            .for_each(|id| world.clients[listener].subscribe(id, subject, None, SlowConsumer::DropNewest));
    }
    world.write(listener);
    world.settle(&BTreeSet::new());
    for (place, &client) in speakers.iter().enumerate() {
        let subject = if place == 2 { "middling" } else { "large" };
        let from = 1000 * place as u64;
        publish(&mut world, client, subject, from..from + 60);
        world.receive(client, usize::MAX);
        // Another turn begins.
        world.tick(1);
    }
    let mut told = [0; 3];
    for _ in 0..120 {
        world.go_on(0);
        heard(&mut world, listener).into_iter().for_each(|number| told[number as usize / 1000] += 1);
    }
    let operations = [told[0] / 101, told[1] / 101, told[2] / 45];
    assert!(operations.iter().all(|&heard| heard > 120 / 10), "{operations:?}");
}

/// How many operations of each kind are heard in a turn of 10 000 steps.
#[test]
fn what_takes_longer_costs_more() {
    let limits = Limits { subscriptions_max: 1 << 20, control_line_bytes_max: 4096, ..small_limits(1) };
    let steps = 10_000;
    let limits = Limits { turn_steps: steps, client_steps: steps, outbox_bytes_max: 1 << 24, ..limits };
    let heard = |operation: &dyn Fn(u64) -> String, count: Counter| {
        let mut lone = Lone::new(&limits, &Access::default());
        lone.connect(0);
        lone.say(0, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB > all\r\n");
        lone.catch_up();
        let before = lone.count(count);
        let all: String = (0..9000).map(operation).collect();
        assert!(lone.handle(2, Event::Bytes(client(0), all.as_bytes())).2, "most of them wait");
        lone.count(count) - before
    };
    let (published, subscribed) = (Counter::MessagesIn, Counter::Subscriptions);
    let long = "x".repeat(3000);
    let plain = heard(&|number| format!("PUB {number} 0\r\n\r\n"), published);
    let reads_much = heard(&|number| format!("PUB {long}{number} 0\r\n\r\n"), published);
    let watched = "NATS/1.0\r\nRingbolt-Gather: 2\r\n\r\n";
    let head = watched.len();
    let asks = heard(&|number| format!("HPUB {number} r.{number} {head} {head}\r\n{watched}\r\n"), published);
    assert!((1500..=2500).contains(&plain), "{plain}");
    assert!(reads_much < plain / 10, "{reads_much} of {plain}");
    assert!(asks < plain / 4, "{asks} of {plain}");
    let joins =
        |group: &'static str| heard(&move |number| format!("SUB wide {group} {number}\r\n"), subscribed);
    let (plain, keyed) = (joins("g;ack"), joins("g;ack;key=K"));
    assert!(keyed < plain / 2, "{keyed} of {plain}");
}
