//! Microbenchmarks of ringbolt's structures: `cargo bench --package ringbolt-benches`. `cargo test` runs each
//! of them once, with little to do.

/// Whether `cargo bench` runs this program; otherwise `cargo test` does, to see that it still works.
pub fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// How much there is to do: `full` to measure, `little` to see that it works.
pub fn amount<T>(full: T, little: T) -> T {
    if measures() { full } else { little }
}
