//! `compare` and `ab`: what they say, what they write, how they exit.

use crate::support::{WHATEVER_RATE, loadgen, short_run};
use ringbolt_loadgen::histogram::LatencySet;
use ringbolt_loadgen::result::{Histograms, RunResult};
use std::path::Path;

/// Three rounds of a run whose latencies are all about `micros`; returns them as an argument.
fn rounds(folder: &Path, template: &RunResult, label: &str, micros: u64) -> String {
    let paths: Vec<String> = (0..3u64)
        .map(|round| {
            let mut set = LatencySet::default();
            for sample in 0..10_000 {
                set.record(0, 0, micros * 1000 + 10 * sample % 997 + 100 * round, 1);
            }
            let mut run = template.clone();
            run.latency = Histograms::of(&set);
            let path = folder.join(format!("{label}{round}.json"));
            run.save(&path).expect("writes");
            path.to_str().expect("UTF-8").to_owned()
        })
        .collect();
    format!("{label}={}", paths.join(","))
}

#[test]
fn the_gate_closes_for_what_is_significantly_worse_and_only_for_that() {
    let (template, _) = short_run(&["-r", "1k"]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [base, same, slower] = [("base", 100), ("same", 100), ("slower", 130)]
        .map(|(label, micros)| rounds(folder.path(), &template, label, micros));
    let code = |arguments: &[&str]| loadgen(&[&["compare"], arguments].concat()).code;
    assert_eq!(code(&[&base, &same, "--gate", "p99"]), Some(0));
    assert_eq!(code(&[&base, &slower, "--gate", "p99"]), Some(1));
    assert_eq!(code(&[&slower, &base, "--gate", "p99"]), Some(0), "better is not worse");
    assert_eq!(
        code(&[&base, &slower, "--gate", "p50", "--fail-over", "50"]),
        Some(0),
        "30 % is less than 50 %"
    );
    assert_eq!(code(&[&base, &slower, "--gate", "nonsense"]), Some(2));
    assert_eq!(code(&[&base, "missing.json"]), Some(2));

    let html = folder.path().join("page.html");
    let finished = loadgen(&["compare", &base, &slower, "--html", html.to_str().expect("UTF-8")]);
    assert_eq!(finished.code, Some(0));
    for words in ["base → slower", "p99 µs", "worse", "95 % interval", "detectable"] {
        assert!(finished.stdout.contains(words), "{words} in {}", finished.stdout);
    }
    let page = std::fs::read_to_string(html).expect("the page");
    assert!(page.contains("slower") && page.contains("<svg"));
}

#[test]
fn what_differs_between_hosts_and_workloads_is_said() {
    let (template, _) = short_run(&["-r", "1k"]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let base = rounds(folder.path(), &template, "base", 100);
    let mut other = template;
    other.host.facts.insert("sysctl.vm.swappiness".to_owned(), "17".to_owned());
    other.workload.payload = "9999".to_owned();
    let changed = rounds(folder.path(), &other, "changed", 100);
    let finished = loadgen(&["compare", &base, &changed]);
    assert!(finished.stdout.contains("sysctl.vm.swappiness") && finished.stdout.contains("→ 17"));
    assert!(finished.stdout.contains("the workloads differ"), "{}", finished.stdout);
}

#[test]
fn ab_runs_both_sides_in_turns_and_writes_every_round() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().to_str().expect("UTF-8");
    let arguments = ["ab", "--a=--wait balanced", "--b=--wait efficient", "--rounds", "2", "-r", "2k"];
    let more = ["-d", "500ms", "--warm-up", "100ms", "--quiet", "-o", out];
    let finished = loadgen(&[&arguments[..], &more, &WHATEVER_RATE].concat());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("ringbolt --wait balanced → ringbolt --wait efficient"));
    for file in
        ["a1/run.json", "a2/run.hlog", "b1/run.hgrm", "b2/report.html", "comparison.json", "index.html"]
    {
        assert!(folder.path().join(file).exists(), "{file}");
    }
    let same = loadgen(&["ab", "--rounds", "1"]);
    assert_ne!(same.code, Some(0), "two equal sides are no comparison");
}
