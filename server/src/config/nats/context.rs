//! What is gathered while a `nats.conf` is read, and how its values are read.

use super::flags::Flags;
use super::language::{Entry, Node, Place, Value};
use crate::config::{ConfigError, Origin};
use std::collections::HashSet;
use std::path::Path;

/// Collects settings and everything that is wrong.
pub(super) struct Context<'f> {
    pub(super) flags: &'f Flags,
    /// Users of lists so far.
    pub(super) names: HashSet<String>,
    /// Where a token is, or one user for all.
    pub(super) alone: Option<Place>,
    pub(super) settings: Vec<(&'static str, String, Origin)>,
    pub(super) errors: Vec<ConfigError>,
}

/// A part of the file that ringbolt does not serve yet.
pub(super) struct Unsupported<'a> {
    pub name: &'a str,
    pub place: &'a Place,
}

impl Context<'_> {
    pub(super) fn set(&mut self, key: &'static str, value: String, entry: &Entry) {
        self.settings.push((key, value, shown(&entry.place.file)));
    }

    /// Text; a number is the text it was written as.
    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Number(_, text) => Some(text.clone()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::List(_) | Value::Block(_) => {
                self.wrong(&node.place, "takes text".to_owned());
                None
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node) -> i64 {
        match &node.value {
            Value::Number(number, _) => *number,
            _ => {
                self.wrong(&node.place, "takes a number".to_owned());
                0
            }
        }
    }

    /// Nanoseconds of a time with units, or of a number of seconds.
    pub(super) fn seconds(&mut self, node: &Node) -> u64 {
        let nanos = match &node.value {
            Value::Text(text) => parse_duration(text),
            Value::Number(number, text) => {
                parse_duration(text).or_else(|| u64::try_from(*number).ok()?.checked_mul(1_000_000_000))
            }
            Value::Float(seconds) if *seconds >= 0.0 => Some((seconds * 1e9) as u64),
            _ => None,
        };
        nanos.unwrap_or_else(|| {
            self.wrong(&node.place, "takes a time: write 10s, 500ms or 2m".to_owned());
            0
        })
    }

    pub(super) fn block<'n>(&mut self, node: &'n Node) -> &'n [Entry] {
        match &node.value {
            Value::Block(entries) => entries,
            _ => {
                self.wrong(&node.place, "takes a block: { … }".to_owned());
                &[]
            }
        }
    }

    pub(super) fn unknown(&mut self, entry: &Entry) {
        self.wrong(&entry.place, format!("unknown field \"{}\"", entry.key));
    }

    pub(super) fn unsupported(&mut self, part: Unsupported<'_>) {
        if !self.flags.ignore.iter().any(|name| name.eq_ignore_ascii_case(part.name)) {
            let name = part.name;
            let message = format!("{name} is not supported yet: remove it, or start with --ignore {name}");
            self.wrong(part.place, message);
        }
    }

    pub(super) fn wrong(&mut self, place: &Place, message: String) {
        self.errors.push(error(place, message));
    }
}

fn error(place: &Place, message: String) -> ConfigError {
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
pub(super) fn shown(path: &Path) -> Origin {
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
