//! The time between accept and admission, which is bounded as a whole.

use ringbolt_server::config::WaitMode;
use ringbolt_server::io::Listening;
use ringbolt_server::sim::edge::{LISTENERS, NATIVE_UNIX, NATS, Server, Shape, Whim};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::Transport;
use ringbolt_shard::access::{Access, Credential, Secret, User};
use ringbolt_shard::metrics::Counter;

const SECOND: u64 = 1_000_000_000;

/// One shard where NATS clients must say who they are, and how long they have for it.
fn server() -> (Server, u64) {
    let mut access = Access::default();
    access.add_users(vec![User::new("ann", Credential::Password(Secret::new("a")), 0)]);
    let (limits, wait) = (small_limits(1), WaitMode::Efficient);
    let timeout_nanos = limits.hello_timeout_nanos;
    let shape = Shape { limits, access, wait, slots: 2, proofs_waiting_max: 1, seed: 1 };
    (Server::new(&shape), timeout_nanos)
}

/// So much time passes, a little at a time.
fn pass(server: &mut Server, nanos: u64) {
    for _ in 0..nanos.div_ceil(SECOND / 20) {
        server.pass(SECOND / 20);
        for _ in 0..20 {
            while let Some(&first) = server.moves(0).first() {
                server.take(0, first, Whim::Plain);
            }
            server.run(0);
        }
    }
}

fn hold_look_ups(server: &Server, hold: bool) {
    server.network.borrow_mut().holds_look_ups = hold;
}

fn heard(server: &Server, wire: usize) -> Vec<u8> {
    server.network.borrow_mut().read(wire, usize::MAX)
}

fn is_ended(server: &Server, wire: usize) -> bool {
    server.network.borrow().wires[wire].server_ended
}

fn sockets(server: &Server) -> usize {
    server.network.borrow().kernels[0].open_sockets()
}

fn connect(server: &mut Server, listener: Listening) -> usize {
    server.connect(0, listener)
}

#[test]
fn a_connection_whose_peer_is_never_found_ends_with_its_time_and_gives_its_place_back() {
    for listener in LISTENERS.into_iter().filter(|listener| listener.transport == Transport::Tcp) {
        let (mut server, timeout_nanos) = server();
        hold_look_ups(&server, true);
        let lost = [0; 2].map(|_| connect(&mut server, listener));
        pass(&mut server, timeout_nanos - SECOND);
        assert_eq!((server.connections(), sockets(&server)), (2, 2), "{listener:?}");
        pass(&mut server, 2 * SECOND);
        assert_eq!((server.connections(), sockets(&server)), (0, 0), "{listener:?}");
        assert!(lost.into_iter().all(|wire| is_ended(&server, wire) && heard(&server, wire).is_empty()));
        assert_eq!(server.count(Counter::Connections), 0);
        assert_eq!(server.count(Counter::ConnectionsRefused), 2);
        hold_look_ups(&server, false);
        let next = [0; 2].map(|_| connect(&mut server, NATS));
        pass(&mut server, SECOND);
        assert!(next.into_iter().all(|wire| heard(&server, wire).starts_with(b"INFO ")), "{listener:?}");
    }
}

#[test]
fn the_time_to_be_admitted_in_begins_with_the_accept() {
    let (mut server, timeout_nanos) = server();
    hold_look_ups(&server, true);
    let late = connect(&mut server, NATS);
    pass(&mut server, timeout_nanos - 2 * SECOND);
    hold_look_ups(&server, false);
    pass(&mut server, SECOND);
    assert!(heard(&server, late).starts_with(b"INFO "));
    assert!(!is_ended(&server, late));
    pass(&mut server, 4 * SECOND);
    assert_eq!(heard(&server, late), b"-ERR 'Authentication Timeout'\r\n");
    assert_eq!(server.count(Counter::ConnectionsClosedHelloTimeout), 1);
}

#[test]
fn a_connection_that_is_looked_up_holds_a_drain_up_for_no_longer_than_its_time() {
    let (mut server, timeout_nanos) = server();
    hold_look_ups(&server, true);
    let lost = connect(&mut server, NATS);
    pass(&mut server, SECOND);
    server.drain();
    pass(&mut server, timeout_nanos - 2 * SECOND);
    assert_eq!(server.over(), (0, 0), "it is yet to be told that it came too late");
    pass(&mut server, 2 * SECOND);
    assert_eq!(server.over(), (1, 0));
    assert!(is_ended(&server, lost));
}

#[test]
fn nobody_looks_for_the_peer_of_a_unix_socket() {
    let (mut server, _) = server();
    hold_look_ups(&server, true);
    connect(&mut server, NATIVE_UNIX);
    pass(&mut server, SECOND);
    assert_eq!(server.count(Counter::Connections), 1, "the shard knows of it at once");
}
