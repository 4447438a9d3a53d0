//! What a turn pays for having neighbours: looking at the inbound rings of a mesh, all of them empty.

use criterion::{BenchmarkId, Criterion, criterion_group};
use ringbolt_ring::Doorbell;
use ringbolt_server::io::mesh;
use ringbolt_server::io::platform::Mesh;
use ringbolt_server::sim::small_limits;
use std::hint::black_box;

fn looks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a look at every inbound ring");
    for shards in [2usize, 16, 64, 128] {
        let mut ends = mesh::connect(&small_limits(shards), Doorbell::new).expect("eventfds");
        let own = &mut ends[0];
        group.bench_function(BenchmarkId::new("shards", shards), |bencher| {
            bencher.iter(|| {
                for from in 0..own.shards() {
                    black_box(own.receive(from).is_some());
                }
            });
        });
    }
}

criterion_group!(benches, looks);
fn main() {
    ringbolt_benches::drop_foreign_flags();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
