//! A whole publish through the pure shard: received bytes to bytes ready to be sent.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::control::SlowConsumer;
use ringbolt_protocol::native::encode;
use ringbolt_server::access::Access;
use ringbolt_server::limits::Limits;
use ringbolt_server::shard::{ConnectionId, Effects, Event, Nanos, Opening, ServerIdentity, Shard};
use ringbolt_server::sim::{SimClient, small_limits};

const BATCH: u64 = 64;

fn shard() -> Shard {
    let limits = Limits {
        outbox_bytes_max: 8 << 20,
        outbox_segment_bytes: 64 << 10,
        shared_payload_bytes_min: 8 << 10,
        connections_max: 4096,
        ..small_limits(1)
    };
    let identity = ServerIdentity {
        server_id: String::new(),
        server_name: String::new(),
        version: String::new(),
        reply_key: (0, 0),
        nats: None,
    };
    Shard::new(0, &limits, &Access::default(), identity, 1, 2)
}

fn say(shard: &mut Shard, id: ConnectionId, bytes: &[u8]) {
    let mut effects = Effects::default();
    shard.handle(Nanos(1), Event::Bytes(id, bytes), &mut effects);
    let mut segments = Vec::new();
    for id in effects.send.drain(..) {
        shard.take_segments(Nanos(1), id, &mut segments);
        segments.drain(..).for_each(|segment| shard.recycle(segment));
        shard.handle(Nanos(1), Event::Sent(id), &mut Effects::default());
    }
}

fn connect(shard: &mut Shard, slot: u32, subscribes: bool) -> ConnectionId {
    let id = ConnectionId { slot, generation: 1 };
    shard.handle(Nanos(1), Event::Opened(id, Opening::NATIVE), &mut Effects::default());
    let mut client = SimClient::default();
    client.hello();
    client.intern(1, "orders.eu");
    if subscribes {
        client.subscribe(1, "orders.eu", None, SlowConsumer::Default);
    }
    say(shard, id, &client.take_written());
    id
}

fn publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish through a shard");
    for (receivers, payload_bytes) in [(0, 16), (1, 16), (1, 1024), (16, 128), (1000, 128)] {
        let mut shard = shard();
        let publisher = connect(&mut shard, 0, false);
        for slot in 1..=receivers {
            connect(&mut shard, slot, true);
        }
        let payload = vec![1; payload_bytes];
        let mut frames = Vec::new();
        for _ in 0..BATCH {
            let publish = Publish {
                flags: Flags::default(),
                timestamp_nanos: 1,
                correlation_id: 0,
                subject: SubjectRef::Interned(1),
                reply: None,
                header_bytes: 0,
                payload: &payload,
            };
            encode::publish(&mut frames, &publish);
        }
        group.throughput(Throughput::Elements(BATCH * u64::from(receivers.max(1))));
        let name = format!("to {receivers}");
        group.bench_function(BenchmarkId::new(name, payload_bytes), |bencher| {
            bencher.iter(|| say(&mut shard, publisher, &frames));
        });
    }
}

criterion_group!(benches, publishes);
criterion_main!(benches);
