//! Connections that are opened, filled and reset all the time, with fewer receive buffers than senders.
//!
//! `RINGBOLT_CHURN_SECONDS=n` goes on for so long.

use crate::server::{Server, await_some};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SENDERS: usize = 8;

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    // Ports of connections that were closed in order are not free for a minute; those of reset ones are.
    socket.connect(&address.into()).ok()?;
    Some(socket.into())
}

/// The peer is told that the connection is gone, whatever was under way.
fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
}

#[test]
fn connections_reset_while_buffers_are_exhausted_leave_nothing_behind() {
    let seconds =
        std::env::var("RINGBOLT_CHURN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let bounds = ["--receive-buffers", "2", "--receive-buffer-bytes", "4KiB", "--ping-interval", "1h"];
    let server = Server::start(&[&["--cores", "0,1"], &bounds[..]].concat());
    let addresses: [SocketAddr; 2] =
        [&server.native, &server.nats].map(|text| text.parse().expect("an address"));
    let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
    let message = [b"PUB a 8000\r\n".as_slice(), &[b'x'; 8000], b"\r\n"].concat();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            // Some fill the buffers all the time.
            scope.spawn(|| {
                let mut stream = TcpStream::connect(addresses[1]).expect("it listens");
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(&message).expect("the server reads on");
                }
                reset(stream);
            });
        }
        for sender in 0..SENDERS {
            let (over, opened, message) = (&over, &opened, &message);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Some(mut stream) = connect(addresses[sender % 2]) else { continue };
                    stream.set_nonblocking(true).expect("a socket option");
                    // As much as fits, or a server that has hung up already.
                    let _ = stream.write(&message[..1 + opened.load(Ordering::Relaxed) as usize % 8000]);
                    opened.fetch_add(1, Ordering::Relaxed);
                    reset(stream);
                }
            });
        }
        thread::sleep(Duration::from_secs(seconds));
        over.store(true, Ordering::Relaxed);
    });
    let exhausted = server.metric("ringbolt_receive_buffer_exhausted_total");
    let opened = opened.load(Ordering::Relaxed);
    println!("{opened} connections, {exhausted} receives without a buffer");
    assert!(exhausted > 0.0, "the buffers did run out");
    await_some("all connections to be gone", || (server.metric("ringbolt_connections") == 0.0).then_some(()));
    let free = server.metric("ringbolt_receive_buffers_free");
    assert!(free == 4.0, "{free} buffers are free");
    // The server still serves.
    server.connect().barrier();
}
