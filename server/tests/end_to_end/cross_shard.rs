//! Messages between shards: order, queue groups, requests.

use crate::client::{Client, Got, publish_frame};
use crate::server::Server;
use ringbolt_protocol::native::control::RefusalCode;
use std::collections::HashMap;
use std::thread;

const MESSAGES: u32 = 5_000;

/// Publisher and number, as a payload.
fn numbered(publisher: u32, number: u32) -> Vec<u8> {
    [publisher.to_le_bytes(), number.to_le_bytes()].concat()
}

fn number_in(payload: &[u8]) -> (u32, u32) {
    let at = |place: usize| u32::from_le_bytes(payload[place..place + 4].try_into().expect("four bytes"));
    (at(0), at(4))
}

/// Publishes `MESSAGES` numbered messages to each of two subjects in turn.
fn publish_all(mut client: Client, publisher: u32) {
    let mut batch = Vec::new();
    for number in 0..MESSAGES {
        for subject in ["orders.eu", "orders.us"] {
            batch.extend(publish_frame(subject, None, 0, &numbered(publisher, number)));
        }
        if number % 64 == 63 {
            client.write(&std::mem::take(&mut batch));
        }
    }
    client.write(&batch);
    client.barrier();
}

/// Receives until every subscription of this client has all messages of `publishers`, in order.
fn receive_in_order(client: &mut Client, publishers: u32, subscriptions: &[(u32, u32)]) {
    let total: u32 = subscriptions.iter().map(|&(_, subjects)| subjects * publishers * MESSAGES).sum();
    let mut next: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
    for _ in 0..total {
        let delivery = client.delivery();
        let (publisher, number) = number_in(&delivery.payload);
        // Of a wildcard subscription each number comes once for each subject, never going back.
        next.entry((delivery.subscription, publisher)).or_default().push(number);
    }
    for &(subscription, subjects) in subscriptions {
        for publisher in 0..publishers {
            let seen = &next[&(subscription, publisher)];
            let expected: Vec<u32> =
                (0..MESSAGES).flat_map(|number| std::iter::repeat_n(number, subjects as usize)).collect();
            assert!(*seen == expected, "subscription {subscription}: publisher {publisher}'s order is kept");
        }
    }
}

#[test]
fn messages_cross_shards_in_order_and_none_is_lost() {
    let server = Server::start(&["--cores", "0,1"]);
    let subscribers: Vec<_> = [0, 1, 0, 1]
        .map(|shard| {
            let mut client = server.connect_to_shard(shard);
            let exact = client.subscribe("orders.eu", None);
            let wildcard = client.subscribe("orders.*", None);
            thread::spawn(move || receive_in_order(&mut client, 4, &[(exact, 1), (wildcard, 2)]))
        })
        .into();
    let publishers: Vec<_> = (0..4u32)
        .map(|number| {
            let client = server.connect_to_shard((number % 2) as u16);
            thread::spawn(move || publish_all(client, number))
        })
        .collect();
    publishers.into_iter().for_each(|thread| thread.join().expect("published"));
    subscribers.into_iter().for_each(|thread| thread.join().expect("received in order"));
    assert!(server.metric("ringbolt_mesh_messages_out_total") >= f64::from(4 * MESSAGES), "they crossed");
    assert_eq!(server.metric("ringbolt_messages_dropped_total"), 0.0);
}

#[test]
fn a_queue_group_on_two_shards_gets_each_message_once() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut members: Vec<Client> = [0, 1, 0, 1].map(|shard| server.connect_to_shard(shard)).into();
    for member in &mut members {
        member.subscribe("work.>", Some("workers"));
    }
    let mut publisher = server.connect_to_shard(1);
    for number in 0..MESSAGES {
        publisher.publish("work.item", &numbered(0, number));
    }
    publisher.barrier();
    let mut seen = Vec::new();
    for member in &mut members {
        // Whoever waits for its own barrier has received what was sent to it before.
        let mut own = 0;
        while seen.len() < MESSAGES as usize {
            member.send(&ringbolt_protocol::native::control::Control::Ping(
                ringbolt_protocol::native::control::Ping { correlation_id: 5 },
            ));
            let mut came = 0;
            loop {
                match member.next() {
                    Some(Got::Delivery(delivery)) => {
                        seen.push(number_in(&delivery.payload).1);
                        came += 1;
                    }
                    Some(Got::Pong(5)) => break,
                    other => panic!("{other:?}"),
                }
            }
            own += came;
            if came == 0 && own > 0 {
                break;
            }
        }
        assert!(own > 0, "every member gets some");
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>(), "each once");
}

#[test]
fn a_member_that_leaves_takes_nothing_from_the_others() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut stays = server.connect_to_shard(0);
    stays.subscribe("work", Some("workers"));
    let mut leaves = server.connect_to_shard(1);
    let id = leaves.subscribe("work", Some("workers"));
    leaves.unsubscribe(id);
    leaves.barrier();
    let mut publisher = server.connect_to_shard(1);
    for number in 0..100 {
        publisher.publish("work", &numbered(0, number));
    }
    for number in 0..100 {
        assert_eq!(number_in(&stays.delivery().payload).1, number);
    }
}

#[test]
fn requests_are_answered_across_shards_and_refused_where_nobody_listens() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut responder = server.connect_to_shard(1);
    responder.subscribe("sum", None);
    let mut requester = server.connect_to_shard(0);
    requester.subscribe("answers.1", None);
    let answering = thread::spawn(move || {
        for _ in 0..1000 {
            let request = responder.delivery();
            let reply = request.reply.expect("a reply subject");
            let sum: u32 = request.payload.iter().map(|&byte| u32::from(byte)).sum();
            responder.write(&publish_frame(&reply, None, request.correlation_id, &sum.to_le_bytes()));
        }
        responder
    });
    for correlation_id in 1..=1000u64 {
        let payload = [correlation_id as u8, 1, 2];
        requester.write(&publish_frame("sum", Some("answers.1"), correlation_id, &payload));
    }
    for correlation_id in 1..=1000u64 {
        let answer = requester.delivery();
        assert_eq!(answer.correlation_id, correlation_id);
        assert_eq!(answer.payload, (u32::from(correlation_id as u8) + 3).to_le_bytes());
    }
    drop(answering.join().expect("answered"));
    requester.write(&publish_frame("nobody", Some("answers.1"), 9, b"?"));
    assert_eq!(requester.next(), Some(Got::Refused { code: RefusalCode::NoResponders, correlation_id: 9 }));
}
