//! More than can be taken: what is given up, by subject and by lane, and what publishers are told.

use ringbolt_protocol::command::{Compression, Flags, Priority};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::TICK_NANOS;
use ringbolt_shard::limits::{Limits, SlowConsumerPolicy};
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

const PRIORITIES: [Priority; 5] =
    [Priority::Critical, Priority::High, Priority::Normal, Priority::Low, Priority::Background];

fn client(world: &mut World, shard: u16, patterns: &[&str]) -> usize {
    let client = world.connect(shard);
    world.clients[client].hello();
    for (place, pattern) in patterns.iter().enumerate() {
        world.clients[client].subscribe(place as u32 + 1, pattern, None, SlowConsumer::Default);
    }
    world.write(client);
    world.settle(&BTreeSet::new());
    client
}

fn publish(world: &mut World, from: usize, subject: &str, priority: Priority, stalled: &BTreeSet<usize>) {
    world.clients[from].flags = Flags::new(priority, Compression::None);
    world.clients[from].publish(subject, &[priority as u8; 1000]);
    world.write(from);
    world.settle(stalled);
}

fn deliveries(world: &World, client: usize) -> Vec<&[u8]> {
    let received = world.clients[client].received.iter();
    received
        .filter_map(|received| match received {
            Received::Delivery { payload, .. } => Some(&payload[..]),
            _ => None,
        })
        .collect()
}

#[test]
fn a_subject_may_have_a_policy_of_its_own() {
    let policies = vec![
        ("metrics.>".to_owned(), SlowConsumerPolicy::DropOldest),
        ("audit.*".to_owned(), SlowConsumerPolicy::PausePublisher),
    ];
    let limits = Limits { slow_consumer_by_subject: policies, ..small_limits(2) };
    for (subject, wanted) in [
        ("metrics.cpu.0", Counter::DropsSlowConsumerOldest),
        ("audit.login", Counter::PublisherPauses),
        ("news", Counter::ConnectionsClosedSlowConsumer),
    ] {
        let mut world = World::new(limits.clone(), 3);
        // A wildcard takes all of them: what counts is the subject of the message.
        let slow = client(&mut world, 0, &[">"]);
        let publisher = client(&mut world, 1, &[]);
        let stalled = BTreeSet::from([slow]);
        for _ in 0..40 {
            publish(&mut world, publisher, subject, Priority::Normal, &stalled);
        }
        for counter in [
            Counter::DropsSlowConsumerOldest,
            Counter::PublisherPauses,
            Counter::ConnectionsClosedSlowConsumer,
        ] {
            assert_eq!(world.count(counter) > 0, counter == wanted, "{subject}: {counter:?}");
        }
    }
}

#[test]
fn a_publisher_that_asked_is_told_when_it_is_paused_and_when_it_goes_on() {
    let limits = Limits { slow_consumer: SlowConsumerPolicy::PausePublisher, ..small_limits(2) };
    let mut world = World::new(limits, 3);
    let slow = client(&mut world, 0, &["a"]);
    let told = world.connect(1);
    world.clients[told].flow = true;
    world.clients[told].hello();
    let untold = client(&mut world, 1, &[]);
    world.write(told);
    let stalled = BTreeSet::from([slow]);
    for publisher in [told, untold] {
        for _ in 0..40 {
            publish(&mut world, publisher, "a", Priority::Normal, &stalled);
        }
        assert!(world.is_paused(publisher));
    }
    world.settle(&BTreeSet::new());
    let flow = |world: &World, client: usize| -> Vec<bool> {
        let paused = |received: &Received| match received {
            Received::Flow(paused) => Some(*paused),
            _ => None,
        };
        world.clients[client].received.iter().filter_map(paused).collect()
    };
    let heard = flow(&world, told);
    assert!(heard.len() >= 2 && heard.len() % 2 == 0, "{heard:?}");
    assert!(heard.iter().enumerate().all(|(place, &paused)| paused == (place % 2 == 0)), "{heard:?}");
    assert!(flow(&world, untold).is_empty(), "it did not ask");
    assert_eq!(deliveries(&world, slow).len(), 80, "and nothing was lost");
}

/// Half of its outbox is more than all the memory there is.
#[test]
fn who_outruns_a_receiver_is_held_back_before_memory_runs_short() {
    const MEMORY: usize = 400_000;
    let limits = Limits {
        memory_bytes_max: MEMORY,
        outbox_bytes_max: 4 << 20,
        slow_consumer: SlowConsumerPolicy::Hold,
        ..small_limits(1)
    };
    let mut world = World::new(limits, 3);
    let reader = client(&mut world, 0, &["a"]);
    let publisher = client(&mut world, 0, &[]);
    for _ in 0..1000 {
        world.clients[publisher].publish("a", &[0; 1000]);
    }
    world.write(publisher);
    while world.receive(publisher, 4096) {}
    assert!(world.is_paused(publisher) && world.unreceived(publisher) > 0);
    let held = world.held_bytes(reader);
    assert!((MEMORY / 3..MEMORY / 10 * 6).contains(&held), "half of the memory is taken: {held}");
    world.settle(&BTreeSet::new());
    assert_eq!(deliveries(&world, reader).len(), 1000, "who takes what it is sent loses nothing");
    assert_eq!(world.count(Counter::DropsEmergency), 0);
}

#[test]
fn memory_that_runs_short_costs_the_least_important_lanes_and_they_come_back() {
    // Ten outboxes of 64 KiB would be far above it.
    let limits = Limits { memory_bytes_max: 400_000, outbox_bytes_max: 64 << 10, ..small_limits(1) };
    let mut world = World::new(limits, 3);
    let watcher = client(&mut world, 0, &["$EVENTS.emergency"]);
    let slow: Vec<usize> = (0..10).map(|_| client(&mut world, 0, &["a"])).collect();
    let publisher = client(&mut world, 0, &[]);
    let stalled: BTreeSet<usize> = slow.iter().copied().collect();
    let background = |world: &mut World, stalled: &BTreeSet<usize>| {
        publish(world, publisher, "a", Priority::Background, stalled);
        world.count(Counter::DropsEmergency)
    };
    let mut dropped = 0;
    for _ in 0..40 {
        dropped = background(&mut world, &stalled);
    }
    assert!(dropped > 0, "80 % of 400 000 bytes are less than 40 messages to ten clients");
    publish(&mut world, publisher, "a", Priority::Critical, &stalled);
    assert_eq!(world.count(Counter::DropsEmergency), dropped, "the critical one is taken");
    assert!(world.count(Counter::EmergencyLevel) >= 1);

    // All lanes in turn: memory stays below what it may be, but for what one message adds.
    for round in 0..100 {
        publish(&mut world, publisher, "a", PRIORITIES[round % 5], &stalled);
        assert!(world.count(Counter::OutboxBytes) <= 400_000 + 10 * 1100);
    }
    assert_eq!(world.count(Counter::EmergencyLevel), 5);

    world.settle(&BTreeSet::new());
    world.tick(TICK_NANOS);
    world.settle(&BTreeSet::new());
    assert_eq!((world.count(Counter::OutboxBytes), world.count(Counter::EmergencyLevel)), (0, 0));
    let before = world.count(Counter::DropsEmergency);
    assert_eq!(background(&mut world, &BTreeSet::new()), before, "the background is taken again");
    assert_eq!(world.count(Counter::ConnectionsClosedSlowConsumer), 0);
    let events = deliveries(&world, watcher);
    let said = |words: &str| events.iter().any(|event| String::from_utf8_lossy(event).contains(words));
    assert!(said("\"lanes_shed\":1") && said("\"lanes_shed\":0"), "{} events", events.len());
}

#[test]
fn a_group_drains_in_an_emergency_and_takes_no_more() {
    let limits = Limits { memory_bytes_max: 1 << 20, work_bytes_max: 4 << 20, ..small_limits(1) };
    let mut world = World::new(limits, 3);
    let member = world.connect(0);
    world.clients[member].hello();
    world.clients[member].subscribe(1, "job", Some("g;ack;inflight=1"), SlowConsumer::Default);
    world.write(member);
    let publisher = client(&mut world, 0, &[]);
    let none = BTreeSet::new();
    for _ in 0..1200 {
        publish(&mut world, publisher, "job", Priority::Low, &none);
    }
    let kept = world.count(Counter::WorkMessages);
    let dropped = world.count(Counter::DropsEmergency);
    assert!(dropped > 0 && kept + dropped == 1200, "{kept} kept, {dropped} dropped");
    let mut done = 0;
    loop {
        let received = std::mem::take(&mut world.clients[member].received);
        let reply = received.into_iter().find_map(|received| match received {
            Received::Delivery { reply, .. } => reply,
            _ => None,
        });
        let Some(reply) = reply else { break };
        done += 1;
        world.clients[member].publish(&reply, b"+ACK");
        world.write(member);
        world.settle(&none);
    }
    assert_eq!(done, kept, "what was kept is worked off");
    assert_eq!(world.count(Counter::EmergencyLevel), 0);
}

/// What the server answers on a client's word waits for another shard like messages do.
#[test]
fn confirmations_for_a_shard_that_takes_nothing_are_bounded_and_counted() {
    const MESSAGES: u64 = 1500;
    let limits = small_limits(2);
    let mesh_bytes_max = limits.mesh_pending_bytes_max;
    let mut world = World::new(limits, 1);
    let publisher = client(&mut world, 0, &["in"]);
    let member = client(&mut world, 1, &[]);
    world.clients[member].subscribe(1, "job", Some("g;ack;inflight=1"), SlowConsumer::Default);
    world.write(member);
    world.settle(&BTreeSet::new());
    let block = "NATS/1.0\r\nNats-Expected-Stream: ringbolt\r\n\r\n";
    for _ in 0..MESSAGES {
        world.clients[publisher].publish_with_headers("job", Some("in"), block, b"do");
        world.write(publisher);
        while world.receive(publisher, 512) {}
        while world.send_batch(0, 1) {
            world.receive_batch(0, 1);
        }
    }
    let dropped = world.count(Counter::DropsMeshFull);
    assert!(dropped > 0 && MESSAGES * 30 > 2 * mesh_bytes_max as u64, "{dropped}");
    world.settle(&BTreeSet::new());
    let confirmed = world.clients[publisher].payloads(1).len() as u64;
    assert_eq!((confirmed + dropped, world.count(Counter::WorkMessages)), (MESSAGES, MESSAGES));
}

/// Publishers of one shard that have all said 12 KB, heard by a subscriber of the other, where the link
/// between them takes nothing.
fn crowd_before_a_link(limits: Limits) -> (World, Vec<usize>, usize) {
    let mut world = World::new(limits, 1);
    let listener = client(&mut world, 1, &["a"]);
    let publishers: Vec<usize> = (0..8).map(|_| client(&mut world, 0, &[])).collect();
    for &publisher in &publishers {
        (0..12).for_each(|_| world.clients[publisher].publish("a", &[b'x'; 1000]));
        world.write(publisher);
    }
    (world, publishers, listener)
}

/// Whatever the order they are heard in, each is held back before it can add more than a message.
#[test]
fn publishers_that_are_heard_one_after_the_other_are_all_held_back_for_a_link() {
    for (turn_steps, client_steps) in [(u32::MAX, u32::MAX), (200, 5), (20, 5)] {
        let limits = Limits { turn_steps, client_steps, ..small_limits(2) };
        let most = limits.mesh_pending_bytes_max;
        let (mut world, publishers, listener) = crowd_before_a_link(limits);
        publishers.iter().for_each(|&publisher| assert!(world.receive(publisher, usize::MAX)));
        while world.go_on(0) {}
        assert!(publishers[1..].iter().all(|&publisher| world.is_paused(publisher)));
        assert_eq!(world.count(Counter::DropsMeshFull), 0, "{client_steps} steps");
        let pending = world.count(Counter::MeshPendingBytes) as usize;
        assert!((most..most + 10 * 1100).contains(&pending), "one message of each: {pending}");
        world.settle(&BTreeSet::new());
        assert_eq!(deliveries(&world, listener).len(), 8 * 12, "what was said is heard once there is room");
        assert_eq!((world.count(Counter::PublishersPaused), world.count(Counter::MemoryDeferred)), (0, 0));
    }
}

/// A message that finds twice what a link should hold is lost, but only one of each.
#[test]
fn who_finds_a_link_beyond_its_last_bound_is_held_back_as_well() {
    let limits = Limits { mesh_pending_bytes_max: 8 << 10, ..small_limits(2) };
    let mut world = World::new(limits, 1);
    let listener = client(&mut world, 1, &["a"]);
    let publishers: Vec<usize> = (0..12).map(|_| client(&mut world, 0, &[])).collect();
    for &publisher in &publishers {
        (0..6).for_each(|_| world.clients[publisher].publish("a", &[b'x'; 4000]));
        world.write(publisher);
        assert!(world.receive(publisher, usize::MAX));
    }
    while world.go_on(0) {}
    assert!(publishers[2..].iter().all(|&publisher| world.is_paused(publisher)));
    let dropped = world.count(Counter::DropsMeshFull);
    assert!((1..12).contains(&dropped), "one of each at most: {dropped}");
    world.settle(&BTreeSet::new());
    let delivered = deliveries(&world, listener).len() as u64;
    assert_eq!(delivered + world.count(Counter::DropsMeshFull), 12 * 6, "the rest is heard");
    assert_eq!((world.count(Counter::PublishersPaused), world.count(Counter::MemoryDeferred)), (0, 0));
}

#[test]
fn what_a_publisher_has_said_that_is_held_back_is_delivered_before_the_end() {
    let (mut world, publishers, listener) = crowd_before_a_link(small_limits(2));
    publishers.iter().for_each(|&publisher| assert!(world.receive(publisher, usize::MAX)));
    world.drain();
    world.settle(&BTreeSet::new());
    let delivered = deliveries(&world, listener).len() as u64;
    assert_eq!(delivered + world.count(Counter::DropsMeshFull), 8 * 12, "nothing is lost unseen");
    assert!(world.is_drained());
}

/// One that takes what it is sent a little at a time, and one that publishes 40 KB to it at once. Returns the
/// most that waited, and how often the publisher was held back.
fn outrun(shards: usize, policy: SlowConsumerPolicy, takes: bool) -> (World, usize, usize) {
    let limits = Limits { slow_consumer: policy, outbox_bytes_max: 32 << 10, ..small_limits(shards) };
    let mut world = World::new(limits, 1);
    let receiver = client(&mut world, 0, &["a"]);
    let publisher = client(&mut world, shards as u16 - 1, &[]);
    (0..40).for_each(|_| world.clients[publisher].publish("a", &[b'x'; 1000]));
    world.write(publisher);
    let stalled = BTreeSet::from([receiver]);
    for _ in 0..40 {
        world.receive(publisher, usize::MAX);
        for _ in 0..4 {
            world.go_on(shards as u16 - 1);
        }
        for (from, to) in [(0, shards as u16 - 1), (shards as u16 - 1, 0)].iter().take(2 * (shards - 1)) {
            while world.send_batch(*from, *to) && world.receive_batch(*from, *to) {}
        }
        world.now.0 += 5_000_000;
        if takes {
            world.begin_send(receiver);
            world.end_send(receiver);
        }
    }
    world.settle(&if takes { BTreeSet::new() } else { stalled });
    (world, receiver, publisher)
}

#[test]
fn who_takes_what_it_is_sent_slowly_loses_nothing_and_its_publisher_is_held_back_for_short_whiles() {
    for shards in [1, 2] {
        let (mut world, receiver, publisher) = outrun(shards, SlowConsumerPolicy::Hold, true);
        assert_eq!((deliveries(&world, receiver).len(), world.is_gone(receiver)), (40, false), "{shards}");
        assert!(world.count(Counter::PublisherPauses) > 1 && !world.is_paused(publisher));
    }
    let (world, receiver, _) = outrun(1, SlowConsumerPolicy::Disconnect, true);
    assert!(world.is_gone(receiver), "without, its publisher goes on");
}

#[test]
fn who_has_taken_nothing_for_half_a_second_holds_nobody_back() {
    let limits = Limits { slow_consumer: SlowConsumerPolicy::Hold, ..small_limits(1) };
    for (late, pauses) in [(400_000_000, true), (600_000_000, false)] {
        let mut world = World::new(limits.clone(), 1);
        let receiver = client(&mut world, 0, &["a"]);
        let publisher = client(&mut world, 0, &[]);
        let publish = |world: &mut World, count| {
            (0..count).for_each(|_| world.clients[publisher].publish("a", &[b'x'; 1000]));
            world.write(publisher);
            world.receive(publisher, usize::MAX);
        };
        publish(&mut world, 1);
        assert!(world.begin_send(receiver), "which does not end");
        world.now.0 += late;
        publish(&mut world, 12);
        assert_eq!(world.count(Counter::PublisherPauses) > 0, pauses, "after {late} ns");
        assert!(!world.is_gone(receiver), "its outbox is not full");
    }
}

#[test]
fn who_takes_nothing_delays_its_publisher_and_is_disconnected() {
    for shards in [1, 2] {
        let (mut world, receiver, publisher) = outrun(shards, SlowConsumerPolicy::Hold, false);
        assert!(world.is_gone(receiver));
        assert!(world.count(Counter::PublisherPauses) > 1 && !world.is_paused(publisher));
        assert_eq!(world.unreceived(publisher), 0, "all of it was taken in");
    }
}
