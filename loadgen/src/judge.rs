//! From what was measured to a result: counts, rates, verdict.

use crate::engine::Outcome;
use crate::histogram::quantile;
use crate::host::Fingerprint;
use crate::result::{
    Counts, Histograms, Interval, Lane, MemberCounts, Rates, RunResult, SCHEMA_VERSION, ServerUsage, Usage,
    Verdict, WorkloadSummary, encode,
};
use crate::targets::Target;
use crate::workload::{LANES, Pacing, Workload};
use ringbolt_protocol::command::Priority;
use ringbolt_ring::Address;

/// A run that sent less than this share of what was asked missed its rate.
const RATE_SHARE_MIN: f64 = 0.99;
/// And this many standard deviations less where arrivals are a matter of chance.
const DEVIATIONS_MAX: f64 = 4.0;
/// Above this share of the response P99.9, the generator's own lateness explains the tail.
const LATENESS_SHARE_MAX: f64 = 0.2;
/// A driver with less idle time than this leaves has its own queue.
const BUSY_SHARE_MAX: f64 = 0.9;

/// `targets`: what a run must hold beside its rate.
pub fn judge(workload: &Workload, address: &Address, outcome: &Outcome, targets: &[Target]) -> RunResult {
    let recorder = &outcome.recorder;
    let seconds = (outcome.window.stop - outcome.window.start) as f64 / 1e9;
    let counts = Counts {
        sent: recorder.sent,
        expected: recorder.expected,
        delivered: recorder.delivered,
        lost: recorder.expected.saturating_sub(recorder.delivered),
        duplicated: recorder.faults.duplicated,
        reordered: recorder.faults.reordered,
        corrupted: recorder.faults.corrupted,
        refused: recorder.refused,
        disconnects: recorder.disconnects,
        overflow: recorder.total.overflow,
        negative: recorder.total.negative,
    };
    let rates = Rates {
        sent_per_second: recorder.sent_measured as f64 / seconds,
        delivered_per_second: recorder.delivered_measured as f64 / seconds,
        delivered_bytes_per_second: recorder.delivered_bytes_measured as f64 / seconds,
        seconds,
    };
    let verdict = verdict(workload, outcome, &counts, &rates);
    let mut run = RunResult {
        schema_version: SCHEMA_VERSION,
        name: workload.name.clone(),
        started_unix_millis: outcome.started_unix_millis,
        command_line: std::env::args().collect(),
        workload: summary(workload, address),
        counts,
        rates,
        verdict,
        latency: Histograms::of(&recorder.total),
        lanes: lanes(workload, outcome),
        members: members(workload, outcome),
        intervals: intervals(outcome),
        usage: usage(outcome),
        host: Fingerprint::gather(),
    };
    for target in targets.iter().map(|target| target.look(&run)).collect::<Vec<_>>() {
        if !target.pass {
            run.verdict.reasons.push(format!("{}: {}", target.asked, target.seen));
            run.verdict.pass = false;
        }
        run.verdict.targets.push(target);
    }
    run
}

fn verdict(workload: &Workload, outcome: &Outcome, counts: &Counts, rates: &Rates) -> Verdict {
    let mut verdict = Verdict::default();
    let mut fail = |wrong: bool, reason: String| {
        if wrong {
            verdict.reasons.push(reason);
        }
    };
    let words = outcome.recorder.last_words.as_deref().unwrap_or("no reason given");
    let lost = losses(workload, outcome, counts);
    fail(lost.is_some(), lost.unwrap_or_default());
    // Where members fail on purpose, every message comes at least once.
    let twice = counts.duplicated > 0 && !workload.members.fails();
    fail(twice, format!("{} deliveries were duplicates", counts.duplicated));
    fail(counts.reordered > 0, format!("{} deliveries were out of order", counts.reordered));
    fail(counts.corrupted > 0, format!("{} payloads were not as sent", counts.corrupted));
    fail(counts.refused > 0, format!("the server refused {} times: {words}", counts.refused));
    fail(counts.disconnects > 0, format!("{} connections were lost: {words}", counts.disconnects));
    fail(counts.delivered == 0, "nothing was delivered".to_owned());
    fail(counts.overflow > 0, format!("{} latencies exceed what a histogram holds", counts.overflow));
    if let (Pacing::Open { rate, poisson }, None) = (workload.pacing, workload.count) {
        let asked = mean_rate(rate, outcome);
        // The number of independent arrivals has its square root as standard deviation.
        let chance = if poisson { DEVIATIONS_MAX / (asked * rates.seconds).max(1.0).sqrt() } else { 0.0 };
        let missed = rates.sent_per_second < (RATE_SHARE_MIN - chance) * asked;
        fail(missed, format!("sent {:.0} messages a second of {asked:.0} asked", rates.sent_per_second));
    }
    let response = &outcome.recorder.total.response;
    verdict.pass = verdict.reasons.is_empty();
    let lateness = quantile(&outcome.recorder.total.lateness, 0.999);
    if let (Some(lateness), Some(response)) = (lateness, quantile(response, 0.999))
        && lateness as f64 > LATENESS_SHARE_MAX * response as f64
    {
        verdict.warnings.push(format!(
            "the generator was the bottleneck in the tail: its own lateness P99.9 is {:.1} µs of \
             {:.1} µs response",
            lateness as f64 / 1e3,
            response as f64 / 1e3
        ));
    }
    let busy = outcome.recorder.busy_share_max;
    if busy > BUSY_SHARE_MAX {
        verdict.warnings.push(format!(
            "the generator was the bottleneck: a driver was busy {:.0} % of the time; the server may be \
             faster than shown",
            100.0 * busy
        ));
    }
    if counts.negative > 0 {
        verdict
            .warnings
            .push(format!("{} messages arrived before they were sent: clocks differ", counts.negative));
    }
    verdict
}

/// What is missing that may not be.
fn losses(workload: &Workload, outcome: &Outcome, counts: &Counts) -> Option<String> {
    if !workload.may_shed {
        let words = format!("{} of {} deliveries were lost", counts.lost, counts.expected);
        return (counts.lost > 0).then_some(words);
    }
    let lanes = lanes(workload, outcome);
    let most = lanes.first()?;
    let missing = most.expected.saturating_sub(most.delivered);
    let words = format!("{missing} of {} deliveries in the {} lane were lost", most.expected, most.name);
    (missing > 0).then_some(words)
}

/// The lanes that were asked for, by importance.
fn lanes(workload: &Workload, outcome: &Outcome) -> Vec<Lane> {
    let asked = LANES.iter().filter(|(_, priority)| workload.lanes.contains(priority));
    let lane = |&(name, priority): &(&str, Priority)| {
        let record = &outcome.recorder.lanes[priority as usize];
        let (expected, delivered) = (record.expected, record.delivered);
        let done = workload.members.takes_time().then(|| encode(&record.done));
        Lane { name: name.to_owned(), expected, delivered, response: encode(&record.response), done }
    };
    asked.map(lane).collect()
}

fn members(workload: &Workload, outcome: &Outcome) -> Option<MemberCounts> {
    let record = &outcome.recorder.members;
    workload.members.group.contains(";ack").then_some(MemberCounts {
        acknowledged: record.acknowledged,
        refused: record.refused,
        unanswered: record.unanswered,
        keys: workload.members.keys,
        moved: record.moved,
    })
}

/// The mean of the asked rate over the measured part.
fn mean_rate(rate: crate::workload::Ramp, outcome: &Outcome) -> f64 {
    const STEPS: u32 = 1000;
    let (start, stop) = (outcome.window.start as f64 / 1e9, outcome.window.stop as f64 / 1e9);
    let at = |step: u32| start + (stop - start) * (f64::from(step) + 0.5) / f64::from(STEPS);
    (0..STEPS).map(|step| rate.at(at(step))).sum::<f64>() / f64::from(STEPS)
}

fn summary(workload: &Workload, address: &Address) -> WorkloadSummary {
    let (pacing, rate_asked, window) = match workload.pacing {
        Pacing::Open { rate, .. } => ("open", Some(rate.end), None),
        Pacing::Closed { window } => ("closed", None, Some(window)),
    };
    WorkloadSummary {
        kind: workload.kind.name().to_owned(),
        dialect: workload.dialect,
        address: address.to_string(),
        connections: workload.connections(),
        publishers: workload.publishers,
        subscribers: workload.subscribers,
        subjects: workload.subjects,
        wildcard_share: workload.wildcard_share,
        payload: workload.payload.to_string(),
        pacing: pacing.to_owned(),
        rate_asked,
        window,
        warm_up_seconds: workload.warm_up.as_secs_f64(),
        seconds: workload.duration.as_secs_f64(),
        driver_cores: workload.driver_cores.clone(),
    }
}

fn intervals(outcome: &Outcome) -> Vec<Interval> {
    let window = outcome.window;
    let slices = outcome.recorder.slices.iter().zip(&outcome.activity);
    slices
        .enumerate()
        .map(|(place, (slice, activity))| {
            let start = place as u64 * window.interval;
            let length = window.interval.min(window.stop - window.start - start);
            Interval {
                start_seconds: start as f64 / 1e9,
                seconds: length as f64 / 1e9,
                response: encode(&slice.response),
                gaps: slice.gaps,
                gap_nanos_max: slice.gap_nanos_max,
                interrupts: activity.interrupts,
                context_switches: activity.context_switches,
            }
        })
        .collect()
}

fn usage(outcome: &Outcome) -> Usage {
    let (before, after) = &outcome.generator;
    let delivered = outcome.recorder.delivered_measured.max(1) as f64;
    let server = outcome.server.as_ref().map(|(before, after)| {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        ServerUsage {
            cpu_seconds,
            cpu_nanos_per_message: cpu_seconds * 1e9 / delivered,
            resident_bytes: after.resident_bytes,
            resident_bytes_growth: after.resident_bytes as i64 - before.resident_bytes as i64,
        }
    });
    Usage {
        generator_cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        generator_busy_share: outcome.recorder.busy_share_max,
        server,
    }
}
