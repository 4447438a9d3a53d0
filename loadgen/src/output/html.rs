//! A self-contained page: nothing is loaded from anywhere, it reads in light and dark and on a phone.

use super::plot::{self, Line};
use super::table::{grouped, micros};
use crate::histogram::{QUANTILES, quantile};
use crate::result::{Lane, RunResult, decode};
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::io;

const STYLE: &str = include_str!("report.css");

/// A page about one run, or several overlaid.
pub fn runs(runs: &[&RunResult]) -> io::Result<String> {
    let mut body = String::new();
    verdicts(runs, &mut body);
    body += &plots(runs)?;
    body += &hosts(runs);
    let title = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(" · ");
    Ok(page(&title, &body))
}

/// The page around a body.
pub fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} — ringbolt</title>\n<style>\n{STYLE}</style>\n<main>\n<header><h1>{title}</h1>\
         <p class=\"sub\">ringbolt-loadgen {}</p></header>\n{body}</main>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Plots of some runs: percentiles overlaid, then latency and noise over time.
pub fn plots(runs: &[&RunResult]) -> io::Result<String> {
    let mut body = String::new();
    let broken = |error: Box<dyn std::error::Error>| io::Error::other(error.to_string());
    let responses = runs.iter().map(|run| decode(&run.latency.response)).collect::<io::Result<Vec<_>>>()?;
    let named: Vec<(String, &Histogram<u64>)> =
        runs.iter().zip(&responses).map(|(run, histogram)| (run.name.clone(), histogram)).collect();
    let mut lines = named;
    let set;
    if let [run] = runs {
        set = run.latency.decode()?;
        lines = vec![
            ("response".to_owned(), &set.response),
            ("service".to_owned(), &set.service),
            ("send lateness".to_owned(), &set.lateness),
        ];
    }
    let names: Vec<String> = lines.iter().map(|(name, _)| name.clone()).collect();
    lines.truncate(plot::SERIES_MAX);
    section(&mut body, "Latency by percentile", &names, &plot::percentiles(&lines).map_err(broken)?);
    if let [run] = runs {
        lanes("Latency by percentile, by lane", run, |lane| Some(lane.response.as_str()), &mut body)?;
        lanes("Time until done by percentile, by lane", run, |lane| lane.done.as_deref(), &mut body)?;
    }
    let (mut latency, mut noise) = (Vec::new(), Vec::new());
    for run in runs.iter().take(plot::SERIES_MAX / 2) {
        latency.extend(latency_lines(run, runs.len() > 1)?);
        noise.extend(noise_lines(run, runs.len() > 1));
    }
    let names: Vec<String> = latency.iter().map(|line| line.name.clone()).collect();
    section(&mut body, "Latency over time", &names, &plot::over_time(&latency, "µs").map_err(broken)?);
    let names: Vec<String> = noise.iter().map(|line| line.name.clone()).collect();
    let picture = plot::over_time(&noise, "per interval").map_err(broken)?;
    section(&mut body, "Noise of the machine, same time axis", &names, &picture);
    body += "<p class=\"note\">Gaps are pauses of the generator's own spinning loop above 5 µs: time the \
             machine took from it. They are no part of the server, and the server's core has its own.</p>\n";
    Ok(body)
}

/// Latency by percentile, a line a lane.
fn lanes<'r>(
    title: &str,
    run: &'r RunResult,
    histogram: impl Fn(&'r Lane) -> Option<&'r str>,
    body: &mut String,
) -> io::Result<()> {
    let with_samples = run.lanes.iter().filter(|lane| lane.delivered > 0);
    let lines =
        with_samples.filter_map(|lane| histogram(lane).map(|text| Ok((lane.name.clone(), decode(text)?))));
    let lines = lines.collect::<io::Result<Vec<_>>>()?;
    if lines.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = lines.iter().map(|(name, _)| name.clone()).collect();
    let mut lines: Vec<(String, &Histogram<u64>)> =
        lines.iter().map(|(name, histogram)| (name.clone(), histogram)).collect();
    lines.truncate(plot::SERIES_MAX);
    let picture = plot::percentiles(&lines).map_err(|error| io::Error::other(error.to_string()))?;
    section(body, title, &names, &picture);
    Ok(())
}

fn latency_lines(run: &RunResult, several: bool) -> io::Result<Vec<Line>> {
    let mut lines = [("p50", 0.5), ("p99", 0.99)].map(|(name, share)| (name, share, Vec::new()));
    for interval in &run.intervals {
        let histogram = decode(&interval.response)?;
        let at = interval.start_seconds + interval.seconds / 2.0;
        for (_, share, points) in &mut lines {
            points.extend(quantile(&histogram, *share).map(|nanos| (at, nanos as f64 / 1e3)));
        }
    }
    Ok(lines.map(|(name, _, points)| Line { name: labelled(run, name, several), points }).into())
}

fn noise_lines(run: &RunResult, several: bool) -> Vec<Line> {
    let track = |name: &str, value: fn(&crate::result::Interval) -> f64| {
        let points = run
            .intervals
            .iter()
            .map(|interval| (interval.start_seconds + interval.seconds / 2.0, value(interval).max(0.1)));
        Line { name: labelled(run, name, several), points: points.collect() }
    };
    let mut lines = vec![
        track("longest gap, µs", |interval| interval.gap_nanos_max as f64 / 1e3),
        track("context switches", |interval| interval.context_switches as f64),
    ];
    if !several {
        lines.push(track("interrupts", |interval| interval.interrupts as f64));
    }
    lines
}

fn labelled(run: &RunResult, name: &str, several: bool) -> String {
    if several { format!("{} {name}", run.name) } else { name.to_owned() }
}

/// A plot with its legend.
pub fn section(body: &mut String, title: &str, names: &[String], svg: &str) {
    let legend: String = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let series = place % plot::SERIES_MAX;
            format!("<span><i style=\"background:var(--series-{series})\"></i>{}</span>", escaped(name))
        })
        .collect();
    let _ = writeln!(body, "<section><h2>{title}</h2><div class=\"legend\">{legend}</div>{svg}</section>");
}

/// Verdict, counts and quantiles, a column a run.
fn verdicts(runs: &[&RunResult], body: &mut String) {
    let row = |name: &str, cell: &dyn Fn(&RunResult) -> String| {
        let cells: String = runs.iter().map(|run| format!("<td>{}</td>", cell(run))).collect();
        format!("<tr><th>{name}</th>{cells}</tr>\n")
    };
    let mut rows = String::new();
    rows += &row("", &|run| format!("<b>{}</b>", escaped(&run.name)));
    rows += &row("verdict", &|run| {
        let class = if run.verdict.pass { "pass" } else { "fail" };
        format!("<b class=\"{class}\">{}</b>", class.to_uppercase())
    });
    rows += &row("workload", &|run| {
        let workload = &run.workload;
        let payload = escaped(&workload.payload);
        format!(
            "{} {payload} B, {} connections",
            escaped(&workload.kind),
            grouped(f64::from(workload.connections))
        )
    });
    rows += &row("asked", &|run| match (run.workload.rate_asked, run.workload.window) {
        (Some(rate), _) => format!("{} msg/s, open loop", grouped(rate)),
        (None, window) => format!("closed loop, window {}", window.unwrap_or(1)),
    });
    rows += &row("delivered, msg/s", &|run| grouped(run.rates.delivered_per_second));
    rows += &row("lost / duplicated / reordered", &|run| {
        format!("{} / {} / {}", run.counts.lost, run.counts.duplicated, run.counts.reordered)
    });
    rows += &row("server CPU a message, ns", &|run| {
        run.usage.server.map_or("-".to_owned(), |server| format!("{:.0}", server.cpu_nanos_per_message))
    });
    for (name, share) in QUANTILES {
        rows += &row(&format!("response {name}, µs"), &|run| {
            let histogram = decode(&run.latency.response).ok();
            let value = histogram.and_then(|histogram| quantile(&histogram, share));
            value.map_or("-".to_owned(), micros)
        });
    }
    let _ = write!(body, "<section><div class=\"wide\"><table class=\"figures\">\n{rows}</table></div>");
    for run in runs {
        for (class, texts) in [("fail", &run.verdict.reasons), ("warning", &run.verdict.warnings)] {
            for text in texts {
                let _ = write!(body, "<p class=\"{class}\">{}: {}</p>", escaped(&run.name), escaped(text));
            }
        }
    }
    body.push_str("</section>\n");
}

/// The host once, and what differs between the runs' hosts.
pub fn hosts(runs: &[&RunResult]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let mut rows = String::new();
    for (name, value) in &first.host.facts {
        let others: Vec<&str> = runs[1..]
            .iter()
            .map(|run| run.host.facts.get(name).map_or("", String::as_str))
            .filter(|other| other != value)
            .collect();
        let class = if others.is_empty() { "" } else { " class=\"differs\"" };
        let mut cell = escaped(value);
        for other in others {
            let _ = write!(cell, " → {}", escaped(other));
        }
        let _ = writeln!(rows, "<tr{class}><th>{}</th><td>{cell}</td></tr>", escaped(name));
    }
    format!(
        "<section><h2>Host</h2><details><summary>Facts at the time of the run</summary>\
             <div class=\"wide\"><table>{rows}</table></div></details></section>\n"
    )
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
