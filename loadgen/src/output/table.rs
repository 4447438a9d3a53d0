//! A run as text.

use crate::histogram::{LatencySet, QUANTILES, quantile};
use crate::result::{Lane, RunResult, decode};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// The run's figures, aligned for a terminal.
pub fn table(run: &RunResult) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(run, &mut text);
    text
}

fn write(run: &RunResult, out: &mut String) -> std::fmt::Result {
    verdict(run, out)?;
    let (rates, counts) = (&run.rates, &run.counts);
    writeln!(out, "\n  sent       {:>14} msg/s", grouped(rates.sent_per_second))?;
    writeln!(
        out,
        "  delivered  {:>14} msg/s  {:>10.1} MB/s of payload",
        grouped(rates.delivered_per_second),
        rates.delivered_bytes_per_second / 1e6
    )?;
    writeln!(
        out,
        "  checked    {:>14} of {} expected; {} lost, {} duplicated, {} reordered, {} corrupted",
        grouped(counts.delivered as f64),
        grouped(counts.expected as f64),
        counts.lost,
        counts.duplicated,
        counts.reordered,
        counts.corrupted
    )?;
    if let Some(server) = &run.usage.server {
        writeln!(
            out,
            "  server     {:>14.0} ns CPU a message; {:.2} cores; {:.1} MiB resident ({:+.1})",
            server.cpu_nanos_per_message,
            server.cpu_seconds / rates.seconds,
            server.resident_bytes as f64 / 1048576.0,
            server.resident_bytes_growth as f64 / 1048576.0
        )?;
    }
    let busy = 100.0 * run.usage.generator_busy_share;
    writeln!(out, "  generator  {busy:>14.0} % busy")?;
    members(run, out)?;
    lanes(run, out)?;
    match run.latency.decode() {
        Ok(set) => latencies(&set, out),
        Err(error) => writeln!(out, "  the histograms cannot be read: {error}"),
    }
}

fn verdict(run: &RunResult, out: &mut String) -> std::fmt::Result {
    let workload = &run.workload;
    let word = if run.verdict.pass { "PASS" } else { "FAIL" };
    writeln!(
        out,
        "\n{word}  {}: {} over {} at {}",
        run.name,
        workload.kind,
        format!("{:?}", workload.dialect).to_lowercase(),
        workload.address
    )?;
    let pacing = match (workload.rate_asked, workload.window) {
        (Some(rate), _) => format!("open loop, {} msg/s asked", grouped(rate)),
        (None, window) => format!("closed loop, {} outstanding a publisher", window.unwrap_or(1)),
    };
    writeln!(
        out,
        "      {} connections ({} + {}), {} subjects, {} B; {pacing}; {:.0} s after {:.0} s warm-up",
        workload.connections,
        workload.publishers,
        workload.subscribers,
        workload.subjects,
        workload.payload,
        run.rates.seconds,
        workload.warm_up_seconds
    )?;
    for reason in &run.verdict.reasons {
        writeln!(out, "      failed: {reason}")?;
    }
    for target in run.verdict.targets.iter().filter(|target| target.pass) {
        writeln!(out, "      reached: {}: {}", target.asked, target.seen)?;
    }
    for warning in &run.verdict.warnings {
        writeln!(out, "      warning: {warning}")?;
    }
    Ok(())
}

fn members(run: &RunResult, out: &mut String) -> std::fmt::Result {
    let Some(members) = &run.members else { return Ok(()) };
    let acknowledged = grouped(members.acknowledged as f64);
    let (refused, unanswered) = (members.refused, members.unanswered);
    writeln!(
        out,
        "  members    {acknowledged:>14} acknowledged; {refused} refused, {unanswered} never answered"
    )?;
    if members.keys > 0 {
        let (keys, moved) = (members.keys, members.moved);
        writeln!(
            out,
            "  keys       {keys:>14} keys; {moved} messages at another member than the one before"
        )?;
    }
    Ok(())
}

fn lanes(run: &RunResult, out: &mut String) -> std::fmt::Result {
    let done = run.lanes.iter().any(|lane| lane.done.is_some());
    if !run.lanes.is_empty() {
        lane_table("lane, µs", run, |lane| Some(lane.response.as_str()), out)?;
    }
    if done {
        lane_table("until done", run, |lane| lane.done.as_deref(), out)?;
    }
    Ok(())
}

fn lane_table<'r>(
    title: &str,
    run: &'r RunResult,
    histogram: impl Fn(&'r Lane) -> Option<&'r str>,
    out: &mut String,
) -> std::fmt::Result {
    writeln!(out, "\n  {title:<12} {:>10} {:>10} {:>10} {:>10}  delivered", "p50", "p99", "p99.9", "max")?;
    for lane in &run.lanes {
        let Some(Ok(times)) = histogram(lane).map(decode) else { continue };
        let at = |share| quantile(&times, share).map_or("-".to_owned(), micros);
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        let (delivered, expected) = (grouped(lane.delivered as f64), grouped(lane.expected as f64));
        let most = micros(times.max());
        writeln!(
            out,
            "  {:<12} {p50:>10} {p99:>10} {p999:>10} {most:>10}  {delivered} of {expected}",
            lane.name
        )?;
    }
    Ok(())
}

fn latencies(set: &LatencySet, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n  latency, µs {:>12} {:>12} {:>12}", "response", "service", "send late")?;
    let columns = [&set.response, &set.service, &set.lateness];
    let mut unresolved = false;
    for (name, share) in QUANTILES {
        write!(out, "  {name:<11}")?;
        for histogram in columns {
            let value = quantile(histogram, share);
            unresolved |= value.is_none();
            write!(out, " {:>12}", value.map_or("-".to_owned(), micros))?;
        }
        writeln!(out)?;
    }
    let line = |name: &str, value: fn(&Histogram<u64>) -> u64| {
        let cells: Vec<String> =
            columns.iter().map(|histogram| format!("{:>12}", micros(value(histogram)))).collect();
        format!("  {name:<11} {}", cells.join(" "))
    };
    writeln!(out, "{}", line("max", |histogram| histogram.max()))?;
    writeln!(out, "{}", line("mean", |histogram| histogram.mean() as u64))?;
    writeln!(out, "  {} samples", grouped(set.response.len() as f64))?;
    if unresolved {
        writeln!(out, "  - : fewer than ten samples lie above it, so it cannot be stated")?;
    }
    Ok(())
}

/// Microseconds with a tenth.
pub fn micros(nanos: u64) -> String {
    format!("{:.1}", nanos as f64 / 1e3)
}

/// Thousands apart: 1 234 567.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_stand_apart() {
        assert_eq!(super::grouped(1_234_567.4), "1 234 567");
        assert_eq!(super::grouped(12.0), "12");
    }
}
