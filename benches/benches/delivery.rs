//! What a message costs on its way through lanes and groups: the next lane, and the member that is chosen.
//!
//! ```text
//! cargo bench --package ringbolt-benches --bench delivery
//! ```

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group};
use ringbolt_shard::lanes::{LANES, Scheduler};
use ringbolt_shard::limits::Shares;
use ringbolt_shard::random::Random;
use ringbolt_shard::work::balance::{Balance, Choice, Load};
use ringbolt_shard::work::ring::Ring;
use ringbolt_shard::{ConnectionId, HashSeed};
use std::hint::black_box;

fn balances() -> [(&'static str, Balance); 5] {
    [
        ("round-robin", Balance::RoundRobin),
        ("least outstanding", Balance::Least),
        ("latency", Balance::Latency),
        ("adaptive", Balance::Adaptive),
        ("key", Balance::Key("Key".into())),
    ]
}

fn lanes(criterion: &mut Criterion) {
    criterion.bench_function("the next of five lanes", |bencher| {
        let (mut scheduler, heads, shares) = (Scheduler::default(), [128; LANES], Shares::default());
        bencher.iter(|| {
            let lane = scheduler.next(black_box(&heads)).expect("all wait");
            scheduler.served(lane, 128, [true; LANES], shares);
        });
    });
}

/// A ring of connections with a member each, of the same number.
fn ring(members: u32) -> Ring {
    let mut ring = Ring::new(HashSeed::new(1));
    (0..members).for_each(|slot| ring.join(ConnectionId { slot, generation: 1 }, slot, slot));
    ring
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
        let ring = ring(members);
        for (name, balance) in balances() {
            let mut turn = 0;
            group.bench_function(BenchmarkId::new(name, members), |bencher| {
                let setup = || {
                    turn += 1;
                    (turn, random.number(), random.number())
                };
                let choose = |(turn, random, key)| {
                    let home = Some(ring.from(key).map(|member| member as usize));
                    let choice = Choice { count: loads.len(), turn, random, home };
                    balance.choose(choice, |place| Some(loads[place]))
                };
                bencher.iter_batched(setup, choose, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

/// How evenly a hundred thousand messages fall to equal members that are done at once, and what becomes of
/// keys when one of eight leaves: printed, for it takes no time.
fn fairness(_: &mut Criterion) {
    const MESSAGES: u64 = 100_000;
    let owners = |balance: &Balance, members: u32| -> Vec<usize> {
        let (ring, mut random) = (ring(members), Random::new(1));
        let mut owner = |number: u64| {
            let home = Some(ring.from(ring.hash(&number.to_le_bytes())).map(|member| member as usize));
            let (count, turn) = (members as usize, number as usize);
            let choice = Choice { count, turn, random: random.number(), home };
            balance.choose(choice, |_| Some(Load::default())).expect("a member")
        };
        (0..MESSAGES).map(&mut owner).collect()
    };
    for (name, balance) in balances() {
        let owners = owners(&balance, 8);
        let counts = (0..8).map(|member| owners.iter().filter(|&&owner| owner == member).count());
        let shares: Vec<f64> = counts.map(|count| 8.0 * count as f64 / MESSAGES as f64).collect();
        let (least, most) = shares
            .iter()
            .fold((f64::MAX, 0.0_f64), |(least, most), &share| (least.min(share), most.max(share)));
        println!("{name}: of a fair share, the members get {least:.2} to {most:.2}");
    }
    let key = Balance::Key("Key".into());
    let (before, after) = (owners(&key, 8), owners(&key, 7));
    let (mut moved, mut needless) = (0, 0);
    for (was, is) in before.iter().zip(&after) {
        moved += u64::from(was != is);
        needless += u64::from(was != is && *was != 7);
    }
    let share = moved as f64 / MESSAGES as f64;
    println!("one of eight leaves: {share:.3} of the keys move, {needless} of them without need");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = fairness, lanes, selection
}
fn main() {
    ringbolt_benches::drop_foreign_flags();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
