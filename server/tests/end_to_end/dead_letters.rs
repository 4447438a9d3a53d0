//! Dead letters of a running server, by the command a reader has for them.

use crate::client::{Client, publish_frame};
use crate::server::Server;
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::encode;
use std::process::{Command, Output};

fn dlq(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    command.args(["dlq", "--admin", &server.admin]).args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Publishes with headers.
fn publish(client: &mut Client, subject: &str, lines: &str, payload: &str) {
    let block = format!("NATS/1.0\r\n{lines}\r\n");
    let whole = format!("{block}{payload}");
    let publish = Publish {
        flags: Flags(Flags::HEADERS),
        timestamp_nanos: 0,
        correlation_id: 1,
        subject: SubjectRef::Literal(subject.as_bytes()),
        reply: None,
        header_bytes: block.len() as u32,
        payload: whole.as_bytes(),
    };
    let mut frame = Vec::new();
    encode::publish(&mut frame, &publish);
    client.write(&frame);
    client.barrier();
}

#[test]
fn letters_are_listed_shown_replayed_and_purged() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server.native);
    let unroutable = "Ringbolt-Unroutable: dead-letter\r\nTrace: 7\r\n";
    publish(&mut client, "orders.new", unroutable, "two apples");
    publish(&mut client, "orders.old", unroutable, "one pear");

    let (code, list, _) = dlq(&server, &["list"]);
    assert_eq!(code, Some(0));
    let line = list.lines().find(|line| line.ends_with("orders.new")).expect("it is listed");
    assert!(list.contains("orders.old") && line.contains("unroutable"), "{list}");
    let id = line.split_whitespace().next().expect("an id");
    let (_, shown, _) = dlq(&server, &["show", id]);
    for part in ["reason      unroutable", "subject     orders.new", "Trace: 7", "two apples"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // Nobody takes it yet: it stays.
    assert_eq!(dlq(&server, &["replay", id]).1, "0 replayed\n");
    client.subscribe("orders.new", None);
    assert_eq!(dlq(&server, &["replay", "--all"]).1, "1 replayed\n");
    let replayed = client.delivery();
    assert!(replayed.payload.ends_with(b"two apples"), "{replayed:?}");
    assert!(!dlq(&server, &["list"]).1.contains("orders.new"));
    assert_eq!(dlq(&server, &["purge", "--all"]).1, "1 purged\n");
    assert_eq!(dlq(&server, &["list"]).1.lines().count(), 1, "only the heading");
    server.await_metric("ringbolt_dead_letters_kept", |kept| kept == 0.0);
    assert_eq!(server.metric("ringbolt_dead_letters_replayed_total"), 1.0);
}

#[test]
fn a_rejected_job_is_worked_off_when_it_is_replayed() {
    let server = Server::start(&[]);
    let mut worker = Client::connect(&server.native);
    worker.subscribe("job", Some("workers;ack"));
    let mut client = Client::connect(&server.native);
    // Twice the same id would be taken for a duplicate: a replay is not one.
    publish(&mut client, "job", "Nats-Msg-Id: a\r\n", "mend it");
    let job = worker.delivery();
    worker.write(&publish_frame(&job.reply.expect("where to settle"), None, 0, b"+TERM not today"));
    worker.barrier();
    let list = dlq(&server, &["list"]).1;
    assert!(list.contains("rejected"), "{list}");
    let id = list.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a letter");
    let shown = dlq(&server, &["show", id]).1;
    assert!(shown.contains("error       not today") && shown.contains("deliveries  1"), "{shown}");
    assert_eq!(dlq(&server, &["replay", id]).1, "1 replayed\n");
    let job = worker.delivery();
    assert!(job.payload.ends_with(b"mend it"));
    worker.write(&publish_frame(&job.reply.expect("where to settle"), None, 0, b"+ACK"));
    worker.barrier();
    assert_eq!(server.metric("ringbolt_work_messages"), 0.0);
}

#[test]
fn only_so_many_bytes_of_letters_are_kept_and_the_oldest_go() {
    let server = Server::start(&["--shards", "1", "--dead-letters-bytes-max", "10KiB"]);
    let mut client = Client::connect(&server.native);
    for number in 0..20 {
        let subject = format!("lost.{number}");
        publish(&mut client, &subject, "Ringbolt-Unroutable: dead-letter\r\n", &"x".repeat(1000));
    }
    let list = dlq(&server, &["list"]).1;
    assert!(list.contains("lost.19") && !list.contains("lost.0\n"), "{list}");
    server.await_metric("ringbolt_dead_letters_bytes", |bytes| bytes > 0.0 && bytes <= 10_240.0);
    assert!(server.metric("ringbolt_dead_letters_forgotten_total") >= 10.0);
}

#[test]
fn what_is_wrong_is_said() {
    let server = Server::start(&[]);
    for id in ["9-1", "0-77", "x", "0-1 HTTP"] {
        let (code, out, error) = dlq(&server, &["show", id]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{id}");
        assert!(error.contains("dead letter") || error.contains("SHARD-NUMBER"), "{id}: {error}");
    }
    assert_eq!(dlq(&server, &["purge"]).0, Some(2), "neither an id nor --all");
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    let output = nobody.args(["dlq", "list", "--admin", "127.0.0.1:1"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the server running there?"));
}
