//! What a message costs on its way through lanes and groups: the next lane, and the member that is chosen.
//!
//! ```text
//! cargo bench --package ringbolt-benches --bench delivery
//! ```

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ringbolt_server::limits::Shares;
use ringbolt_server::shard::lanes::{LANES, Scheduler};
use ringbolt_server::shard::random::Random;
use ringbolt_server::shard::work::balance::{Balance, Choice, Load, Ring};
use std::hint::black_box;

fn lanes(criterion: &mut Criterion) {
    criterion.bench_function("the next of five lanes", |bencher| {
        let (mut scheduler, heads, shares) = (Scheduler::default(), [128; LANES], Shares::default());
        bencher.iter(|| {
            let lane = scheduler.next(black_box(&heads)).expect("all wait");
            scheduler.served(lane, 128, [true; LANES], shares);
        });
    });
}

fn selection(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a member of a group");
    for members in [8, 64] {
        let mut random = Random::new(1);
        let load = |random: &mut Random| Load {
            outstanding: random.below(60),
            latency_nanos: u64::from(random.below(1_000_000)),
            reported_percent: random.below(100) as u8,
        };
        let loads: Vec<Load> = (0..members).map(|_| load(&mut random)).collect();
        let ring = Ring::new(0..members);
        for (name, balance) in [
            ("round-robin", Balance::RoundRobin),
            ("least outstanding", Balance::Least),
            ("latency", Balance::Latency),
            ("adaptive", Balance::Adaptive),
            ("key", Balance::Key("Key".into())),
        ] {
            let mut turn = 0;
            group.bench_function(BenchmarkId::new(name, members), |bencher| {
                let setup = || {
                    turn += 1;
                    (turn, random.number(), random.number())
                };
                let choose = |(turn, random, key)| {
                    let choice = Choice { ring: &ring, turn, random, key: Some(key) };
                    balance.choose(loads.len(), &choice, |place| Some(loads[place]))
                };
                bencher.iter_batched(setup, choose, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = lanes, selection
}
criterion_main!(benches);
