//! What a comparison of peers looks like: a table a row, a page with all of them overlaid, and JSON.

use super::rows::Figure;
use super::{Entry, Peers, RowResult, Spread};
use crate::output::{grouped, html, plot};
use crate::result::decode;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// A row as text, the figure that counts beside what it is of the first system.
pub fn table(row: &RowResult) -> String {
    let mut out = format!("\n{}: {}\n  ringbolt-loadgen {}\n\n", row.name, row.about, row.flags);
    let columns =
        ["msg/s", "CPU ns/msg", "cores", "p50 µs", "p99 µs", "p99.9 µs", "MiB", "times as good", "driver"];
    let _ = write!(out, "  {:<28}", "");
    out.extend(columns.map(|column| format!(" {column:>17}")));
    out.push('\n');
    let first = row.entries.first();
    for entry in &row.entries {
        let ratio = first.and_then(|first| ratio(row.figure?, first, entry));
        let cells = [
            cell(entry.rate_per_second, 0),
            cell(entry.cpu_nanos_per_message, 1),
            cell(entry.cores, 2),
            cell(entry.p50_micros, 1),
            cell(entry.p99_micros, 1),
            cell(entry.p999_micros, 1),
            cell(entry.resident_bytes.map(|bytes| bytes.scaled(1.0 / f64::from(1 << 20))), 1),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            entry.generator_busy.map_or("-".to_owned(), |busy| format!("{:.0} % busy", 100.0 * busy.median)),
        ];
        let _ = write!(out, "  {:<28}", entry.system);
        out.extend(cells.map(|cell| format!(" {cell:>17}")));
        out.push('\n');
        if let (Some(Figure::Memory), Some(bytes)) = (row.figure, entry.bytes_per_connection) {
            let _ = writeln!(out, "  {:<28} {} bytes a connection", "", cell(Some(bytes), 0));
        }
        for reason in &entry.failed {
            let _ = writeln!(out, "  {:<28} failed: {reason}", "");
        }
    }
    out
}

/// How many times as good as the first system, by the figure that counts.
fn ratio(figure: Figure, first: &Entry, entry: &Entry) -> Option<f64> {
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    let of = |entry: &Entry| match figure {
        Figure::Cpu => median(entry.cpu_nanos_per_message),
        Figure::P50 => median(entry.p50_micros),
        Figure::Rate => median(entry.rate_per_second).map(|rate| 1.0 / rate),
        Figure::Memory => median(entry.bytes_per_connection),
    };
    Some(of(first)? / of(entry)?).filter(|ratio| ratio.is_finite())
}

/// The median with half the spread.
fn cell(spread: Option<Spread>, digits: usize) -> String {
    let Some(Spread { median, least, most }) = spread else { return "-".to_owned() };
    let half = (most - least) / 2.0;
    if digits == 0 {
        return format!("{} ±{}", grouped(median), grouped(half));
    }
    format!("{median:.digits$} ±{half:.digits$}")
}

pub fn write(peers: &Peers, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("peers.json"), serde_json::to_string_pretty(peers)? + "\n")?;
    std::fs::write(folder.join("index.html"), page(peers)?)
}

fn page(peers: &Peers) -> io::Result<String> {
    let mut body = format!(
        "<section><p>{}</p><p class=\"note\">Medians of {} rounds of {} s with half the spread. \"Times as \
         good\" compares the figure that counts in a row with the first system of it.</p></section>\n",
        html::escaped(&peers.command_line.join(" ")),
        peers.rounds,
        peers.seconds
    );
    for row in &peers.rows {
        let text = table(row);
        let _ = writeln!(
            body,
            "<section><h2>{}</h2><div class=\"wide\"><pre>{}</pre></div></section>",
            html::escaped(row.about),
            html::escaped(text.trim())
        );
        let responses: Vec<_> =
            row.entries.iter().map(|entry| decode(&entry.response)).collect::<io::Result<_>>()?;
        let names: Vec<String> = row.entries.iter().map(|entry| entry.system.clone()).collect();
        let lines: Vec<_> =
            names.iter().cloned().zip(&responses).filter(|(_, response)| !response.is_empty()).collect();
        let title = format!("{}: latency by percentile", row.name);
        let picture = plot::percentiles(&lines).map_err(|error| io::Error::other(error.to_string()))?;
        let names: Vec<String> = lines.into_iter().map(|(name, _)| name).collect();
        html::section(&mut body, &title, &names, &picture);
    }
    Ok(html::page("Peers", &body))
}
