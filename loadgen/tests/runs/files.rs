//! What a run leaves in its folder.

use crate::support::{WHATEVER_RATE, loadgen};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringbolt_loadgen::result::RunResult;

#[test]
fn a_folder_holds_the_run_in_four_forms_that_agree() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().to_str().expect("UTF-8");
    let arguments = ["-d", "2s", "--warm-up", "200ms", "-r", "5k", "--quiet", "--name", "a <b>", "-o", out];
    let finished = loadgen(&[&arguments[..], &WHATEVER_RATE].concat());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let run = RunResult::load(&folder.path().join("run.json")).expect("it reads its own file");
    assert_eq!(run.name, "a <b>");
    assert!(run.host.facts.contains_key("kernel.release") && !run.command_line.is_empty());

    let hlog = read("run.hlog");
    let mut sum = Histogram::<u64>::new(3).expect("three digits");
    let mut intervals = 0;
    for entry in IntervalLogIterator::new(hlog.as_bytes()) {
        let LogEntry::Interval(line) = entry.expect("the log's lines are right") else { continue };
        if line.tag().is_some_and(|tag| tag.as_str() == "response") {
            let bytes = base64_of(line.encoded_histogram());
            let part: Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
            sum.add(&part).expect("it fits");
            intervals += 1;
        }
    }
    let response = run.latency.decode().expect("histograms").response;
    assert_eq!(intervals, 2);
    assert_eq!(sum.len(), response.len());
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        assert_eq!(sum.value_at_quantile(quantile), response.value_at_quantile(quantile));
    }

    let page = read("report.html");
    assert!(page.contains("a &lt;b&gt;") && page.contains("<svg"), "names are escaped, plots are inside");
    for fetched in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(fetched), "the page needs nothing else: {fetched}");
    }
    assert!(read("run.hgrm").contains("#[Mean"));
}

fn base64_of(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
