//! The pure shard, case by case: what goes in, what comes out, and what is counted.

use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::native::control::{CloseCode, RefusalCode, SlowConsumer};
use ringbolt_server::sim::{Received, World, small_limits};
use ringbolt_shard::limits::{Limits, SlowConsumerPolicy};
use ringbolt_shard::metrics::Counter;
use std::collections::BTreeSet;

const SECOND: u64 = 1_000_000_000;

/// A world in which everything said is carried out at once.
struct Table {
    world: World,
    stalled: BTreeSet<usize>,
}

impl Table {
    fn new(shards: usize) -> Table {
        Table::with(small_limits(shards))
    }

    fn with(limits: Limits) -> Table {
        Table { world: World::new(limits, 7), stalled: BTreeSet::new() }
    }

    /// A client that said HELLO.
    fn client(&mut self, shard: u16) -> usize {
        let client = self.world.connect(shard);
        self.world.clients[client].hello();
        self.go(client);
        assert_eq!(self.heard(client), [Received::Welcome]);
        client
    }

    fn go(&mut self, client: usize) {
        self.world.write(client);
        self.world.settle(&self.stalled);
    }

    fn heard(&mut self, client: usize) -> Vec<Received> {
        std::mem::take(&mut self.world.clients[client].received)
    }

    fn subscribe(&mut self, client: usize, id: u32, pattern: &str, group: Option<&str>) {
        self.subscribe_with(client, id, pattern, group, SlowConsumer::Default);
    }

    fn subscribe_with(
        &mut self,
        client: usize,
        id: u32,
        pattern: &str,
        group: Option<&str>,
        slow: SlowConsumer,
    ) {
        self.world.clients[client].subscribe(id, pattern, group, slow);
        self.go(client);
        assert_eq!(self.heard(client), [Received::Subscribed(id)], "{pattern}");
    }

    fn publish(&mut self, client: usize, subject: &str, payload: &[u8]) {
        self.world.clients[client].publish(subject, payload);
        self.go(client);
    }

    /// The subscriptions that got something, once for each delivery.
    fn got(&mut self, client: usize) -> Vec<u32> {
        self.heard(client)
            .iter()
            .map(|received| match received {
                Received::Delivery { subscription, .. } => *subscription,
                other => panic!("{other:?} in place of a delivery"),
            })
            .collect()
    }

    fn refusal(&mut self, client: usize) -> RefusalCode {
        match self.heard(client)[..] {
            [Received::Refused { code, .. }] => code,
            ref other => panic!("{other:?} in place of a refusal"),
        }
    }
}

#[test]
fn a_message_reaches_every_subscription_that_matches_on_any_shard() {
    let mut table = Table::new(3);
    let clients = [table.client(0), table.client(1), table.client(2)];
    for client in clients {
        table.subscribe(client, 1, "a.b", None);
        table.subscribe(client, 2, "a.*", None);
        table.subscribe(client, 3, ">", None);
        table.subscribe(client, 4, "a.c", None);
    }
    for publisher in clients {
        for (subject, expected) in
            [("a.b", &[1, 2, 3][..]), ("a.c", &[2, 3, 4]), ("a.d", &[2, 3]), ("x", &[3]), ("a.b.c", &[3])]
        {
            table.publish(publisher, subject, b"m");
            for client in clients {
                let mut got = table.got(client);
                got.sort_unstable();
                assert_eq!(got, expected, "{subject}");
            }
        }
    }
}

#[test]
fn a_cached_route_follows_every_change_of_subscriptions() {
    let mut table = Table::new(2);
    let (near, far) = (table.client(0), table.client(1));
    for round in 0..3 {
        table.publish(near, "a.b", b"");
        assert_eq!((table.got(near), table.got(far)), (vec![], vec![]), "round {round}: nobody");
        table.subscribe(near, 1, "a.b", None);
        table.subscribe(far, 1, "a.*", None);
        table.publish(near, "a.b", b"");
        assert_eq!((table.got(near), table.got(far)), (vec![1], vec![1]), "round {round}: both");
        for client in [near, far] {
            table.world.clients[client].unsubscribe(1, 0);
            table.go(client);
            assert_eq!(table.heard(client), [Received::Unsubscribed(1)]);
        }
    }
    assert_eq!(table.world.count(Counter::Subscriptions), 0);
}

#[test]
fn a_queue_group_takes_each_message_once_wherever_its_members_are() {
    let mut table = Table::new(2);
    let members = [table.client(0), table.client(0), table.client(1), table.client(1)];
    for member in members {
        table.subscribe(member, 1, "work.*", Some("g"));
    }
    let publisher = table.client(0);
    for _ in 0..400 {
        table.publish(publisher, "work.x", b"");
    }
    let shares: Vec<usize> = members.iter().map(|&member| table.got(member).len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 400);
    assert!(shares.iter().all(|&share| (50..150).contains(&share)), "about a quarter each: {shares:?}");
}

#[test]
fn a_subscription_ends_after_the_deliveries_it_asked_for() {
    let mut table = Table::new(2);
    let (subscriber, publisher) = (table.client(0), table.client(1));
    table.subscribe(subscriber, 1, "a", None);
    table.world.clients[subscriber].unsubscribe(1, 3);
    table.go(subscriber);
    assert_eq!(table.heard(subscriber), [Received::Unsubscribed(1)]);
    for _ in 0..5 {
        table.publish(publisher, "a", b"");
    }
    assert_eq!(table.got(subscriber), [1, 1, 1]);
    assert_eq!(table.world.count(Counter::Subscriptions), 0, "it is gone");
}

#[test]
fn what_a_client_asks_wrongly_is_refused_and_its_connection_goes_on() {
    type Ask = fn(&mut ringbolt_server::sim::SimClient);
    let cases: [(Ask, RefusalCode); 11] = [
        (|client| client.subscribe(1, "a..b", None, SlowConsumer::Default), RefusalCode::InvalidPattern),
        (|client| client.subscribe(1, "a", Some("g g"), SlowConsumer::Default), RefusalCode::InvalidPattern),
        (|client| client.subscribe(9, "a", None, SlowConsumer::Default), RefusalCode::DuplicateSubscription),
        (|client| client.subscribe(0, "a", None, SlowConsumer::Default), RefusalCode::UnknownSubscription),
        (|client| client.unsubscribe(8, 0), RefusalCode::UnknownSubscription),
        (|client| client.intern(1, "a.*"), RefusalCode::InvalidSubject),
        (|client| client.intern(0, "a"), RefusalCode::InternLimit),
        (|client| client.intern(9, "a"), RefusalCode::InternLimit),
        (|client| client.publish("a..b", b""), RefusalCode::InvalidSubject),
        (|client| client.publish("a", &[0; 4097]), RefusalCode::PayloadTooLarge),
        (
            |client| client.publish_as(SubjectRef::Interned(5), None, 0, b""),
            RefusalCode::UnknownInternedSubject,
        ),
    ];
    let mut table = Table::new(1);
    let client = table.client(0);
    table.subscribe(client, 9, "in.use", None);
    for (place, (ask, code)) in cases.into_iter().enumerate() {
        ask(&mut table.world.clients[client]);
        table.go(client);
        assert_eq!(table.refusal(client), code, "case {place}");
    }
    table.publish(client, "in.use", b"");
    assert_eq!(table.got(client), [9]);
}

#[test]
fn a_request_nobody_takes_is_refused_and_one_that_is_taken_is_not() {
    let mut table = Table::new(2);
    let (asks, answers) = (table.client(0), table.client(1));
    let ask = |table: &mut Table| {
        table.world.clients[asks].publish_as(SubjectRef::Literal(b"sum"), Some("r.1"), 5, b"2+2");
        table.go(asks);
    };
    ask(&mut table);
    assert_eq!(table.refusal(asks), RefusalCode::NoResponders);
    table.subscribe(answers, 1, "sum", None);
    ask(&mut table);
    assert_eq!(table.heard(asks), []);
    let request = Received::Delivery {
        subscription: 1,
        subject: String::new(),
        correlation_id: 5,
        reply: Some("r.1".to_owned()),
        payload: b"2+2".to_vec(),
    };
    assert_eq!(table.heard(answers), [request]);
}

#[test]
fn a_number_stands_for_its_subject_until_it_is_given_anew() {
    let mut table = Table::new(2);
    let (publisher, subscriber) = (table.client(0), table.client(1));
    table.subscribe(subscriber, 1, "a", None);
    table.subscribe(subscriber, 2, "b", None);
    for (subject, expected) in [("a", 1), ("b", 2), ("a", 1)] {
        table.world.clients[publisher].intern(8, subject);
        table.world.clients[publisher].publish_as(SubjectRef::Interned(8), None, 0, b"");
        table.go(publisher);
        assert_eq!(table.heard(publisher), [Received::Interned(8)]);
        assert_eq!(table.got(subscriber), [expected]);
    }
    assert_eq!(table.world.count(Counter::InternedSubjects), 1);
    table.world.crash(publisher);
    assert_eq!(table.world.count(Counter::InternedSubjects), 0);
}

/// Fills the outbox of a client that takes nothing; returns what it takes afterwards.
fn overwhelm(table: &mut Table, policy: SlowConsumer) -> (usize, usize, Vec<u8>) {
    let (slow, publisher) = (table.client(0), table.client(1));
    table.subscribe_with(slow, 1, "a", None, policy);
    table.stalled.insert(slow);
    for number in 0..40 {
        table.publish(publisher, "a", &[number; 1000]);
    }
    table.stalled.clear();
    table.world.settle(&BTreeSet::new());
    let taken = table.world.clients[slow].payloads(1).iter().map(|payload| payload[0]).collect();
    (slow, publisher, taken)
}

#[test]
fn a_full_outbox_is_dealt_with_by_policy() {
    let mut table = Table::new(2);
    let (slow, _, taken) = overwhelm(&mut table, SlowConsumer::Disconnect);
    assert!(table.world.is_gone(slow) && taken.len() < 40);
    assert_eq!(table.world.count(Counter::ConnectionsClosedSlowConsumer), 1);
    assert!(table.world.count(Counter::DropsConnectionEnded) > 0, "what it lost is counted");

    let mut table = Table::new(2);
    let (slow, _, taken) = overwhelm(&mut table, SlowConsumer::DropNewest);
    assert!(!table.world.is_gone(slow) && taken.iter().copied().eq(0..taken.len() as u8));
    assert_eq!(taken.len() as u64 + table.world.count(Counter::DropsSlowConsumerNewest), 40);

    let mut table = Table::new(2);
    let (slow, _, taken) = overwhelm(&mut table, SlowConsumer::DropOldest);
    assert!(!table.world.is_gone(slow) && taken.is_sorted() && taken.last() == Some(&39));
    assert_eq!(taken.len() as u64 + table.world.count(Counter::DropsSlowConsumerOldest), 40);

    let mut table = Table::new(2);
    let (slow, publisher, taken) = overwhelm(&mut table, SlowConsumer::PausePublisher);
    assert!(!table.world.is_gone(slow));
    assert!(taken.iter().copied().eq(0..40), "nothing is lost");
    assert!(table.world.count(Counter::PublisherPauses) > 0);
    assert!(!table.world.is_paused(publisher), "and let go again");
    assert_eq!(table.world.count(Counter::PublishersPaused), 0);
}

#[test]
fn publishers_wait_for_a_client_only_where_the_server_lets_it_ask_for_that() {
    let mut table = Table::with(Limits { pause_publisher_by_clients: false, ..small_limits(1) });
    let client = table.client(0);
    table.world.clients[client].subscribe(1, "a", None, SlowConsumer::PausePublisher);
    table.go(client);
    let refused = Received::Refused { code: RefusalCode::NotPermitted, correlation_id: 0 };
    assert_eq!(table.heard(client), [refused]);
    // Its number is free.
    table.subscribe_with(client, 1, "a", None, SlowConsumer::DropOldest);
}

#[test]
fn a_paused_publisher_is_let_go_when_its_slow_receiver_dies() {
    let mut table = Table::new(2);
    let (slow, publisher) = (table.client(0), table.client(1));
    table.subscribe_with(slow, 1, "a", None, SlowConsumer::PausePublisher);
    table.stalled.insert(slow);
    for _ in 0..40 {
        table.publish(publisher, "a", &[1; 1000]);
    }
    assert!(table.world.is_paused(publisher));
    assert!(table.world.unreceived(publisher) > 0, "its bytes wait in its own socket");
    table.world.crash(slow);
    table.world.settle(&table.stalled);
    assert!(!table.world.is_paused(publisher) && table.world.unreceived(publisher) == 0);
}

#[test]
fn time_alone_closes_who_says_nothing() {
    let mut table = Table::new(1);
    let silent = table.world.connect(0);
    let dead = table.client(0);
    table.world.tick(6 * SECOND);
    table.world.settle(&table.stalled);
    assert_eq!(table.heard(silent), [Received::Closed(CloseCode::HelloTimeout)]);
    for _ in 0..12 {
        table.world.tick(10 * SECOND);
        table.world.settle(&table.stalled);
    }
    let heard = table.heard(dead);
    assert_eq!(heard, [Received::Ping, Received::Ping, Received::Closed(CloseCode::Stale)]);
    assert!(table.world.is_gone(silent) && table.world.is_gone(dead));
}

#[test]
fn a_send_that_does_not_end_is_cut_unless_drops_were_asked_for() {
    for (policy, cut) in [(SlowConsumer::Disconnect, true), (SlowConsumer::DropOldest, false)] {
        let mut table = Table::new(1);
        let (stuck, publisher) = (table.client(0), table.client(0));
        table.subscribe_with(stuck, 1, "a", None, policy);
        table.stalled.insert(stuck);
        table.publish(publisher, "a", b"one");
        table.world.begin_send(stuck);
        table.world.tick(11 * SECOND);
        assert_eq!(table.world.is_gone(stuck), cut, "{policy:?}");
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut table = Table::with(Limits { connections_max: 2, ..small_limits(1) });
    let kept = [table.client(0), table.client(0)];
    let extra = table.world.connect(0);
    table.world.settle(&table.stalled);
    assert_eq!(table.heard(extra), [Received::Closed(CloseCode::Limit)]);
    table.world.crash(kept[0]);
    table.client(0);
}

#[test]
fn more_subscriptions_than_allowed_are_refused() {
    let mut table = Table::new(1);
    let client = table.client(0);
    for id in 1..=16 {
        table.subscribe(client, id, "a", None);
    }
    table.world.clients[client].subscribe(17, "a", None, SlowConsumer::Default);
    table.go(client);
    assert_eq!(table.refusal(client), RefusalCode::SubscriptionLimit);
}

#[test]
fn more_subjects_than_the_table_holds_are_routed_all_the_same() {
    let mut table = Table::new(2);
    let (publisher, subscriber) = (table.client(0), table.client(1));
    table.subscribe(subscriber, 1, "n.*", None);
    for number in 0..200 {
        table.publish(publisher, &format!("n.{number}"), b"");
    }
    assert_eq!(table.got(subscriber).len(), 200);
    assert!(table.world.count(Counter::SubjectsCached) <= 64, "32 a shard");
}

#[test]
fn a_full_link_holds_its_publishers_back_and_loses_nothing() {
    let mut table =
        Table::with(Limits { slow_consumer: SlowConsumerPolicy::PausePublisher, ..small_limits(2) });
    let (publisher, subscriber) = (table.client(0), table.client(1));
    table.subscribe(subscriber, 1, "a", None);
    // The other shard takes nothing: 40 KB meet a ring of two batches and a link of 16 KiB.
    for number in 0..40 {
        table.world.clients[publisher].publish("a", &[number; 1000]);
        table.world.write(publisher);
        table.world.receive(publisher, usize::MAX);
        table.world.send_batch(0, 1);
    }
    assert!(table.world.is_paused(publisher));
    table.world.settle(&table.stalled);
    let taken: Vec<u8> =
        table.world.clients[subscriber].payloads(1).iter().map(|payload| payload[0]).collect();
    assert!(taken.iter().copied().eq(0..40));
    assert!(!table.world.is_paused(publisher));
    assert_eq!(table.world.count(Counter::DropsMeshFull), 0);
}

#[test]
fn a_draining_server_delivers_what_it_accepted_refuses_the_rest_and_closes_everyone() {
    let mut table = Table::new(2);
    let (publisher, subscriber) = (table.client(0), table.client(1));
    table.subscribe(subscriber, 1, "a", None);
    table.world.clients[publisher].publish("a", b"accepted");
    table.world.write(publisher);
    table.world.receive(publisher, usize::MAX);
    table.world.drain();
    table.world.clients[publisher].publish("a", b"too late");
    table.go(publisher);
    let delivery = Received::Delivery {
        subscription: 1,
        subject: String::new(),
        correlation_id: 0,
        reply: None,
        payload: b"accepted".to_vec(),
    };
    assert_eq!(table.heard(subscriber), [delivery, Received::Closed(CloseCode::ShuttingDown)]);
    let refused = Received::Refused { code: RefusalCode::ShuttingDown, correlation_id: 0 };
    assert_eq!(table.heard(publisher), [refused, Received::Closed(CloseCode::ShuttingDown)]);
    assert!(table.world.is_drained());
    assert_eq!(table.world.count(Counter::DropsDraining), 1);
    let late = table.world.connect(0);
    table.world.settle(&table.stalled);
    assert_eq!(table.heard(late), [Received::Closed(CloseCode::ShuttingDown)]);
}
