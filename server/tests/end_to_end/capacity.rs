//! Many connections, few buffers, few descriptors: bounds are held and nothing is lost.

use crate::client::{Client, Got};
use crate::nats_interoperation::RawNats;
use crate::server::{PATIENCE, Server};
use ringbolt_protocol::native::control::CloseCode;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

const CONNECTIONS: u64 = 10_000;
/// The server's memory for an idle connection with one subscription, everything included.
const BYTES_A_CONNECTION_MAX: u64 = 4 << 10;
/// So many that rounding to huge pages is a small part of what they take.
const IDLE_CLIENTS: u64 = 12_000;
/// And for an idle client that subscribed to nothing.
const BYTES_AN_IDLE_CLIENT_MAX: u64 = 1 << 10;

/// Descriptors this process may have; tests that need more say so and pass.
fn may_open(descriptors: u64) -> bool {
    let limit = ringbolt_ring::descriptor_limit();
    let enough = ringbolt_ring::raise_descriptor_limit().is_ok() && u64::from(limit) >= descriptors;
    if !enough {
        eprintln!("skipped: {descriptors} open files are needed, and the hard limit is {limit}");
    }
    enough
}

/// Tests that need most of the descriptors of this process take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subscribed(server: &Server, count: u64) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = server.connect();
            client.subscribe("all", None);
            client
        })
        .collect()
}

#[test]
fn ten_thousand_connections_take_4_kib_each_and_all_get_the_message() {
    let _alone = alone();
    if !may_open(CONNECTIONS + 200) {
        return;
    }
    let server = Server::start(&["--cores", "0,1"]);
    // What the first connections touch is not the others' share.
    let warm = subscribed(&server, 100);
    let before = server.resident_bytes();
    let mut clients = subscribed(&server, CONNECTIONS);
    let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS;
    eprintln!("{each} bytes of the server's memory a connection");
    assert!(each <= BYTES_A_CONNECTION_MAX, "{each} bytes a connection");
    server.connect().publish("all", b"hello");
    for client in &mut clients {
        assert_eq!(client.delivery().payload, b"hello");
    }
    drop((warm, clients));
    server.await_metric("ringbolt_connections", |count| count <= 1.0);
}

#[test]
fn an_idle_nats_client_takes_one_kib_at_most() {
    let _alone = alone();
    if !may_open(IDLE_CLIENTS + 2_400) {
        return;
    }
    let server = Server::start(&["--cores", "0", "--connections-max", "16000"]);
    let idle = |count: u64| -> Vec<RawNats> {
        (0..count)
            .map(|_| {
                let mut client = RawNats::connect(&server.nats, "{\"verbose\":false}");
                client.settle();
                client
            })
            .collect()
    };
    // What the first connections touch is not the others' share.
    let warm = idle(2_000);
    let before = server.anonymous_bytes();
    let clients = idle(IDLE_CLIENTS);
    let grown = server.anonymous_bytes().saturating_sub(before);
    eprintln!("{} bytes of the server's memory an idle NATS client", grown / IDLE_CLIENTS);
    // The allocator takes memory in steps of two megabytes.
    assert!(grown <= IDLE_CLIENTS * BYTES_AN_IDLE_CLIENT_MAX + (2 << 20), "{grown} bytes");
    drop((warm, clients));
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    if !may_open(2_200) {
        return;
    }
    // Tables and pools keep what they grew to; small ones have done so after a few rounds.
    let bounds = ["--connections-max", "1200", "--outbox-segment-bytes", "4KiB"];
    let server = Server::start(&[&["--cores", "0,1"], &bounds[..]].concat());
    let round = || {
        let mut clients = subscribed(&server, 1_000);
        let mut publisher = server.connect();
        (0..10).for_each(|_| publisher.publish("all", &[5; 50]));
        for client in &mut clients {
            (0..10).for_each(|_| drop(client.delivery()));
        }
        drop(clients);
        server.await_metric("ringbolt_connections", |count| count <= 2.0);
        server.await_metric("ringbolt_subscriptions", |count| count == 0.0);
        server.resident_bytes()
    };
    let before = (0..4).fold(0, |_, _| round());
    let after = (0..10).fold(0, |_, _| round());
    eprintln!("{before} bytes, and {after} after 10 000 connections more");
    // A kilobyte for each connection that went would be ten megabytes; the allocator rounds to two.
    assert!(after < before + (4 << 20), "{before} bytes, then {after}");
}

#[test]
fn one_connection_too_many_is_told_so_and_its_place_comes_back() {
    let server = Server::start(&["--cores", "0", "--connections-max", "3"]);
    let mut kept: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    let mut extra = Client::silent(&server.native);
    assert_eq!(extra.rest(), [Got::Closed(CloseCode::Limit)]);
    kept[0].barrier();
    kept.pop().expect("one").close();
    server.await_metric("ringbolt_connections", |count| count <= 2.0);
    server.connect().barrier();
}

#[test]
fn running_out_of_receive_buffers_loses_nothing() {
    let server = Server::start(&["--cores", "0", "--receive-buffers", "2", "--receive-buffer-bytes", "4KiB"]);
    let mut subscriber = server.connect();
    subscriber.subscribe("in.*", None);
    let publishers: Vec<_> = (0..8u8)
        .map(|number| {
            let mut client = server.connect();
            thread::spawn(move || {
                (0..200).for_each(|_| client.publish(&format!("in.{number}"), &[number; 20_000]));
                client.barrier();
            })
        })
        .collect();
    let mut counts = [0; 8];
    for _ in 0..8 * 200 {
        let delivery = subscriber.delivery();
        assert!(delivery.payload.iter().all(|&byte| byte == delivery.payload[0]), "no payload is mixed up");
        counts[usize::from(delivery.payload[0])] += 1;
    }
    publishers.into_iter().for_each(|thread| thread.join().expect("published"));
    assert_eq!(counts, [200; 8]);
    assert!(server.metric("ringbolt_receive_buffer_exhausted_total") > 0.0, "they did run out");
}

#[test]
fn running_out_of_descriptors_hurts_nobody_who_is_connected() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_ringbolt-server");
    command.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\"", program]);
    let server = Server::start_in(folder, command, &["--cores", "0"]);
    let mut first = server.connect();
    first.subscribe("a", None);
    // Places are direct descriptors, as many as open files are allowed.
    let streams: Vec<_> = (0..200)
        .map(|_| std::net::TcpStream::connect(&server.native).expect("the backlog takes it"))
        .collect();
    server.await_metric("ringbolt_connections_refused_total", |count| count >= 1.0);
    first.publish("a", b"still served");
    assert_eq!(first.delivery().payload, b"still served");
    drop(streams);
    server.await_metric("ringbolt_connections", |count| count <= 2.0);
    // Those that still wait to be accepted take all places again, and who comes then may find none.
    let limit = Instant::now() + PATIENCE;
    let mut late = Client::silent(&server.native);
    while late.try_greet().is_err() {
        assert!(Instant::now() < limit, "nobody is let in any more");
        late = Client::silent(&server.native);
    }
    late.barrier();
}
