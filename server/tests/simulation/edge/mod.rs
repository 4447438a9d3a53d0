//! The loops that serve, in simulated time: random clients of both dialects over a kernel that completes
//! operations in any order and any portions, runs out of buffers and slots, and fails accepts. An oracle
//! knows what was promised.
//!
//! `RINGBOLT_SEED=n` repeats one run and tells its steps; `RINGBOLT_SEEDS=n` runs so many.

mod capture;
mod client;
mod drain;
mod ending;
mod fairness;
mod hostile;
mod log;
mod offload;
mod opening;
mod oracle;
mod run;

use crate::seeds;
use ending::Outcome;
use ringbolt_server::sim::edge::Sabotage;
use run::Run;

const SEEDS: u64 = 3000;

/// Runs one seed. Returns what went wrong.
fn run(seed: u64, sabotage: Option<Sabotage>) -> Result<Outcome, String> {
    let mut run = Run::new(seed, sabotage.is_some());
    if let Some(sabotage) = sabotage {
        run.sabotage(sabotage);
    }
    run.play()
}

#[test]
fn promises_hold_whatever_the_kernel_does() {
    if let Some(seed) = seeds::number("RINGBOLT_SEED") {
        run(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        return;
    }
    let seeds = seeds::number("RINGBOLT_SEEDS").unwrap_or(SEEDS);
    let mut seen = Outcome::default();
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, None));
        match outcome {
            Ok(Ok(outcome)) => seen.add(&outcome),
            Ok(Err(error)) => panic!("seed {seed}: {error}; repeat with RINGBOLT_SEED={seed}"),
            Err(_) => panic!("seed {seed} panicked: repeat with RINGBOLT_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {seen:?}");
    assert!(seeds < SEEDS || seen.is_thorough(), "the runs reach what they are for: {seen:?}");
}

#[test]
fn the_oracle_notices_what_is_done_wrong_on_purpose() {
    for sabotage in [Sabotage::LoseABatch, Sabotage::DelayABatch, Sabotage::ForgetAWake] {
        // A shard may notice by itself, and panic.
        let fails =
            |&seed: &u64| std::panic::catch_unwind(|| run(seed, Some(sabotage)).is_err()).unwrap_or(true);
        let noticed = (0..100).filter(fails).count();
        println!("{sabotage:?}: {noticed} of 100");
        assert!(noticed >= 10, "{sabotage:?} is noticed");
    }
}
