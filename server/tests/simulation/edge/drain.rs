//! Shards that have nothing left to do, and what they have promised the others.

use ringbolt_server::config::WaitMode;
use ringbolt_server::sim::edge::{NATS, Server, Shape, Whim};
use ringbolt_server::sim::small_limits;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;

const MESSAGES: usize = 50;

/// One step of a shard and all of its kernel.
fn step(server: &mut Server, shard: usize) {
    while let Some(&first) = server.moves(shard).first() {
        server.take(shard, first, Whim::Plain);
    }
    server.hear_bell(shard);
    server.run(shard);
    server.pass(1_000_000);
}

fn connect(server: &mut Server, shard: u16, words: &str) -> usize {
    let wire = server.connect(shard, NATS);
    let hello = format!("CONNECT {{\"verbose\":false}}\r\n{words}");
    server.network.borrow_mut().write(wire, hello.as_bytes());
    wire
}

/// The other shard takes nothing until this one has done all it can.
#[test]
fn a_shard_without_clients_sends_what_it_accepted_before_it_ends() {
    let limits = Limits { mesh_ring_batches: 1, mesh_batch_bytes: 64, ..small_limits(2) };
    let (access, wait) = (Access::default(), WaitMode::Efficient);
    let mut server = Server::new(&Shape { limits, access, wait, slots: 4, proofs_waiting_max: 1, seed: 1 });
    let subscriber = connect(&mut server, 1, "SUB a 1\r\nPING\r\n");
    for _ in 0..100 {
        (0..2).for_each(|shard| step(&mut server, shard));
    }
    let publisher = connect(&mut server, 0, &"PUB a 1\r\nm\r\n".repeat(MESSAGES));
    (0..20).for_each(|_| step(&mut server, 0));
    server.network.borrow_mut().finish(publisher);
    server.drain();
    (0..200).for_each(|_| step(&mut server, 0));
    let mut heard = String::new();
    for _ in 0..3_000 {
        (0..2).for_each(|shard| step(&mut server, shard));
        let bytes = server.network.borrow_mut().read(subscriber, usize::MAX);
        heard += std::str::from_utf8(&bytes).expect("UTF-8");
        assert_eq!(server.sleeps_on_work(), None);
    }
    assert_eq!(heard.matches("MSG a 1 1\r\nm\r\n").count(), MESSAGES, "{heard}");
    assert_eq!(server.over(), (2, 0), "both shards end, and cut nobody");
}
