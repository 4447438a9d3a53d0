//! The highest open-loop rate whose response P99 stays under the objective.

use crate::engine;
use crate::histogram::quantile;
use crate::judge::judge;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::targets::Target;
use crate::workload::{Pacing, Ramp, Workload};
use ringbolt_ring::Address;

/// The search ends when the bounds are this close.
const RESOLUTION: f64 = 0.05;
/// Fewer have no P99 that could be stated.
const P99_MESSAGES_MIN: f64 = 1000.0;
const TRIALS_MAX: u32 = 24;
/// The rate found must hold this many times in a row.
const CONFIRMATIONS: u32 = 2;

/// Doubles until a run fails, halves the gap, then confirms. Returns the best run.
pub fn search(
    workload: &Workload,
    address: &Address,
    slo_nanos: u64,
    server_pid: Option<u32>,
    reporter: &mut Reporter,
) -> Result<RunResult, String> {
    let Pacing::Open { rate, poisson } = workload.pacing else {
        return Err("--find-max searches open-loop rates".to_owned());
    };
    let seconds = workload.duration.as_secs_f64();
    let trial = |rate: f64, reporter: &mut Reporter| -> Result<RunResult, String> {
        if rate * seconds < P99_MESSAGES_MIN {
            return Err(format!(
                "{rate:.0} messages a second for {seconds} s are too few for a P99: make --duration longer"
            ));
        }
        let pacing = Pacing::Open { rate: Ramp::constant(rate), poisson };
        let workload = Workload { pacing, ..workload.clone() };
        let outcome = engine::run(&workload, address, server_pid, reporter)?;
        let run = judge(&workload, address, &outcome, &[Target::response_p99(slo_nanos)]);
        let p99 = quantile(&outcome.recorder.total.response, 0.99);
        let p99 = p99.map_or("-".to_owned(), |p99| format!("{:.1} µs", p99 as f64 / 1e3));
        let word = if run.verdict.pass { "holds" } else { "fails" };
        reporter.say(&format!("{rate:12.0} msg/s  p99 {p99:>12}  {word}"));
        Ok(run)
    };
    let (mut holds, mut fails) = (None::<RunResult>, None::<f64>);
    let mut rate = rate.end.max(1000.0);
    for _ in 0..TRIALS_MAX {
        let run = trial(rate, reporter)?;
        if run.verdict.pass {
            holds = Some(run);
        } else {
            fails = Some(rate);
        }
        let lower = holds.as_ref().and_then(|run| run.workload.rate_asked);
        rate = match (lower, fails) {
            (Some(lower), Some(upper)) if upper / lower <= 1.0 + RESOLUTION => {
                let mut confirmed = 0;
                while confirmed < CONFIRMATIONS && trial(lower, reporter)?.verdict.pass {
                    confirmed += 1;
                }
                if confirmed == CONFIRMATIONS {
                    break;
                }
                // It held by luck: a little lower.
                holds = None;
                fails = Some(lower);
                lower * (1.0 - RESOLUTION)
            }
            (Some(lower), Some(upper)) => (lower + upper) / 2.0,
            (Some(lower), None) => lower * 2.0,
            (None, Some(upper)) if upper > 100.0 => upper / 2.0,
            _ => return Err("not even 100 messages a second hold the objective".to_owned()),
        };
    }
    holds.ok_or_else(|| "no rate held the objective in the trials allowed".to_owned())
}
