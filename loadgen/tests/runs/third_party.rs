//! Our histogram files, read by PyPI's `hdrhistogram`, which shares no code with ours.

use crate::support::{WHATEVER_RATE, loadgen};
use ringbolt_loadgen::result::RunResult;
use std::process::Command;

/// Prints the count and percentiles of the log's response lines, then how many samples of it are no
/// greater than the value of each line of the percentile file, beside the count that stands there.
const SCRIPT: &str = r#"
import sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
total = HdrHistogram(1, 120_000_000_000, 3)
reader = HistogramLogReader(sys.argv[1], total)
while True:
    part = reader.get_next_interval_histogram()
    if part is None:
        break
    if part.get_tag() == "response":
        total.add(part)
print(total.get_total_count(), *[total.get_value_at_percentile(p) for p in (50, 90, 99, 99.9, 100)])
up_to = {total.get_highest_equivalent_value(item.value_iterated_to): item.total_count_to_this_value
         for item in total.get_recorded_iterator()}
for line in open(sys.argv[2]):
    if not line.startswith('#') and line.strip() and "Percentile" not in line:
        value, percentile, count = line.split()[:3]
        found = up_to[round(float(value) * 1000)]
        assert float(percentile) <= found / total.get_total_count() + 1e-9, line
        print(count, found)
"#;

#[test]
fn python_reads_the_same_percentiles_from_our_files() {
    let Some(python) = std::env::var_os("RINGBOLT_PYTHON") else {
        println!("skipped: RINGBOLT_PYTHON names no Python with hdrhistogram");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().to_str().expect("UTF-8");
    let arguments = ["-d", "2s", "--warm-up", "200ms", "-r", "20k", "--quiet", "-o", out];
    let finished = loadgen(&[&arguments[..], &WHATEVER_RATE].concat());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let run = RunResult::load(&folder.path().join("run.json")).expect("its own file");
    let response = run.latency.decode().expect("histograms").response;
    // Every percentile below is a whole rank of it: implementations differ in how they round ranks.
    assert_eq!(response.len(), 40_000);

    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args([folder.path().join("run.hlog"), folder.path().join("run.hgrm")])
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = text
        .lines()
        .map(|line| -> Vec<u64> { line.split(' ').map(|word| word.parse().expect("a number")).collect() });
    let mut ours = vec![response.len()];
    ours.extend([0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| response.value_at_quantile(quantile)));
    assert_eq!(lines.next().expect("a line"), ours, "count, p50, p90, p99, p99.9, max");
    let counts: Vec<Vec<u64>> = lines.collect();
    assert!(counts.len() > 20, "the percentile file has lines");
    for pair in counts {
        assert_eq!(pair[0], pair[1], "the count of a line of run.hgrm");
    }
}
