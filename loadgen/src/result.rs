//! What a run found, whole enough to be merged and compared later: counts, verdict, histograms, host.

use crate::dialect::Dialect;
use crate::histogram::LatencySet;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Version of the JSON layout; readers refuse later ones.
pub const SCHEMA_VERSION: u32 = 1;

/// One run, as written to `run.json`. Times are nanoseconds unless the name says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    pub schema_version: u32,
    pub name: String,
    /// Start of the measured part, Unix time.
    pub started_unix_millis: u64,
    pub command_line: Vec<String>,
    pub workload: WorkloadSummary,
    pub counts: Counts,
    pub rates: Rates,
    pub verdict: Verdict,
    pub latency: Histograms,
    /// By importance; empty unless lanes were asked for.
    #[serde(default)]
    pub lanes: Vec<Lane>,
    /// Of a group that acknowledges.
    #[serde(default)]
    pub members: Option<MemberCounts>,
    pub intervals: Vec<Interval>,
    pub usage: Usage,
    pub host: crate::host::Fingerprint,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadSummary {
    pub kind: String,
    pub dialect: Dialect,
    pub address: String,
    pub connections: u32,
    pub publishers: u32,
    pub subscribers: u32,
    pub subjects: u32,
    pub wildcard_share: f64,
    pub payload: String,
    /// `open` or `closed`.
    pub pacing: String,
    /// Messages a second, of an open loop.
    pub rate_asked: Option<f64>,
    /// Messages outstanding a publisher, of a closed loop.
    pub window: Option<u32>,
    pub warm_up_seconds: f64,
    pub seconds: f64,
    pub driver_cores: Vec<usize>,
}

/// Messages, over the whole run including warm-up.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub sent: u64,
    /// Deliveries that `sent` should have caused.
    pub expected: u64,
    pub delivered: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub refused: u64,
    pub disconnects: u64,
    /// Latencies too long for the histogram, and receipts before their send.
    pub overflow: u64,
    pub negative: u64,
}

/// Over the measured part.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Rates {
    pub sent_per_second: f64,
    pub delivered_per_second: f64,
    /// Payload bytes.
    pub delivered_bytes_per_second: f64,
    pub seconds: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    pub pass: bool,
    /// Why it failed.
    pub reasons: Vec<String>,
    /// What makes the figures doubtful without failing the run.
    pub warnings: Vec<String>,
    #[serde(default)]
    pub targets: Vec<TargetSeen>,
}

/// A figure that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSeen {
    pub asked: String,
    pub seen: String,
    pub pass: bool,
}

/// Histograms in HdrHistogram's V2 encoding, deflated, base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Histograms {
    pub response: String,
    pub service: String,
    pub lateness: String,
}

/// Messages of one lane: counts of the whole run, response times of its measured part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub expected: u64,
    pub delivered: u64,
    pub response: String,
    /// Until a member was done with it; absent unless members take time.
    #[serde(default)]
    pub done: Option<String>,
}

/// What the members of a group that acknowledges did, over the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounts {
    pub acknowledged: u64,
    /// By `-NAK`.
    pub refused: u64,
    /// On purpose.
    pub unanswered: u64,
    /// Keys that messages had; 0: none.
    pub keys: u32,
    /// Messages that came to another member than the one before of their key.
    pub moved: u64,
}

/// A slice of the measured part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interval {
    /// From the start of the measured part.
    pub start_seconds: f64,
    pub seconds: f64,
    /// Response times of messages received in it.
    pub response: String,
    /// Pauses of the drivers' own loops above the threshold: the machine's noise, not the server's.
    pub gaps: u64,
    pub gap_nanos_max: u64,
    /// Of the whole machine, in this interval.
    pub interrupts: u64,
    pub context_switches: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub generator_cpu_seconds: f64,
    /// How much of its time the busiest driver had something to do, from 0 to 1.
    #[serde(default)]
    pub generator_busy_share: f64,
    pub server: Option<ServerUsage>,
}

/// Of the process named by `--server-pid` or started by the generator, over the measured part.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ServerUsage {
    pub cpu_seconds: f64,
    /// CPU time divided by messages delivered.
    pub cpu_nanos_per_message: f64,
    pub resident_bytes: u64,
    pub resident_bytes_growth: i64,
}

pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("writing to memory does not fail, and counts fit their type");
    STANDARD.encode(bytes)
}

pub fn decode(text: &str) -> io::Result<Histogram<u64>> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let bytes = STANDARD.decode(text).map_err(|error| invalid(format!("histogram: {error}")))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| invalid(format!("histogram: {error}")))
}

impl Histograms {
    pub fn of(set: &LatencySet) -> Histograms {
        Histograms {
            response: encode(&set.response),
            service: encode(&set.service),
            lateness: encode(&set.lateness),
        }
    }

    pub fn decode(&self) -> io::Result<LatencySet> {
        Ok(LatencySet {
            response: decode(&self.response)?,
            service: decode(&self.service)?,
            lateness: decode(&self.lateness)?,
            overflow: 0,
            negative: 0,
        })
    }
}

impl RunResult {
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n")
    }

    pub fn load(path: &Path) -> io::Result<RunResult> {
        let named = |error: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let result: RunResult = serde_json::from_str(&text).map_err(|error| named(error.to_string()))?;
        if result.schema_version > SCHEMA_VERSION {
            let version = result.schema_version;
            return Err(named(format!(
                "layout {version} is newer than this program reads ({SCHEMA_VERSION})"
            )));
        }
        Ok(result)
    }
}
