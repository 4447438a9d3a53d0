//! Microbenchmarks of ringbolt's structures: `cargo bench --package ringbolt-benches`.
