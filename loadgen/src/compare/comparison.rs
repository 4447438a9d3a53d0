//! One metric of two groups of runs: what differs, how surely, and what could not have been seen.

use super::statistics::{Difference, difference, median};
use crate::histogram::{new_histogram, quantile};
use crate::output::html;
use crate::result::{RunResult, decode};
use serde::Serialize;
use std::fmt::Write;
use std::io;

/// Rounds of one variant.
#[derive(Clone, Debug)]
pub struct Group {
    pub label: String,
    pub runs: Vec<RunResult>,
}

/// One metric of two groups.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub metric: &'static str,
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Median over rounds.
    pub before: Option<f64>,
    pub after: Option<f64>,
    /// `None` with fewer than two rounds a group, or where rounds cannot state the metric.
    pub difference: Option<Difference>,
    pub finding: Finding,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    Better,
    Worse,
    /// The interval includes no difference.
    NotSeen,
    /// Too few rounds to say.
    Unknown,
}

/// A later group against the first.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub before: String,
    pub after: String,
    pub rows: Vec<Row>,
    pub warnings: Vec<String>,
    /// Fact, before, after.
    pub host_differences: Vec<(String, String, String)>,
}

type Measure = fn(&RunResult) -> Option<f64>;

const METRICS: &[(&str, &str, bool, Measure)] = &[
    ("p50", "µs", false, |run| response(run, 0.5)),
    ("p90", "µs", false, |run| response(run, 0.9)),
    ("p99", "µs", false, |run| response(run, 0.99)),
    ("p99.9", "µs", false, |run| response(run, 0.999)),
    ("mean", "µs", false, |run| Some(decode(&run.latency.response).ok()?.mean() / 1e3)),
    ("rate", "msg/s", true, |run| Some(run.rates.delivered_per_second)),
    ("cpu", "ns/msg", false, |run| Some(run.usage.server?.cpu_nanos_per_message)),
];

fn response(run: &RunResult, share: f64) -> Option<f64> {
    Some(quantile(&decode(&run.latency.response).ok()?, share)? as f64 / 1e3)
}

/// Compares every later group with the first.
pub fn compare(groups: &[Group]) -> Vec<Comparison> {
    let Some((first, later)) = groups.split_first() else { return Vec::new() };
    later.iter().map(|group| pair(first, group)).collect()
}

fn pair(before: &Group, after: &Group) -> Comparison {
    let rows = METRICS.iter().map(|&metric| row(metric, before, after)).collect();
    let mut warnings = Vec::new();
    let rounds = before.runs.len().min(after.runs.len());
    if rounds < 3 {
        warnings.push(format!("{rounds} rounds a variant: with fewer than 3 a difference may be chance"));
    }
    for group in [before, after] {
        let failed = group.runs.iter().filter(|run| !run.verdict.pass).count();
        if failed > 0 {
            warnings.push(format!(
                "{failed} of {} runs of {} failed their own checks",
                group.runs.len(),
                group.label
            ));
        }
    }
    let shape = |group: &Group| {
        let workload = &group.runs.first()?.workload;
        Some((
            workload.kind.clone(),
            workload.payload.clone(),
            workload.connections,
            workload.rate_asked.map(f64::to_bits),
        ))
    };
    if shape(before) != shape(after) {
        warnings.push("the workloads differ: the figures may not be comparable".to_owned());
    }
    let host_differences = match (before.runs.first(), after.runs.first()) {
        (Some(one), Some(other)) => one.host.differences(&other.host),
        _ => Vec::new(),
    };
    Comparison { before: before.label.clone(), after: after.label.clone(), rows, warnings, host_differences }
}

fn row(
    (metric, unit, more_is_better, measure): (&'static str, &'static str, bool, Measure),
    before: &Group,
    after: &Group,
) -> Row {
    let values = |group: &Group| group.runs.iter().map(measure).collect::<Option<Vec<f64>>>();
    let (one, other) = (values(before), values(after));
    let difference = one.as_deref().zip(other.as_deref()).and_then(|(one, other)| difference(one, other));
    let finding = match difference {
        None => Finding::Unknown,
        Some(difference) if difference.low <= 0.0 && difference.high >= 0.0 => Finding::NotSeen,
        Some(difference) if (difference.percent > 0.0) == more_is_better => Finding::Better,
        Some(_) => Finding::Worse,
    };
    Row {
        metric,
        unit,
        more_is_better,
        before: one.as_deref().and_then(median),
        after: other.as_deref().and_then(median),
        difference,
        finding,
    }
}

impl Comparison {
    /// The comparison as text.
    pub fn table(&self) -> String {
        let mut out = format!("\n{} → {}\n\n", self.before, self.after);
        let _ = writeln!(
            out,
            "  {:<8} {:>14} {:>14} {:>10} {:>22} {:>11}  finding",
            "metric", "before", "after", "change", "95 % interval", "detectable"
        );
        for row in &self.rows {
            let value = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
            let name = format!("{} {}", row.metric, row.unit);
            let (change, interval, least) = match row.difference {
                Some(d) => (
                    change_words(d.percent),
                    format!("{} … {}", change_words(d.low), change_words(d.high)),
                    change_words(d.detectable).replace('+', "±"),
                ),
                None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            };
            let finding = match row.finding {
                Finding::Better => "better",
                Finding::Worse => "worse",
                Finding::NotSeen => "no difference seen",
                Finding::Unknown => "cannot be said",
            };
            let (before, after) = (value(row.before), value(row.after));
            let _ = writeln!(
                out,
                "  {name:<12} {before:>10} {after:>14} {change:>10} {interval:>22} {least:>11}  {finding}"
            );
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "  warning: {warning}");
        }
        if !self.host_differences.is_empty() {
            let _ = writeln!(out, "\n  the hosts differ in:");
            for (name, before, after) in &self.host_differences {
                let _ = writeln!(out, "    {name}: {before} → {after}");
            }
        }
        out
    }

    pub fn row(&self, metric: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.metric == metric)
    }
}

/// Percent, or from tenfold on the factor, which stays readable.
fn change_words(percent: f64) -> String {
    if percent < 900.0 { format!("{percent:+.1} %") } else { format!("×{:.0}", percent / 100.0 + 1.0) }
}

/// A page with the comparison above the plots of the groups' merged histograms.
pub fn page(title: &str, groups: &[Group], comparisons: &[Comparison]) -> io::Result<String> {
    let mut body = String::new();
    for comparison in comparisons {
        let text = html::escaped(&comparison.table());
        let _ = writeln!(body, "<section><div class=\"wide\"><pre>{}</pre></div></section>", text.trim_end());
    }
    let merged = groups.iter().map(merged).collect::<io::Result<Vec<RunResult>>>()?;
    let shown: Vec<&RunResult> = merged.iter().collect();
    body += &html::plots(&shown)?;
    body += &html::hosts(&shown);
    Ok(html::page(title, &body))
}

/// All rounds of a group as one run: histograms are added, the first round lends the rest.
fn merged(group: &Group) -> io::Result<RunResult> {
    let first = group.runs.first().ok_or_else(|| io::Error::other("a group without runs"))?;
    let mut sum = new_histogram();
    for run in &group.runs {
        let round = decode(&run.latency.response)?;
        sum.add(&round).map_err(|error| io::Error::other(error.to_string()))?;
    }
    let mut run = first.clone();
    run.name.clone_from(&group.label);
    run.latency.response = crate::result::encode(&sum);
    Ok(run)
}
