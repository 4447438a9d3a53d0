//! Proofs of identity that wait elsewhere: kinds that delay each other never, and queues that are full.

use super::run::judge;
use ringbolt_server::config::WaitMode;
use ringbolt_server::io::platform::WorkKind;
use ringbolt_server::sim::edge::{NATS, Server, Shape, Whim};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::{Access, Credential, Secret, User};
use ringbolt_shard::metrics::Counter;

const BY_PASSWORD: &str = "\"user\":\"ann\",\"pass\":\"right\"";
const BY_KEY: &str = "\"nkey\":\"d\",\"sig\":\"d-secret\"";

fn server(proofs_waiting_max: usize) -> Server {
    let mut access = Access::default();
    let hashed = Credential::Password(Secret::Bcrypt("right".to_owned()));
    access.add_users(vec![User::new("ann", hashed, 0), User::new("d", Credential::Nkey, 0)]);
    let (limits, wait) = (small_limits(1), WaitMode::Efficient);
    Server::new(&Shape { limits, access, wait, slots: 8, proofs_waiting_max, seed: 1 })
}

fn settle(server: &mut Server) {
    for _ in 0..100 {
        while let Some(&first) = server.moves(0).first() {
            server.take(0, first, Whim::Plain);
        }
        server.hear_bell(0);
        server.run(0);
        server.pass(1_000);
    }
}

/// A client that says who it is, and asks whether it is in.
fn join(server: &mut Server, credentials: &str) -> usize {
    let wire = server.connect(0, NATS);
    let words = format!("CONNECT {{\"verbose\":false,{credentials}}}\r\nPING\r\n");
    server.network.borrow_mut().write(wire, words.as_bytes());
    settle(server);
    wire
}

/// What a client was sent besides INFO.
fn heard(server: &Server, wire: usize) -> String {
    let bytes = server.network.borrow_mut().read(wire, usize::MAX);
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("INFO ")).collect()
}

#[test]
fn signatures_wait_for_no_password() {
    let mut server = server(8);
    let by_password = join(&mut server, BY_PASSWORD);
    let by_key = join(&mut server, BY_KEY);
    assert!(server.verify(0, WorkKind::Signature, judge));
    settle(&mut server);
    assert_eq!(heard(&server, by_key), "PONG\r\n");
    assert_eq!(heard(&server, by_password), "");
    assert_eq!(server.count(Counter::OffloadWaitingPasswordHash), 1);
    assert!(server.verify(0, WorkKind::PasswordHash, judge));
    settle(&mut server);
    assert_eq!(heard(&server, by_password), "PONG\r\n");
    assert_eq!(server.count(Counter::OffloadWaitingPasswordHash), 0);
}

#[test]
fn who_finds_no_room_is_refused_and_the_others_are_served() {
    let mut server = server(1);
    let first = join(&mut server, BY_PASSWORD);
    let second = join(&mut server, BY_PASSWORD);
    assert_eq!(heard(&server, second), "-ERR 'Authorization Violation'\r\n");
    let by_key = join(&mut server, BY_KEY);
    let counts = [Counter::OffloadRefusedPasswordHash, Counter::OffloadRefusedSignature]
        .map(|counter| server.count(counter));
    assert_eq!(counts, [1, 0], "another kind has room of its own");
    for kind in WorkKind::ALL {
        assert!(server.verify(0, kind, judge));
    }
    settle(&mut server);
    assert_eq!(heard(&server, first), "PONG\r\n");
    assert_eq!(heard(&server, by_key), "PONG\r\n");
    let third = join(&mut server, BY_PASSWORD);
    assert!(server.verify(0, WorkKind::PasswordHash, judge), "there is room again");
    settle(&mut server);
    assert_eq!(heard(&server, third), "PONG\r\n");
}
