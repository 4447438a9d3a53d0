//! Frames of the native dialect, written and read; subjects checked.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ringbolt_protocol::command::{Flags, Publish, SubjectRef};
use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::native::decode::{DecodeLimits, decode_frame};
use ringbolt_protocol::native::encode;
use ringbolt_protocol::subject::Subject;
use std::hint::black_box;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };

fn publish<'a>(subject: SubjectRef<'a>, payload: &'a [u8]) -> Publish<'a> {
    Publish {
        flags: Flags::default(),
        timestamp_nanos: 1,
        correlation_id: 2,
        subject,
        reply: None,
        header_bytes: 0,
        payload,
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish frame");
    group.throughput(Throughput::Elements(1));
    for (name, subject) in
        [("number", SubjectRef::Interned(7)), ("text", SubjectRef::Literal(b"orders.eu.created.v1"))]
    {
        for bytes in [16, 1024] {
            let payload = vec![1; bytes];
            let mut out = Vec::with_capacity(2048);
            group.bench_function(BenchmarkId::new(format!("encode, {name}"), bytes), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    encode::publish(&mut out, black_box(&publish(subject, &payload)));
                });
            });
            group.bench_function(BenchmarkId::new(format!("decode, {name}"), bytes), |bencher| {
                bencher.iter(|| black_box(decode_frame(black_box(&out), &LIMITS)).is_ok());
            });
        }
    }
}

fn subjects(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subject check");
    group.throughput(Throughput::Elements(1));
    for text in ["a", "orders.eu.created.v1", &"token.".repeat(20)[..119]] {
        group.bench_function(BenchmarkId::from_parameter(text.len()), |bencher| {
            bencher.iter(|| Subject::new(black_box(text.as_bytes())).is_ok());
        });
    }
}

criterion_group!(benches, frames, subjects);
fn main() {
    ringbolt_benches::drop_foreign_flags();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
