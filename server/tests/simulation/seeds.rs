//! Which seeds a simulation runs: `RINGBOLT_SEED=n` one, `RINGBOLT_SEEDS=n` so many.

use std::ops::Range;

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The seeds asked for, or as many as the simulation runs by itself.
pub fn range(most: u64) -> Range<u64> {
    match number("RINGBOLT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGBOLT_SEEDS").unwrap_or(most),
    }
}
