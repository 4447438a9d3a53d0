//! Whatever one client does, the others do not notice.

use crate::client::{Client, publish_frame};
use crate::server::Server;
use std::net::Shutdown;

const MESSAGES: u32 = 2_000;
const LARGE: usize = 64 << 10;

/// A publisher and a subscriber on different shards, who check that nothing is lost between them.
struct Flow {
    publisher: Client,
    subscriber: Client,
    next: u32,
}

impl Flow {
    fn new(server: &Server) -> Flow {
        let mut subscriber = server.connect_to_shard(1);
        subscriber.subscribe("steady", None);
        Flow { publisher: server.connect_to_shard(0), subscriber, next: 0 }
    }

    fn run(&mut self) {
        let mut batch = Vec::new();
        for number in self.next..self.next + MESSAGES {
            batch.extend(publish_frame("steady", None, 0, &number.to_le_bytes()));
        }
        self.publisher.write(&batch);
        for number in self.next..self.next + MESSAGES {
            assert_eq!(self.subscriber.delivery().payload, number.to_le_bytes());
        }
        self.next += MESSAGES;
    }
}

type Misbehave = fn(&Server, u16) -> Option<Client>;

/// Each on either shard; a client given back stays connected while the flow goes on.
const MISBEHAVIOURS: &[(&str, Misbehave)] = &[
    ("says nothing", |server, _| Some(Client::silent(&server.native))),
    ("is reset", |server, shard| {
        server.connect_to_shard(shard).reset();
        None
    }),
    ("is reset in the middle of a frame", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        client.write(&publish_frame("steady.not", None, 0, &[1; 1000])[..500]);
        client.reset();
        None
    }),
    ("stops in the middle of a frame", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        client.write(&publish_frame("steady.not", None, 0, &[1; 1000])[..500]);
        Some(client)
    }),
    ("closes half", |server, shard| {
        let client = server.connect_to_shard(shard);
        client.tcp().shutdown(Shutdown::Write).expect("shuts");
        Some(client)
    }),
    ("sends garbage", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        client.write(&[0x55; 4096]);
        Some(client)
    }),
    ("subscribes to everything and never reads", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        client.subscribe(">", None);
        Some(client)
    }),
    ("dies with messages waiting for it", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        client.subscribe("flood", None);
        let mut publisher = server.connect();
        (0..16).for_each(|_| publisher.publish("flood", &vec![7; LARGE]));
        publisher.barrier();
        client.reset();
        None
    }),
    ("publishes to nobody as fast as it can", |server, shard| {
        let mut client = server.connect_to_shard(shard);
        let frame = publish_frame("void", None, 0, &[3; 100]);
        client.write(&frame.repeat(20_000));
        Some(client)
    }),
];

#[test]
fn killing_or_stalling_any_client_changes_nothing_for_another_one() {
    let server = Server::start(&["--cores", "0,1", "--outbox-bytes-max", "4MiB"]);
    let mut flow = Flow::new(&server);
    flow.run();
    let mut stalled = Vec::new();
    for (name, misbehave) in MISBEHAVIOURS {
        for shard in [0, 1] {
            eprintln!("a client of shard {shard} {name}");
            stalled.extend(misbehave(&server, shard));
            flow.run();
        }
    }
    // Those who never read are cut once their outbox is full; until then and after it the flow goes on.
    let mut publisher = server.connect();
    for _ in 0..400 {
        publisher.publish("flood", &vec![1; LARGE]);
        publisher.publish("other", &vec![1; LARGE]);
    }
    flow.run();
    server.await_metric("ringbolt_connections_closed_total{reason=\"slow_consumer\"", |count| count == 2.0);
    flow.run();
    assert!(server.metric("ringbolt_messages_dropped_total{reason=\"connection_ended\"") > 0.0);
    assert_eq!(server.metric("ringbolt_messages_dropped_total{reason=\"mesh_full\""), 0.0);
}
