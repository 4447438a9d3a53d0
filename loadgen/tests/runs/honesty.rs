//! A generator that cannot be fooled: not by a server that stalls, nor by one that errs.

use crate::liar::{Fault, start};
use crate::support::{WHATEVER_RATE, loadgen, short_run};
use hdrhistogram::Histogram;
use std::time::Duration;

const RATE: u64 = 1000;
const FREEZE: Duration = Duration::from_millis(400);

/// Share of samples above `nanos`.
fn share_above(histogram: &Histogram<u64>, nanos: u64) -> f64 {
    histogram.count_between(nanos, u64::MAX) as f64 / histogram.len() as f64
}

fn against(fault: Fault, arguments: &[&str]) -> (ringbolt_loadgen::result::RunResult, Option<i32>) {
    let address = start(fault);
    let fixed = ["--dialect", "nats", "--address", &address, "-p", "1", "-s", "1"];
    let (run, finished) = short_run(&[&fixed[..], arguments, &WHATEVER_RATE].concat());
    (run, finished.code)
}

#[test]
fn a_stall_is_seen_by_every_message_that_was_due_in_it() {
    // Due every millisecond for two seconds; the server stands still for 0.4 of them. A message due at
    // time t of the stall waits for the rest of it: three quarters of them wait above 0.1 s.
    let fault = Fault::Freeze(Duration::from_millis(800), FREEZE);
    let (open, code) = against(fault, &["-r", &RATE.to_string(), "--duration", "2s"]);
    assert_eq!(code, Some(0), "late, but nothing is lost");
    let response = open.latency.decode().expect("histograms").response;
    let share = share_above(&response, 100_000_000);
    assert!((0.1..0.6).contains(&share), "about 0.15 of the messages waited above 0.1 s: {share}");
    assert!(response.max() >= FREEZE.as_nanos() as u64);

    // A closed loop sends nothing while it waits, and sees the stall once: that is the omission.
    let (closed, _) = against(fault, &["--closed", "--duration", "2s"]);
    let response = closed.latency.decode().expect("histograms").response;
    // A busy machine may keep others waiting too, but not for as long.
    let nearly = FREEZE.as_nanos() as u64 * 3 / 4;
    assert_eq!(response.count_between(nearly, u64::MAX), 1);
}

#[test]
fn what_a_server_does_wrong_is_counted_by_kind_and_fails_the_run() {
    type Count = fn(&ringbolt_loadgen::result::Counts) -> u64;
    let cases: [(Fault, Count, &str); 5] = [
        (Fault::None, |_| 1, ""),
        (Fault::Lose(300), |counts| counts.lost, "lost"),
        (Fault::Duplicate(300), |counts| counts.duplicated, "duplicates"),
        (Fault::Swap(300), |counts| counts.reordered, "out of order"),
        (Fault::Corrupt(300), |counts| counts.corrupted, "not as sent"),
    ];
    for (fault, count, words) in cases {
        let (run, code) = against(fault, &["-r", &RATE.to_string(), "-k", "1"]);
        assert_eq!(count(&run.counts), 1, "{fault:?}: {:?}", run.counts);
        let fails = fault != Fault::None;
        assert_eq!(code, Some(i32::from(fails)), "{fault:?}");
        assert_eq!(run.verdict.pass, !fails);
        assert!(run.verdict.reasons.iter().any(|reason| reason.contains(words)) == fails, "{fault:?}");
    }
}

#[test]
fn a_rate_that_was_not_reached_fails_the_run_and_the_generator_says_that_it_was_the_bottleneck() {
    let (run, finished) = short_run(&["-r", "400M", "-p", "1", "-s", "1", "--payload", "16"]);
    assert_eq!(finished.code, Some(1));
    assert!(run.verdict.reasons.iter().any(|reason| reason.contains("400000000 asked")), "{:?}", run.verdict);
    assert!(run.verdict.warnings.iter().any(|words| words.contains("bottleneck")), "{:?}", run.verdict);
    assert!(run.usage.generator_busy_share > 0.9);
}

#[test]
fn percentiles_that_the_samples_cannot_support_are_not_stated() {
    let finished = loadgen(&["-r", "500", "-d", "1s", "--warm-up", "100ms", "--quiet"]);
    let line = finished.stdout.lines().find(|line| line.trim().starts_with("p99.99 ")).expect("a row");
    assert!(line.contains(" - "), "{line}");
    assert!(finished.stdout.contains("cannot be stated"));
}
