//! Every workload, driven and checked against the real server.

use crate::support::{WHATEVER_RATE, command, loadgen, server_program, short_run};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn every_workload_arrives_whole() {
    let cases: &[&[&str]] = &[
        &["--workload", "pubsub", "-r", "5k"],
        &["--workload", "pubsub", "-r", "5k", "-p", "3", "-s", "5", "-k", "7", "--wildcard-share", "0.5"],
        &["--workload", "pubsub", "-r", "5k", "--payload", "16:90,4096:10", "--arrival", "poisson"],
        &["--workload", "pubsub", "-r", "200", "--payload", "100000..200000"],
        &["--workload", "pubsub", "--ramp", "100..5k:1s"],
        &["--workload", "request", "-r", "2k", "-p", "2", "-s", "2"],
        &["--workload", "request", "-p", "1", "-s", "1", "--closed"],
        &["--workload", "fanout", "-r", "200", "-p", "1", "-s", "20"],
        &["--workload", "queue", "-r", "2k", "-p", "2", "-s", "4"],
        &["--workload", "churn", "-r", "50", "-p", "4"],
        &["--workload", "pubsub", "-r", "5k", "--unix"],
        &["--workload", "pubsub", "-p", "1", "-s", "1", "--closed", "--window", "100"],
        &["--workload", "pubsub", "-p", "2", "-s", "3", "--closed", "--window", "500", "--batch", "100"],
        &["--workload", "fanout", "-s", "3", "--closed", "--window", "500", "--batch", "1000"],
        &["--workload", "sink", "-p", "2", "--closed", "--window", "1000"],
        &["--workload", "sink", "-p", "1", "--closed", "--window", "1000", "--dialect", "nats"],
        &["--workload", "sink", "-p", "1", "--closed", "--window", "1000", "--batch", "64"],
        &["--workload", "pubsub", "-r", "5k", "--prefix", "other"],
    ];
    // The kernel counts CPU time in hundredths of a second: one short run may show none.
    let mut server_cpu_seconds = 0.0;
    for case in cases {
        let (run, finished) = short_run(&[case, &WHATEVER_RATE[..]].concat());
        let counts = run.counts;
        assert_eq!(finished.code, Some(0), "{case:?}\n{}\n{}", finished.stdout, finished.stderr);
        assert!(run.verdict.pass && counts.delivered > 0, "{case:?}");
        assert_eq!(counts.delivered, counts.expected, "{case:?}");
        let faults = counts.lost + counts.duplicated + counts.reordered + counts.corrupted + counts.refused;
        assert_eq!(faults, 0, "{case:?}");
        server_cpu_seconds += run.usage.server.expect("its own server").cpu_seconds;
    }
    assert!(server_cpu_seconds > 0.0);
}

#[test]
fn a_subscriber_that_never_reads_keeps_nothing_from_the_others() {
    let stalled = ["--workload", "fanout", "-s", "4", "--stalled", "1", "--payload", "4096"];
    let until = ["--closed", "--window", "200", "--count", "30000", "--duration", "60s"];
    let (run, finished) = short_run(&[&stalled[..], &until].concat());
    assert!(run.verdict.pass, "{}", finished.stdout);
    assert_eq!(run.counts.delivered, 3 * run.counts.sent, "three of four read");
    // Far more was sent than sockets and an outbox hold: the server had to decide about the fourth.
    let bytes = run.counts.sent * 4096;
    assert!(bytes > 100 << 20, "{bytes} bytes were sent to it");
}

const LANES: [&str; 8] = ["--workload", "queue", "-p", "5", "-k", "5", "--lanes", FIVE_LANES];
const FIVE_LANES: &str = "critical,high,normal,low,background";

#[test]
fn members_that_work_and_acknowledge_get_everything_by_lanes() {
    for dialect in ["native", "nats"] {
        let works = ["--group", "workers;ack;inflight=4", "--work", "100us", "-s", "3", "-r", "2k"];
        let case = [&LANES[..], &works, &["--dialect", dialect], &WHATEVER_RATE].concat();
        let (run, finished) = short_run(&case);
        assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
        let names: Vec<&str> = run.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(names.join(","), FIVE_LANES);
        assert!(run.lanes.iter().all(|lane| lane.delivered > 0 && lane.delivered == lane.expected));
        assert_eq!(run.lanes.iter().map(|lane| lane.delivered).sum::<u64>(), run.counts.delivered);
        assert!(finished.stdout.contains("lane, µs"), "{}", finished.stdout);
    }
}

#[test]
fn more_work_than_can_be_done_costs_the_background_and_not_the_critical() {
    // Two members do 200 a second each; a thousand come, and of the critical fewer than may wait.
    let works = ["--group", "workers;ack;inflight=1;pending=300", "--work", "5ms", "-s", "2", "-r", "1k"];
    let case = [&LANES[..], &works, &["--may-shed"], &WHATEVER_RATE].concat();
    let (run, finished) = short_run(&case);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    let missing = |place: usize| run.lanes[place].expected - run.lanes[place].delivered;
    assert_eq!(missing(0), 0, "{}", finished.stdout);
    assert!(missing(4) > run.lanes[4].expected / 2, "{}", finished.stdout);
}

#[test]
fn members_that_fail_get_every_message_at_least_once() {
    let group = "workers;ack;wait=200ms;max=100;poison=100;breaker=off;backoff=1ms..5ms";
    let fails = ["--workload", "queue", "-r", "2k", "--group", group, "--nak", "0.2", "--silent", "0.02"];
    for dialect in ["native", "nats"] {
        let (run, finished) = short_run(&[&fails[..], &["--dialect", dialect], &WHATEVER_RATE].concat());
        assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
        let members = run.members.expect("they acknowledge");
        assert_eq!(run.counts.lost, 0);
        assert!(run.counts.duplicated > 0 && members.refused > 0 && members.unanswered > 0, "{members:?}");
        assert!(members.acknowledged > members.refused, "{members:?}");
    }
}

#[test]
fn a_key_keeps_its_member() {
    let keyed = ["--workload", "queue", "-r", "1k", "--group", "workers;ack;key=Key", "--keys", "50"];
    let cores =
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) { "0,1" } else { "0" };
    for (dialect, cores) in [("native", "0"), ("nats", cores)] {
        let server = ["--dialect", dialect, "--server-cores", cores];
        let (run, finished) = short_run(&[&keyed[..], &server, &WHATEVER_RATE].concat());
        assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
        let members = run.members.expect("they acknowledge");
        // One that is behind passes keys on: few, where there is time enough.
        assert!(members.moved < run.counts.delivered / 10, "{members:?} of {}", run.counts.delivered);
        assert!(finished.stdout.contains("50 keys"), "{}", finished.stdout);
    }
    // The same messages spread over the members without the option.
    let spread = ["--workload", "queue", "-k", "1", "-r", "1k", "--group", "workers;ack", "--keys", "50"];
    let (run, _) = short_run(&[&spread[..], &WHATEVER_RATE].concat());
    let members = run.members.expect("they acknowledge");
    assert!(members.moved > run.counts.delivered / 2, "{members:?} of {}", run.counts.delivered);
}

#[test]
fn a_missed_target_fails_the_run_and_is_named() {
    let (run, finished) = short_run(&["-r", "1k", "--target", "max<1ms,rate>1M,growth<1000MiB,moved<0.5"]);
    assert_eq!(finished.code, Some(1), "{}\n{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains("failed: delivered at least 1 000 000 msg/s: "), "{}", finished.stdout);
    assert!(finished.stdout.contains("reached: server memory growth"), "{}", finished.stdout);
    let not_measured = &run.verdict.targets[3];
    assert!(!not_measured.pass && not_measured.seen == "not measured", "a figure nobody has is not reached");
}

#[test]
fn validation_says_of_every_target_whether_it_was_reached() {
    let finished = loadgen(&["validate", "--rows", "retries,keys", "--duration", "1s", "--quiet"]);
    let (reached, missed) =
        (finished.stdout.matches("PASS").count(), finished.stdout.matches("FAIL").count());
    assert!(
        finished.stdout.contains("retries\n") && finished.stdout.contains("keys\n"),
        "{}",
        finished.stdout
    );
    assert_eq!(finished.code, Some(i32::from(missed > 0)), "{}\n{}", finished.stdout, finished.stderr);
    assert!(reached + missed >= 5, "two rows, a target each, and the end: {}", finished.stdout);
    assert_eq!(loadgen(&["validate", "--rows", "none"]).code, Some(2));
}

#[test]
fn a_count_ends_the_run() {
    let (run, _) = short_run(&["--count", "500", "-r", "5k", "--duration", "30s"]);
    assert_eq!(run.counts.sent, 500);
}

#[test]
fn find_max_ends_with_a_rate_that_holds() {
    let search = |more: &[&str]| {
        loadgen(&[&["--find-max", "--slo", "1s", "--warm-up", "100ms", "--quiet"], more].concat())
    };
    // Other tests share the cores: there is room to step down, and the link's own limit is near.
    let finished = search(&["-r", "4k", "-d", "1500ms", "--payload", "60000"]);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.contains("PASS"), "{}", finished.stdout);
    let finished = search(&["-r", "1k", "-d", "300ms"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("too few for a P99"), "{}", finished.stderr);
}

#[test]
fn what_cannot_be_done_is_said_in_one_sentence() {
    let usage: &[&[&str]] = &[
        &["--rate", "fast"],
        &["--target", "p99=1ms"],
        &["--nak", "2"],
        &["--work", "12ms..4ms"],
        &["--payload", "3"],
        &["--workload", "sing"],
        &["--address", "nowhere"],
        &["--slo", "1ms", "--find-max", "--closed"],
        &["--closed", "--rate", "5k"],
        &["--closed", "--arrival", "poisson"],
        &["--lanes", "urgent"],
        &["--lanes", "low", "--dialect", "redis"],
        &["--group", "workers;ack"],
        &["--workload", "queue", "--work", "1ms"],
        &["--may-shed"],
    ];
    for arguments in usage {
        let finished = loadgen(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("error") || finished.stderr.contains("ringbolt-loadgen:"));
    }
    let finished = loadgen(&["--address", "127.0.0.1:1", "-d", "1s"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("is the server running there?"), "{}", finished.stderr);
}

#[test]
fn an_interrupted_run_leaves_no_server_behind() {
    let mut running = command();
    running.args(["--duration", "60s", "-r", "1k"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = running.spawn().expect("it runs");
    let pid = child.id().to_string();
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    // The first line about an interval means that the server runs.
    let first = lines.next();
    let children = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs").stdout;
    let server = String::from_utf8(children).expect("UTF-8").trim().to_owned();
    assert!(!server.is_empty(), "it started {}: {first:?}", server_program().display());
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
    assert!(!Path::new(&format!("/proc/{server}")).exists(), "the server is stopped with it");
}
