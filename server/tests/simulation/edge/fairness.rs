//! Who is read from when there are fewer buffers than senders.

use ringbolt_server::config::WaitMode;
use ringbolt_server::sim::edge::{NATS, Server, Shape, Whim};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;

const SENDERS: usize = 12;
const BUFFERS: u16 = 2;
const BUFFER_BYTES: usize = 64;
const BUFFERS_EACH: usize = 20;

/// Every sender has more to say than one buffer takes, all the time.
#[test]
fn senders_without_a_buffer_are_served_in_turn() {
    let small = small_limits(1);
    let limits = Limits { receive_buffers: BUFFERS, receive_buffer_bytes: BUFFER_BYTES as u32, ..small };
    let (access, wait) = (Access::default(), WaitMode::Efficient);
    let mut server =
        Server::new(&Shape { limits, access, wait, slots: SENDERS, proofs_waiting_max: 1, seed: 1 });
    let wires: Vec<usize> = (0..SENDERS).map(|_| server.connect(0, NATS)).collect();
    let settle = |server: &mut Server| {
        for _ in 0..100 {
            while let Some(&first) = server.moves(0).first() {
                server.take(0, first, Whim::Plain);
            }
            server.run(0);
            server.pass(1_000);
        }
    };
    settle(&mut server);
    let said = "+OK\r\n".repeat(2 * SENDERS * BUFFERS_EACH * BUFFER_BYTES / 5);
    for &wire in &wires {
        server.network.borrow_mut().write(wire, said.as_bytes());
    }
    let rounds = SENDERS * BUFFERS_EACH / usize::from(BUFFERS);
    for _ in 0..rounds {
        server.network.borrow_mut().receive_in_turn(0);
        while server.run(0) {}
    }
    let taken = |wire: &usize| said.len() - server.network.borrow().unreceived(*wire);
    let taken: Vec<usize> = wires.iter().map(|wire| taken(wire) / BUFFER_BYTES).collect();
    let fair = taken.iter().all(|buffers| buffers.abs_diff(BUFFERS_EACH) <= 2);
    assert!(fair, "buffers by sender: {taken:?}");
}
