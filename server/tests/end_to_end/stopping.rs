//! The end of a server: in order, by force, and the start after it.

use crate::client::{Client, Got, publish_frame};
use crate::server::Server;
use ringbolt_protocol::native::control::CloseCode;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::thread;

#[test]
fn sigterm_under_load_delivers_what_was_accepted_tells_everyone_and_exits_with_0() {
    let mut server = Server::start(&["--cores", "0,1"]);
    let subscribers: Vec<_> = [0, 1]
        .map(|shard| {
            let mut client = server.connect_to_shard(shard);
            client.subscribe("load", None);
            thread::spawn(move || client.rest())
        })
        .into();
    let publishers: Vec<_> = [0, 1]
        .map(|shard| {
            let mut client = server.connect_to_shard(shard);
            thread::spawn(move || {
                // Until the server refuses and hangs up.
                let mut number = 0u32;
                while client.try_write(&publish_frame("load", None, 0, &number.to_le_bytes())).is_ok() {
                    number += 1;
                }
            })
        })
        .into();
    server.await_metric("ringbolt_messages_out_total", |count| count > 10_000.0);
    server.signal("TERM");
    assert_eq!(server.await_exit().code(), Some(0));
    for thread in publishers {
        thread.join().expect("published until the end");
    }
    let mut counts = Vec::new();
    for thread in subscribers {
        let got = thread.join().expect("received to the end");
        assert_eq!(got.last(), Some(&Got::Closed(CloseCode::ShuttingDown)), "everyone is told");
        counts.push(got.iter().filter(|got| matches!(got, Got::Delivery(_))).count());
    }
    assert_eq!(counts[0], counts[1], "what one receiver was given, the other one was too");
}

#[test]
fn a_stuck_reader_does_not_keep_the_server_from_ending() {
    let mut server =
        Server::start(&["--cores", "0,1", "--drain-time-max", "1s", "--slow-consumer", "drop-newest"]);
    let mut stuck = server.connect();
    stuck.subscribe("flood", None);
    let mut publisher = server.connect();
    (0..300).for_each(|_| publisher.publish("flood", &vec![1; 64 << 10]));
    publisher.barrier();
    server.signal("TERM");
    assert_eq!(server.await_exit().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_what_is_left() {
    let mut server =
        Server::start(&["--cores", "0", "--drain-time-max", "25s", "--slow-consumer", "drop-newest"]);
    let mut stuck = server.connect();
    stuck.subscribe("flood", None);
    let mut publisher = server.connect();
    (0..300).for_each(|_| publisher.publish("flood", &vec![1; 64 << 10]));
    publisher.barrier();
    server.signal("INT");
    server.await_metric("ringbolt_connections", |count| count <= 1.0);
    server.signal("INT");
    assert_eq!(server.await_exit().code(), Some(0));
}

#[test]
fn a_killed_server_starts_again_on_the_same_addresses() {
    let mut server = Server::start(&["--cores", "0,1"]);
    let (native, mut client) = (server.native.clone(), server.connect());
    client.subscribe("a", None);
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("socket");
    let path = socket.to_str().expect("UTF-8");
    server.signal("KILL");
    server.await_exit();
    assert_eq!(client.next(), None);
    let mut again = Server::start(&["--cores", "0,1", "--native", &native, "--native-unix", path]);
    again.connect().barrier();
    again.signal("KILL");
    again.await_exit();
    assert!(socket.exists(), "a killed server leaves its socket");
    let third = Server::start(&["--cores", "0,1", "--native", &native, "--native-unix", path]);
    third.connect().barrier();
    Client::connect_unix(&socket).barrier();
}

#[test]
fn clients_of_the_unix_socket_and_of_tcp_talk_with_each_other() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("socket");
    let path = socket.to_str().expect("UTF-8");
    let mut server = Server::start(&["--cores", "0,1", "--native-unix", path]);
    let (mut near, mut far) = (Client::connect_unix(&socket), server.connect());
    near.subscribe("to.near", None);
    far.subscribe("to.far", None);
    near.publish("to.far", b"from near");
    far.publish("to.near", b"from far");
    assert_eq!(near.delivery().payload, b"from far");
    assert_eq!(far.delivery().payload, b"from near");
    let refused = start_refused(&["--native-unix", path]);
    assert!(refused.contains("another process listens there"), "{refused}");
    near.publish("to.far", b"still there");
    assert_eq!(far.delivery().payload, b"still there");
    server.signal("TERM");
    assert_eq!(server.await_exit().code(), Some(0));
    assert!(!socket.exists(), "an orderly end takes its socket away");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("letters");
    std::fs::write(&file, "dear").expect("writes");
    let refused = start_refused(&["--native-unix", file.to_str().expect("UTF-8")]);
    assert!(refused.contains("no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "dear");
}

#[test]
fn an_address_in_use_is_said_with_its_cure() {
    let server = Server::start(&["--cores", "0"]);
    let refused = start_refused(&["--native", &server.native]);
    assert!(refused.contains(&server.native) && refused.contains("stop what listens there"), "{refused}");
}

/// Starts a server that must not start; returns what it says.
fn start_refused(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    command.args(["--cores", "0", "--nats", "off", "--admin", "off"]).args(flags);
    if !flags.contains(&"--native") {
        command.args(["--native", "127.0.0.1:0"]);
    }
    let Output { status, stderr, .. } = command.output().expect("it runs");
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).expect("UTF-8")
}

#[test]
fn a_server_that_closed_connections_first_starts_again_at_once() {
    let mut server = Server::start(&["--shards", "1"]);
    let addresses = [server.native.clone(), server.nats.clone(), server.admin.clone()];
    let words: [&[u8]; 3] =
        [b"\xff\xff\xff\xff\xff", b"NONSENSE\r\n", b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"];
    for (address, words) in addresses.iter().zip(words) {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(words).expect("it takes bytes");
        // Up to the end of what it says: it closed, and this side did not yet.
        stream.read_to_end(&mut Vec::new()).expect("the end");
    }
    server.signal("TERM");
    assert_eq!(server.await_exit().code(), Some(0));
    let [native, nats, admin] = &addresses;
    let again = Server::start(&["--shards", "1", "--native", native, "--nats", nats, "--admin", admin]);
    assert_eq!([&again.native, &again.nats, &again.admin], [native, nats, admin]);
}
