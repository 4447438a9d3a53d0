//! The ring over real loopback sockets: bytes arrive whole, buffers run out without loss, and
//! operations end in order.

use ringbolt_ring::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

fn ring(buffers: u16, buffer_bytes: u32) -> Ring {
    let buffers = BufferRingConfig { buffer_bytes, buffers, huge_pages: false };
    Ring::new(RingConfig { entries: 64, completion_entries: 256, slots: 64, buffers }).expect("a ring")
}

fn next(ring: &mut Ring) -> Completion {
    for _ in 0..1000 {
        if let Some(completion) = ring.next() {
            return completion;
        }
        ring.turn(Wait::Block(Some(Duration::from_millis(10)))).expect("turn");
    }
    panic!("nothing completed within ten seconds");
}

fn accept(ring: &mut Ring, listener: &TcpListener) -> (Slot, TcpStream) {
    ring.accept(0, listener.as_fd()).expect("accept");
    let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    match next(ring) {
        Completion::Accepted { outcome: AcceptOutcome::Connection(slot), armed: true, .. } => (slot, client),
        other => panic!("{other:?}"),
    }
}

#[test]
fn received_bytes_are_echoed_whole_through_owned_and_shared_chunks() {
    let mut ring = ring(8, 1024);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (slot, mut client) = accept(&mut ring, &listener);
    ring.receive(slot).expect("receive");
    client.write_all(b"hello").expect("write");
    let Completion::Received { outcome: ReceiveOutcome::Data { buffer, armed: true }, .. } = next(&mut ring)
    else {
        panic!("no data");
    };
    let echo = ring.bytes(&buffer).to_vec();
    ring.recycle(buffer);
    ring.send(slot, vec![Chunk::Owned(echo), Chunk::Shared(bytes::Bytes::from_static(b" world"))])
        .expect("send");
    let Completion::Sent { bytes: 11, error: None, chunks, .. } = next(&mut ring) else { panic!("not sent") };
    assert_eq!(chunks.len(), 2);
    let mut answer = [0; 11];
    client.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"hello world");
    drop(client);
    assert!(matches!(next(&mut ring), Completion::Received { outcome: ReceiveOutcome::EndOfStream, .. }));
    ring.close(slot).expect("close");
    assert!(matches!(next(&mut ring), Completion::Closed { .. }));
}

#[test]
fn running_out_of_buffers_loses_nothing() {
    let mut ring = ring(2, 256);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (slot, mut client) = accept(&mut ring, &listener);
    let sent: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
    client.write_all(&sent).expect("write");
    ring.receive(slot).expect("receive");
    let (mut got, mut held, mut exhausted) = (Vec::new(), Vec::new(), 0);
    while got.len() < sent.len() {
        let Completion::Received { outcome, .. } = next(&mut ring) else { panic!("only receives run") };
        match outcome {
            ReceiveOutcome::Data { buffer, .. } => {
                got.extend_from_slice(ring.bytes(&buffer));
                held.push(buffer);
            }
            ReceiveOutcome::BuffersExhausted => {
                exhausted += 1;
                held.drain(..).for_each(|buffer| ring.recycle(buffer));
                ring.receive(slot).expect("re-arm");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(exhausted > 0, "two buffers of 256 bytes cannot hold 10 000 bytes");
    assert_eq!(got, sent);
}

#[test]
fn a_send_larger_than_the_socket_buffer_completes_once_and_whole() {
    let mut ring = ring(8, 1024);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (slot, mut client) = accept(&mut ring, &listener);
    let sent: Vec<u8> = (0..32u32 << 20).map(|n| (n >> 3) as u8).collect();
    let (left, right) = sent.split_at(10 << 20);
    ring.send(slot, vec![Chunk::Owned(left.to_vec()), Chunk::Owned(right.to_vec())]).expect("send");
    let total = sent.len();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        client.read_exact(&mut got).expect("read");
        got
    });
    let Completion::Sent { bytes, error: None, .. } = next(&mut ring) else { panic!("not sent") };
    assert_eq!(bytes, total);
    assert!(reader.join().expect("reader") == sent);
}

#[test]
fn a_doorbell_wakes_a_blocked_ring_and_can_ring_again() {
    let mut ring = ring(2, 256);
    let doorbell = Doorbell::new().expect("eventfd");
    ring.listen_to(&doorbell).expect("listen");
    for _ in 0..3 {
        let remote = doorbell.clone();
        let ringer = std::thread::spawn(move || remote.ring());
        assert!(matches!(next(&mut ring), Completion::Doorbell));
        ringer.join().expect("ringer");
    }
}

#[test]
fn an_installed_socket_connects_and_a_refused_connection_is_reported() {
    let mut ring = ring(2, 256);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    ring.install(Slot(3), socket().into()).expect("install");
    ring.connect(Slot(3), &address.into()).expect("connect");
    assert!(matches!(next(&mut ring), Completion::Connected { slot: Slot(3), error: None }));
    drop(listener);
    ring.install(Slot(4), socket().into()).expect("install");
    ring.connect(Slot(4), &address.into()).expect("connect");
    assert!(matches!(next(&mut ring), Completion::Connected { slot: Slot(4), error: Some(_) }));
}

#[test]
fn a_cancelled_receive_says_so_and_can_be_armed_again() {
    let mut ring = ring(4, 256);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (slot, mut client) = accept(&mut ring, &listener);
    ring.receive(slot).expect("receive");
    ring.cancel_receive(slot).expect("cancel");
    assert!(matches!(next(&mut ring), Completion::Received { outcome: ReceiveOutcome::Cancelled, .. }));
    client.write_all(b"later").expect("write");
    ring.receive(slot).expect("again");
    let Completion::Received { outcome: ReceiveOutcome::Data { buffer, .. }, .. } = next(&mut ring) else {
        panic!("no data");
    };
    assert_eq!(ring.bytes(&buffer), b"later");
    ring.recycle(buffer);
}

#[test]
fn a_unix_socket_is_accepted_and_connected_like_any_other() {
    let folder = std::env::temp_dir().join(format!("ringbolt-ring-{}.socket", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&folder).expect("bind");
    let mut ring = ring(4, 256);
    ring.accept(0, listener.as_fd()).expect("accept");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("socket");
    ring.install(Slot(40), socket.into()).expect("install");
    ring.connect(Slot(40), &Address::Unix(folder.clone())).expect("connect");
    let (mut accepted, mut connected) = (None, false);
    while accepted.is_none() || !connected {
        match next(&mut ring) {
            Completion::Accepted { outcome: AcceptOutcome::Connection(slot), .. } => accepted = Some(slot),
            Completion::Connected { slot: Slot(40), error: None } => connected = true,
            other => panic!("{other:?}"),
        }
    }
    let slot = accepted.expect("accepted");
    ring.receive(slot).expect("receive");
    ring.send(Slot(40), vec![Chunk::Owned(b"local".to_vec())]).expect("send");
    loop {
        match next(&mut ring) {
            Completion::Received { outcome: ReceiveOutcome::Data { buffer, .. }, .. } => {
                assert_eq!(ring.bytes(&buffer), b"local");
                ring.recycle(buffer);
                break;
            }
            Completion::Sent { error: None, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    std::fs::remove_file(folder).expect("remove");
}

/// The kernel shuts a socket down on another thread, which looks the slot up there and then.
#[test]
fn shutting_down_before_a_close_spares_whoever_has_the_slot_next() {
    let mut ring = ring(2, 256);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (mut slot, mut client) = accept(&mut ring, &listener);
    for round in 0..2000 {
        ring.shut_down(slot).expect("shut down");
        ring.close(slot).expect("close");
        let old = std::mem::replace(
            &mut client,
            TcpStream::connect(listener.local_addr().expect("address")).expect("connect"),
        );
        let (mut shut, mut closed, mut accepted) = (false, false, None);
        while !shut || !closed || accepted.is_none() {
            match next(&mut ring) {
                Completion::ShutDown { .. } => shut = true,
                Completion::Closed { .. } => closed = true,
                Completion::Accepted { outcome: AcceptOutcome::Connection(next), .. } => {
                    accepted = Some(next);
                }
                other => panic!("{other:?}"),
            }
        }
        drop(old);
        slot = accepted.expect("the loop ends with it");
        ring.send(slot, vec![Chunk::Shared(bytes::Bytes::from_static(b"x"))]).expect("send");
        let sent = next(&mut ring);
        assert!(matches!(sent, Completion::Sent { error: None, .. }), "round {round}: {sent:?}");
    }
}

#[test]
fn a_peer_is_looked_up_once_and_that_of_a_unix_socket_has_no_address() {
    let mut ring = ring(2, 256);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let (slot, client) = accept(&mut ring, &listener);
    ring.look_up_peer(slot).expect("look up");
    let Completion::Peer { address, .. } = next(&mut ring) else { panic!("no peer") };
    assert!(address.is_none_or(|address| address == client.local_addr().expect("address")), "{address:?}");
    // It is over: there is nothing to cancel, and nothing more is reported.
    ring.cancel_look_up(slot).expect("cancel");
    let name = format!("ringbolt-loopback-{}", std::process::id());
    let name = SocketAddr::from_abstract_name(name).expect("a name");
    let listener = UnixListener::bind_addr(&name).expect("bind");
    ring.accept(1, listener.as_fd()).expect("accept");
    let _client = UnixStream::connect_addr(&name).expect("connect");
    let Completion::Accepted { outcome: AcceptOutcome::Connection(slot), .. } = next(&mut ring) else {
        panic!("not accepted")
    };
    ring.look_up_peer(slot).expect("look up");
    assert!(matches!(next(&mut ring), Completion::Peer { address: None, .. }));
}
