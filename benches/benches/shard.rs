//! A whole publish through the pure shard: received bytes to bytes ready to be sent.

mod core;

use self::core::Core;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::native::encode;

const BATCH: u64 = 64;

fn publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish through a shard");
    for (receivers, payload_bytes) in [(0, 16), (1, 16), (1, 1024), (16, 128), (1000, 128)] {
        let mut core = Core::new();
        let publisher = core.connect(0, false, false);
        for slot in 1..=receivers {
            core.connect(slot, true, false);
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
            bencher.iter(|| core.say(publisher, &frames));
        });
    }
}

fn nats_publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("NATS publish through a shard");
    for (receivers, payload_bytes) in [(0, 16), (1, 16), (1, 1024), (16, 128), (1000, 128)] {
        let mut core = Core::new();
        let publisher = core.connect_nats(0, "");
        for slot in 1..=receivers {
            core.connect_nats(slot, "SUB orders.eu 1\r\n");
        }
        let message = format!("PUB orders.eu {payload_bytes}\r\n{}\r\n", "x".repeat(payload_bytes));
        let input = message.repeat(BATCH as usize);
        group.throughput(Throughput::Elements(BATCH * u64::from(receivers.max(1))));
        let name = format!("to {receivers}");
        group.bench_function(BenchmarkId::new(name, payload_bytes), |bencher| {
            bencher.iter(|| core.say(publisher, input.as_bytes()));
        });
    }
}

/// From the publisher's shard to a subscriber of the other one, without the way between.
fn crossing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("NATS publish through two shards");
    let mut pair = Core::pair();
    let publisher = pair[0].connect_nats(0, "");
    pair[1].connect_nats(0, "SUB orders.eu 1\r\n");
    Core::meet(&mut pair);
    let [from, to] = &mut pair;
    for payload_bytes in [16, 1024] {
        let message = format!("PUB orders.eu {payload_bytes}\r\n{}\r\n", "x".repeat(payload_bytes));
        let input = message.repeat(BATCH as usize);
        group.throughput(Throughput::Elements(BATCH));
        group.bench_function(BenchmarkId::new("to 1", payload_bytes), |bencher| {
            bencher.iter(|| {
                from.say(publisher, input.as_bytes());
                from.take_batches(1, |batch| to.receive(0, &batch));
            });
        });
    }
}

criterion_group!(benches, publishes, nats_publishes, crossing);
fn main() {
    ringbolt_benches::drop_foreign_flags();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
