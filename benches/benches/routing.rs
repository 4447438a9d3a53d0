//! The tail of routing: a subject nobody expects, among a million subscriptions.
//!
//! ```text
//! cargo bench --package ringbolt-benches --bench routing
//! ```

use hdrhistogram::Histogram;
use ringbolt_benches::amount;
use ringbolt_protocol::subject::{Pattern, Subject};
use ringbolt_shard::HashSeed;
use ringbolt_shard::router::subjects::Subjects;
use ringbolt_shard::router::{Router, Target};
use std::hint::black_box;
use std::time::Instant;

// The allocator the server has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUBSCRIPTIONS: u32 = 1_000_000;
/// Routes kept, as the server keeps them unless it is told otherwise.
const SUBJECTS_MAX: usize = 1 << 16;
const MESSAGES: u32 = 500_000;

fn main() {
    let subscriptions = amount(SUBSCRIPTIONS, SUBSCRIPTIONS / 1000);
    let messages = amount(MESSAGES, MESSAGES / 1000);
    let mut router = Router::new(HashSeed::new(1));
    for number in 0..subscriptions / 2 {
        let target = Target { subscription: number, slot: number };
        for text in [format!("region.{number}.created"), format!("region.{number}.*")] {
            router.subscribe(Pattern::new(text.as_bytes()).expect("a pattern"), None, target);
        }
    }
    println!("{subscriptions} subscriptions, half of them wildcards; subject to route, ns");
    println!("{:<52} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9");
    for (name, among) in [
        ("random subjects, fewer than routes are kept", SUBJECTS_MAX as u32 / 2),
        ("random subjects, far more than routes are kept", subscriptions / 2),
    ] {
        let mut subjects = Subjects::new(HashSeed::new(1), SUBJECTS_MAX, 1 << 30);
        let mut times = Histogram::<u64>::new(3).expect("three digits");
        let mut random = 1u64;
        for message in 0..2 * messages {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let text = format!("region.{}.created", (random >> 33) as u32 % among);
            let start = Instant::now();
            let id = subjects.resolve(Subject::new(text.as_bytes()).expect("a subject"));
            black_box(subjects.route(id, &router).2.plain.len());
            let nanos = start.elapsed().as_nanos() as u64;
            if message >= messages {
                times.record(nanos).expect("the histogram grows");
            }
        }
        let at = |share: f64| times.value_at_quantile(share);
        println!("{name:<52} {:>8} {:>8} {:>8}", at(0.5), at(0.99), at(0.999));
    }
}
