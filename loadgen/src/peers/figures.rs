//! What a comparison of peers found, as it is written to peers.json.

use serde::{Deserialize, Serialize};

/// A figure over rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// One system in one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub system: String,
    pub rate_per_second: Option<Spread>,
    pub cpu_nanos_per_message: Option<Spread>,
    /// Of the server: cores it kept busy.
    pub cores: Option<Spread>,
    pub p50_micros: Option<Spread>,
    pub p99_micros: Option<Spread>,
    pub p999_micros: Option<Spread>,
    /// Of the server, at the end.
    pub resident_bytes: Option<Spread>,
    /// Growth of the server's resident memory from its start, by connection.
    pub bytes_per_connection: Option<Spread>,
    /// Of the busiest thread of the generator: near 1, the server could do more than shown.
    pub generator_busy: Option<Spread>,
    /// Rounds that lost, damaged or reordered something, and the reasons.
    pub failed: Vec<String>,
    /// Response times of all rounds together, as in run.json.
    pub response: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RowResult {
    pub name: String,
    pub about: String,
    /// The same run without this command: flags for `ringbolt-loadgen`.
    pub flags: String,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Peers {
    pub command_line: Vec<String>,
    pub rounds: u32,
    pub seconds: f64,
    pub host: crate::host::Fingerprint,
    pub rows: Vec<RowResult>,
}

impl Spread {
    pub fn scaled(self, factor: f64) -> Spread {
        Spread { median: self.median * factor, least: self.least * factor, most: self.most * factor }
    }

    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let median = crate::compare::median(&values)?;
        Some(Spread { median, least, most })
    }
}
