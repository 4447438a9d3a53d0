//! Routes: cached, computed, and subscriptions coming and going, with many of them in place.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ringbolt_benches::amount;
use ringbolt_protocol::subject::{Pattern, Subject};
use ringbolt_shard::HashSeed;
use ringbolt_shard::router::subjects::Subjects;
use ringbolt_shard::router::{Route, Router, Target};
use std::hint::black_box;

const SUBJECTS: u32 = 1000;

/// Half exact, half with a wildcard; each subject matches one of each.
fn router(subscriptions: u32) -> Router {
    let mut router = Router::new(HashSeed::new(1));
    for number in 0..subscriptions / 2 {
        let target = Target { subscription: number, slot: number };
        for text in [format!("region.{number}.created"), format!("region.{number}.*")] {
            router.subscribe(Pattern::new(text.as_bytes()).expect("a pattern"), None, target);
        }
    }
    router
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(1));
    let texts: Vec<String> = (0..SUBJECTS).map(|number| format!("region.{}.created", number * 7)).collect();
    for subscriptions in amount([10_000, 1_000_000], [100, 1000]) {
        let mut router = router(subscriptions);
        let mut subjects = Subjects::new(HashSeed::new(1), 1 << 16, 1 << 30);
        let mut next = texts.iter().cycle();
        group.bench_function(BenchmarkId::new("by text, cached", subscriptions), |bencher| {
            bencher.iter(|| {
                let subject = Subject::new(next.next().expect("endless").as_bytes()).expect("a subject");
                let id = subjects.resolve(subject);
                black_box(subjects.route(id, &router).2.is_empty())
            });
        });
        let ids: Vec<_> = texts
            .iter()
            .map(|text| subjects.resolve(Subject::new(text.as_bytes()).expect("a subject")))
            .collect();
        let mut next_id = ids.iter().cycle();
        group.bench_function(BenchmarkId::new("by number, cached", subscriptions), |bencher| {
            bencher.iter(|| {
                let id = *next_id.next().expect("endless");
                black_box(subjects.route(id, &router).2.is_empty())
            });
        });
        let mut route = Route::default();
        group.bench_function(BenchmarkId::new("computed", subscriptions), |bencher| {
            bencher.iter(|| {
                let subject = Subject::new(next.next().expect("endless").as_bytes()).expect("a subject");
                router.match_into(subject, &mut route);
                black_box(route.is_empty())
            });
        });
        let target = Target { subscription: u32::MAX, slot: 0 };
        let pattern = Pattern::new(b"region.5.*.more").expect("a pattern");
        group.bench_function(BenchmarkId::new("subscribe and unsubscribe", subscriptions), |bencher| {
            bencher.iter(|| {
                router.subscribe(pattern, None, target);
                router.unsubscribe(pattern, None, target)
            });
        });
    }
}

criterion_group!(benches, routes);
fn main() {
    ringbolt_benches::drop_foreign_flags();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
