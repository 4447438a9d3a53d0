//! Settings in the words of nats-server: `nats.conf` and its flags, turned into ringbolt's own settings
//! and [`ringbolt_shard::access::Access`].

mod authorization;
pub mod flags;
mod language;
mod options;
mod trade;

pub use language::{Fault, Surroundings, ThisProcess};
pub use options::NatsOptions;

use super::settings::Setting;
use super::{ConfigError, Origin, Sources};
use std::path::Path;

/// What nats-server does where nothing is said, and ringbolt does otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("native", "off"),
    ("nats", "0.0.0.0:4222"),
    ("admin", "off"),
    ("log_format", "nats"),
    ("ping_interval", "2m"),
    ("hello_timeout", "2s"),
    ("subscriptions_max", "4294967295"),
];

/// The settings of a server started in the words of nats-server; everything that is wrong.
pub fn sources(flags: &flags::Flags) -> (Sources, NatsOptions, Vec<ConfigError>) {
    let mut sources = Sources::defaults();
    for &(key, value) in DEFAULTS {
        set(&mut sources, key, value.to_owned(), Origin::Default);
    }
    let (options, errors) = options::read(flags, &ThisProcess);
    for (key, value, origin) in &options.settings {
        set(&mut sources, key, value.clone(), origin.clone());
    }
    (sources, options, errors)
}

fn set(sources: &mut Sources, key: &str, value: String, origin: Origin) {
    sources.set(Setting::find(key).expect("a setting of ours"), value, origin);
}

fn error(place: &language::Place, message: String) -> ConfigError {
    ConfigError { key: place.to_string(), message }
}

/// Nanoseconds of a time as Go writes it: `1m30s`, `500ms`, `1.5h`.
fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_and_more = &rest[digits..];
        let unit_bytes = unit_and_more
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(unit_and_more.len());
        let (unit, more) = unit_and_more.split_at(unit_bytes);
        let factor = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return None,
        };
        nanos += number * factor;
        rest = more;
    }
    (!text.is_empty() && nanos < u64::MAX as f64).then_some(nanos as u64)
}

/// The file as it is named in messages.
fn shown(path: &Path) -> Origin {
    Origin::File(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, nanos) in [
            ("2m", 120_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        for wrong in ["", "5", "s", "5x", "5s6", "-1s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
