//! `docs/OPERATIONS.md` says what the code says: its tables are rendered from the tables of settings
//! and counters, its example is valid, and the metrics it names exist.
//!
//! `RINGBOLT_BLESS=1 cargo test -p ringbolt-server --test operations_page` rewrites the tables.

use ringbolt_server::config::settings::SETTINGS;
use ringbolt_server::config::{Config, Sources};
use ringbolt_server::io::metrics::ShardCollector;
use ringbolt_server::shard::metrics::{Counter, Kind};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn page_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md")
}

fn page() -> String {
    std::fs::read_to_string(page_path()).expect("docs/OPERATIONS.md")
}

/// Text of a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn settings_table() -> String {
    let mut table = "| key | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let default =
            if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let (value, help) = (cell(setting.value), cell(setting.help));
        writeln!(table, "| `{}` | {value} | {default} | {help} |", setting.key).expect("a String");
    }
    table
}

fn metrics_table() -> String {
    let mut table = "| metric | type | `reason` | meaning |\n|---|---|---|---|\n".to_owned();
    for counter in Counter::ALL {
        let description = counter.description();
        let (suffix, kind) = match description.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        let name = format!("ringbolt_{}{suffix}", description.name);
        let reason = description.reason.unwrap_or_default();
        let help = cell(description.help);
        writeln!(table, "| `{name}` | {kind} | {reason} | {help} |").expect("a String");
    }
    table
}

/// Puts `table` between the markers `<!-- NAME: … -->` and `<!-- end of NAME -->`.
fn with_section(page: &str, name: &str, table: &str) -> String {
    let opening = format!("<!-- {name}: ");
    let closing = format!("<!-- end of {name} -->");
    let start = page.find(&opening).unwrap_or_else(|| panic!("{opening} is missing"));
    let start = start + page[start..].find('\n').expect("a line of its own") + 1;
    let end = page.find(&closing).unwrap_or_else(|| panic!("{closing} is missing"));
    format!("{}{table}{}", &page[..start], &page[end..])
}

#[test]
fn the_tables_are_those_of_the_code() {
    let page = page();
    let rendered = with_section(&page, "settings", &settings_table());
    let rendered = with_section(&rendered, "metrics", &metrics_table());
    if std::env::var_os("RINGBOLT_BLESS").is_some() {
        std::fs::write(page_path(), rendered).expect("writes docs/OPERATIONS.md");
        return;
    }
    assert!(page == rendered, "docs/OPERATIONS.md is stale: run this test with RINGBOLT_BLESS=1");
}

#[test]
fn the_example_file_is_valid() {
    let page = page();
    let example = page.split("```toml\n").nth(1).expect("an example").split("```").next().expect("its end");
    let mut sources = Sources::defaults();
    sources.add_toml(example, Path::new("the example")).expect("known settings");
    // Its cores are not this machine's.
    let config = Config::from_sources(&sources).expect("valid settings");
    config.limits().expect("settings that agree");
}

#[test]
fn every_metric_the_page_names_exists() {
    let mut registry = prometheus_client::registry::Registry::with_prefix("ringbolt");
    registry.register_collector(Box::new(ShardCollector::new(vec![Default::default()])));
    let mut scrape = String::new();
    prometheus_client::encoding::text::encode(&mut scrape, &registry).expect("encodes");
    let page = page();
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let mut named = 0;
    for (place, _) in page.match_indices("ringbolt_") {
        let name = page[place..].split(|letter: char| !is_name(letter)).next().expect("a first part");
        let exists = scrape.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket"))
        });
        assert!(exists, "no metric {name}");
        named += 1;
    }
    assert!(named > Counter::COUNT, "the table and the runbook name metrics");
}
