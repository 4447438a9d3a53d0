//! Settings that are read again: what a client was told holds for it.

use crate::client::{Client, Got, publish_frame};
use crate::server::{Server, await_some};
use ringbolt_protocol::native::control::RefusalCode;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;

fn write_settings(path: &Path, payload: &str, subscriptions: u32) {
    let text = format!("payload_bytes_max = \"{payload}\"\nsubscriptions_max = \"{subscriptions}\"\n");
    std::fs::write(path, text).expect("writes");
}

/// NATS clients are told the limit of the moment.
fn payload_bytes_max(server: &Server) -> usize {
    let stream = TcpStream::connect(&server.nats).expect("it accepts");
    let mut info = String::new();
    BufReader::new(stream).read_line(&mut info).expect("INFO");
    let (_, behind) = info.split_once("\"max_payload\":").expect("the field");
    behind.split([',', '}']).next().expect("a value").parse().expect("a number")
}

#[test]
fn a_lower_limit_is_for_those_who_come_after_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let settings = folder.path().join("settings.toml");
    write_settings(&settings, "64KiB", 3);
    let server = Server::start(&["--shards", "1", "--config", settings.to_str().expect("UTF-8")]);
    let mut early = server.connect();
    early.subscribe("x", None);
    let large = vec![b'y'; 60 << 10];
    // The beginning of a frame arrives before the reload.
    let frame = publish_frame("x", None, 0, &large);
    let (begun, rest) = frame.split_at(1000);
    early.barrier();
    early.write(begun);
    write_settings(&settings, "1KiB", 1);
    server.signal("HUP");
    await_some("the new limit", || (payload_bytes_max(&server) == 1024).then_some(()));
    early.write(rest);
    assert_eq!(early.delivery().payload, large, "begun before");
    early.publish("x", &large);
    assert_eq!(early.delivery().payload, large, "as WELCOME said");
    early.subscribe("y", None);
    let mut late: Client = server.connect();
    late.publish("x", &[0; 2000]);
    match late.next() {
        Some(Got::Refused { code, .. }) => assert_eq!(code, RefusalCode::PayloadTooLarge),
        other => panic!("{other:?} in place of a refusal"),
    }
    late.publish("x", &[1; 1000]);
    assert_eq!(early.delivery().payload, [1; 1000]);
    // A higher one is for all.
    write_settings(&settings, "128KiB", 3);
    server.signal("HUP");
    await_some("the new limit", || (payload_bytes_max(&server) == 128 << 10).then_some(()));
    let larger = vec![b'z'; 100 << 10];
    for client in [&mut late, &mut early] {
        client.publish("x", &larger);
    }
    assert_eq!(early.delivery().payload, larger);
    assert_eq!(early.delivery().payload, larger);
}
