//! What happens to a receiver that is too slow, by policy.

use crate::client::{Client, Got};
use crate::server::Server;
use ringbolt_protocol::native::control::SlowConsumer;
use std::thread;
use std::time::{Duration, Instant};

const PAYLOAD: usize = 16 << 10;
/// Far beyond an outbox of 2 MiB and what the kernel's socket buffers hold.
const MESSAGES: u32 = 4_000;

/// A subscriber that does not read, and a publisher that sends it too much. Returns the subscriber
/// when everything was published.
fn overwhelm(server: &Server, policy: SlowConsumer) -> Client {
    let mut subscriber = server.connect_to_shard(0);
    subscriber.subscribe_with("flood", None, policy);
    let mut publisher = server.connect_to_shard(1);
    let mut payload = vec![9; PAYLOAD];
    for number in 0..MESSAGES {
        payload[..4].copy_from_slice(&number.to_le_bytes());
        publisher.publish("flood", &payload);
    }
    publisher.barrier();
    subscriber
}

fn start() -> Server {
    start_with(&[])
}

fn start_with(more: &[&str]) -> Server {
    Server::start(&[&["--cores", "0,1", "--outbox-bytes-max", "2MiB"], more].concat())
}

fn numbers(got: &[Got]) -> Vec<u32> {
    got.iter()
        .filter_map(|got| match got {
            Got::Delivery(delivery) => {
                assert_eq!(delivery.payload.len(), PAYLOAD);
                Some(u32::from_le_bytes(delivery.payload[..4].try_into().expect("four bytes")))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn disconnect_ends_the_connection_and_what_came_was_in_order() {
    let server = start();
    let mut subscriber = overwhelm(&server, SlowConsumer::Disconnect);
    let seen = numbers(&subscriber.rest());
    assert!(seen.len() < MESSAGES as usize);
    assert!(seen.iter().copied().eq(0..seen.len() as u32), "a prefix of what was published");
    assert_eq!(server.metric("ringbolt_connections_closed_total{reason=\"slow_consumer\""), 1.0);
}

/// The messages that the server did not drop, once it has taken in all of them.
fn kept(server: &Server, subscriber: &mut Client, reason: &str) -> Vec<u32> {
    let dropped = || server.metric(&format!("ringbolt_messages_dropped_total{{reason=\"{reason}\""));
    server.await_metric("ringbolt_mesh_messages_in_total", |count| count == f64::from(MESSAGES));
    let kept = MESSAGES - dropped() as u32;
    assert!((1..MESSAGES).contains(&kept), "{kept} are kept");
    let got: Vec<Got> = (0..kept).map(|_| Got::Delivery(subscriber.delivery())).collect();
    subscriber.barrier();
    assert_eq!(server.metric("ringbolt_connections_closed_total{reason=\"slow_consumer\""), 0.0);
    numbers(&got)
}

/// A subscriber that reads as fast as it can, and a publisher of its shard or another that is faster.
#[test]
fn who_takes_what_it_is_sent_loses_nothing_to_a_publisher_that_is_faster() {
    for shard in [0, 1] {
        let server = Server::start(&["--cores", "0,1", "--outbox-bytes-max", "8MiB"]);
        let mut subscriber = server.connect_to_shard(0);
        subscriber.subscribe("flood", None);
        let mut publisher = server.connect_to_shard(shard);
        let publishing = thread::spawn(move || {
            let mut payload = vec![9; PAYLOAD];
            for number in 0..MESSAGES {
                payload[..4].copy_from_slice(&number.to_le_bytes());
                publisher.publish("flood", &payload);
            }
            publisher.barrier();
        });
        for number in 0..MESSAGES {
            assert_eq!(subscriber.delivery().payload[..4], number.to_le_bytes(), "from shard {shard}");
            // Some 50 MB/s.
            if number % 32 == 0 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        publishing.join().expect("published");
        assert!(server.metric("ringbolt_publisher_pauses_total") > 10.0);
        assert_eq!(server.metric("ringbolt_publishers_paused"), 0.0);
    }
}

#[test]
fn who_takes_nothing_is_disconnected_and_delays_its_publisher_for_a_while() {
    let server = Server::start(&["--cores", "0,1", "--outbox-bytes-max", "8MiB"]);
    let mut subscriber = server.connect_to_shard(0);
    subscriber.subscribe("flood", None);
    let mut publisher = server.connect_to_shard(1);
    let payload = vec![9; PAYLOAD];
    let began = Instant::now();
    (0..MESSAGES).for_each(|_| publisher.publish("flood", &payload));
    publisher.barrier();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(server.metric("ringbolt_connections_closed_total{reason=\"slow_consumer\""), 1.0);
    assert!(server.metric("ringbolt_publisher_pauses_total") > 3.0);
}

#[test]
fn drop_newest_keeps_the_first_and_counts_what_is_dropped() {
    let server = start();
    let mut subscriber = overwhelm(&server, SlowConsumer::DropNewest);
    let kept = kept(&server, &mut subscriber, "slow_consumer_newest");
    assert!(kept.is_sorted() && kept[0] == 0);
}

#[test]
fn drop_oldest_keeps_the_last_and_counts_what_is_dropped() {
    let server = start();
    let mut subscriber = overwhelm(&server, SlowConsumer::DropOldest);
    let kept = kept(&server, &mut subscriber, "slow_consumer_oldest");
    assert!(kept.is_sorted() && kept.last() == Some(&(MESSAGES - 1)));
}

#[test]
fn pause_publisher_loses_nothing_and_holds_the_publisher_back() {
    let server = start_with(&["--pause-publisher-by-clients", "yes"]);
    let mut subscriber = server.connect_to_shard(0);
    subscriber.subscribe_with("flood", None, SlowConsumer::PausePublisher);
    let mut publisher = server.connect_to_shard(1);
    let publishing = thread::spawn(move || {
        let mut payload = vec![9; PAYLOAD];
        for number in 0..MESSAGES {
            payload[..4].copy_from_slice(&number.to_le_bytes());
            publisher.publish("flood", &payload);
        }
        publisher
    });
    server.await_metric("ringbolt_publishers_paused", |paused| paused >= 1.0);
    for number in 0..MESSAGES {
        assert_eq!(subscriber.delivery().payload[..4], number.to_le_bytes(), "nothing is lost");
    }
    let mut publisher = publishing.join().expect("published");
    publisher.barrier();
    server.await_metric("ringbolt_publishers_paused", |paused| paused == 0.0);
    assert_eq!(server.metric("ringbolt_messages_dropped_total"), 0.0);
}
