//! The HdrHistogram log, version 1.3, as the Java, Python and JavaScript tools read it.
//!
//! Tags: `response` a line an interval; `service` and `lateness` one line for the whole measured part;
//! `gaps`, the pauses of the drivers' own loops, a line an interval that had any. Values are in
//! nanoseconds; the column of the maximum is in milliseconds, as the format wants.

use crate::histogram::new_histogram;
use crate::result::{RunResult, decode, encode};
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::io;

const NANOS_A_MILLI: f64 = 1e6;

/// The whole log.
pub fn render(run: &RunResult) -> io::Result<String> {
    let start = run.started_unix_millis as f64 / 1e3;
    let mut out = String::new();
    let _ = write!(
        out,
        "#[Histogram log format version 1.3]\n\
         #[ringbolt-loadgen {}: {}]\n\
         #[StartTime: {start:.3} (seconds since epoch)]\n\
         #[BaseTime: {start:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        env!("CARGO_PKG_VERSION"),
        run.name.replace(['\n', ']'], " "),
    );
    for interval in &run.intervals {
        let response = decode(&interval.response)?;
        line(&mut out, "response", interval.start_seconds, interval.seconds, &response, &interval.response);
        if interval.gaps > 0 {
            let gaps = gaps(interval.gaps, interval.gap_nanos_max);
            let text = encode(&gaps);
            line(&mut out, "gaps", interval.start_seconds, interval.seconds, &gaps, &text);
        }
    }
    for (tag, text) in [("service", &run.latency.service), ("lateness", &run.latency.lateness)] {
        line(&mut out, tag, 0.0, run.rates.seconds, &decode(text)?, text);
    }
    Ok(out)
}

fn line(out: &mut String, tag: &str, start: f64, seconds: f64, histogram: &Histogram<u64>, text: &str) {
    let max = histogram.max() as f64 / NANOS_A_MILLI;
    let _ = writeln!(out, "Tag={tag},{start:.3},{seconds:.3},{max:.3},{text}");
}

/// Drivers keep the count and the longest of an interval's gaps: all but the longest stand at the
/// threshold above which a pause is a gap.
fn gaps(count: u64, longest: u64) -> Histogram<u64> {
    const GAP_NANOS_MIN: u64 = crate::engine::recorder::GAP_NANOS_MIN;
    let mut histogram = new_histogram();
    // Both values are within bounds: a gap is shorter than its interval.
    let _ = histogram.record_n(GAP_NANOS_MIN, count - 1);
    let _ = histogram.record(longest);
    histogram
}
