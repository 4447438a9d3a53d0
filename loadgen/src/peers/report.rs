//! What a comparison of peers looks like: a table a row, a page with all of them overlaid, and JSON.

use super::figures::{Entry, Peers, RowResult, Spread};
use super::rows::{Figure, figure_of};
use crate::output::{grouped, html, plot};
use crate::result::decode;
use std::fmt::Write;
use std::io;
use std::path::Path;

const COLUMNS: [&str; 9] = [
    "msg/s",
    "CPU, ns/msg",
    "cores",
    "p50, µs",
    "p99, µs",
    "p99.9, µs",
    "MiB",
    "times as good",
    "driver busy",
];

/// What stands beside a system's name, column by column.
fn cells(row: &RowResult, entry: &Entry) -> [String; COLUMNS.len()] {
    let ratio = row.entries.first().and_then(|first| ratio(figure_of(&row.name)?, first, entry));
    [
        rate(entry.rate_per_second),
        cell(entry.cpu_nanos_per_message, 1),
        cell(entry.cores, 2),
        cell(entry.p50_micros, 1),
        cell(entry.p99_micros, 1),
        cell(entry.p999_micros, 1),
        cell(entry.resident_bytes.map(|bytes| bytes.scaled(1.0 / f64::from(1 << 20))), 1),
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        entry.generator_busy.map_or("-".to_owned(), |busy| format!("{:.0} %", 100.0 * busy.median)),
    ]
}

/// What else is to be said of a system in a row.
fn remarks(row: &RowResult, entry: &Entry) -> Vec<String> {
    let mut remarks: Vec<String> = entry.failed.iter().map(|reason| format!("failed: {reason}")).collect();
    if figure_of(&row.name) == Some(Figure::Memory) {
        remarks.push(format!("{} bytes a connection", cell(entry.bytes_per_connection, 0)));
    }
    remarks
}

/// A row as text, the figure that counts beside what it is of the first system.
pub fn table(row: &RowResult) -> String {
    let mut out = format!("\n{}: {}\n  ringbolt-loadgen {}\n\n", row.name, row.about, row.flags);
    let _ = write!(out, "  {:<30}", "");
    out.extend(COLUMNS.map(|column| format!(" {column:>18}")));
    out.push('\n');
    for entry in &row.entries {
        let _ = write!(out, "  {:<30}", entry.system);
        out.extend(cells(row, entry).map(|cell| format!(" {cell:>18}")));
        out.push('\n');
        out.extend(remarks(row, entry).iter().map(|remark| format!("  {:<30} {remark}\n", "")));
    }
    out
}

/// The same for the page.
fn table_of_page(row: &RowResult) -> String {
    let head: String = COLUMNS.iter().map(|column| format!("<th>{column}</th>")).collect();
    let mut rows = format!("<tr><th></th>{head}</tr>\n");
    for entry in &row.entries {
        let name = html::escaped(&entry.system);
        let data: String = cells(row, entry).iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(rows, "<tr><th>{name}</th>{data}</tr>");
        for remark in remarks(row, entry) {
            let width = COLUMNS.len();
            let _ =
                writeln!(rows, "<tr><th></th><td colspan=\"{width}\">{}</td></tr>", html::escaped(&remark));
        }
    }
    format!("<div class=\"wide\"><table class=\"figures dense\">\n{rows}</table></div>")
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

/// Messages a second with half the spread, in thousands or millions.
fn rate(spread: Option<Spread>) -> String {
    let (unit, divisor) = match spread {
        Some(Spread { median, .. }) if median >= 1e6 => (" M", 1e6),
        Some(Spread { median, .. }) if median >= 1e4 => (" k", 1e3),
        _ => return cell(spread, 0),
    };
    cell(spread.map(|spread| spread.scaled(1.0 / divisor)), 2) + unit
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

pub fn load(folder: &Path) -> io::Result<Peers> {
    Ok(serde_json::from_str(&std::fs::read_to_string(folder.join("peers.json"))?)?)
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
        let _ = writeln!(
            body,
            "<section><h2>{}</h2><p class=\"note\">{}: ringbolt-loadgen {}</p>{}</section>",
            html::escaped(&row.about),
            row.name,
            html::escaped(&row.flags),
            table_of_page(row)
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
