//! What shards tell each other of subscriptions: in time, and no more than the other ones follow.

use ringbolt_protocol::command::{Compression, Flags, Priority, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

fn client(world: &mut World, shard: u16, pattern: &str) -> usize {
    let client = world.connect(shard);
    world.clients[client].hello();
    world.clients[client].subscribe(1, pattern, None, SlowConsumer::Default);
    world.write(client);
    world.settle(&BTreeSet::new());
    client
}

#[test]
fn a_request_does_not_overtake_the_interest_that_its_reply_needs() {
    for priority in [Priority::Critical, Priority::Normal, Priority::Background] {
        let mut world = World::new(small_limits(2), 3);
        let [asker, flood] = [client(&mut world, 0, "x"), client(&mut world, 0, "y")];
        let [responder, _listener] = [client(&mut world, 1, "service"), client(&mut world, 1, "busy")];
        // The link is full of what came before, of every lane.
        for number in 0..15u8 {
            let lane = [Priority::Critical, Priority::Normal, Priority::Background][usize::from(number % 3)];
            world.clients[flood].flags = Flags::new(lane, Compression::None);
            world.clients[flood].publish("busy", &[number; 1000]);
        }
        world.write(flood);
        assert!(world.receive(flood, usize::MAX));
        world.clients[asker].subscribe(2, "inbox", None, SlowConsumer::Default);
        world.clients[asker].flags = Flags::new(priority, Compression::None);
        world.clients[asker].publish_as(SubjectRef::Literal(b"service"), Some("inbox"), 7, b"?");
        world.write(asker);
        assert!(world.receive(asker, usize::MAX));
        // Who is asked answers at once.
        let mut answered = false;
        while world.send_batch(0, 1) {
            while world.receive_batch(0, 1) {
                world.begin_send(responder);
                world.end_send(responder);
                if !answered && !world.clients[responder].payloads(1).is_empty() {
                    world.clients[responder].publish("inbox", b"!");
                    world.write(responder);
                    assert!(world.receive(responder, usize::MAX));
                    answered = true;
                }
            }
        }
        assert!(answered, "{priority:?}");
        world.settle(&BTreeSet::new());
        assert_eq!(world.clients[asker].payloads(2), [b"!"], "{priority:?}");
    }
}

#[test]
fn who_changes_interest_faster_than_other_shards_follow_waits_for_them() {
    const SUBSCRIPTIONS: u32 = 5000;
    let limits = Limits { subscriptions_max: SUBSCRIPTIONS as usize + 1, ..small_limits(2) };
    let mut world = World::new(limits, 3);
    let [flood, other] = [client(&mut world, 0, "x"), client(&mut world, 0, "y")];
    for number in 2..SUBSCRIPTIONS {
        world.clients[flood].subscribe(number, &format!("a.{number}"), None, SlowConsumer::Default);
    }
    world.clients[flood].ping(9);
    world.write(flood);
    while world.receive(flood, 4096) {}
    assert!(world.is_paused(flood));
    let known = world.count(Counter::Subscriptions);
    assert!((1000..1100).contains(&known), "{known} are made before the other shard has heard of them");
    // Another client's interest is taken all the same, and then it waits, too.
    world.clients[other].subscribe(2, "b", None, SlowConsumer::Default);
    world.write(other);
    assert!(world.receive(other, usize::MAX) && world.is_paused(other));
    world.settle(&BTreeSet::new());
    assert!(!world.is_paused(flood) && !world.is_paused(other));
    assert_eq!(world.count(Counter::Subscriptions), u64::from(SUBSCRIPTIONS) + 1);
    let answered = |client: usize| {
        let pong = |received: &Received| matches!(received, Received::Pong(9));
        world.clients[client].received.iter().any(pong)
    };
    assert!(answered(flood));

    // And who leaves with many of them.
    let publisher = client(&mut world, 1, "z");
    world.crash(flood);
    let mut turns = 0;
    while world.go_on(0) && turns < 100 {
        turns += 1;
    }
    let left = world.count(Counter::Subscriptions);
    assert!(left > u64::from(SUBSCRIPTIONS) - 1100, "the other shard has not heard of more: {left}");
    world.settle(&BTreeSet::new());
    assert_eq!(world.count(Counter::Subscriptions), 3);
    world.clients[publisher].publish("a.7", b"");
    world.write(publisher);
    world.settle(&BTreeSet::new());
    assert_eq!(world.count(Counter::MeshMessagesOut), 0, "the other shard knows that nobody wants it");
}
