//! Other servers, where they are installed.

use crate::support::{WHATEVER_RATE, command, loadgen};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no {program} in PATH");
    }
    found
}

/// Runs the same load against `line` and against ringbolt.
fn compare(dialect: &str, line: impl Fn(u16) -> String) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let peer = format!("--a={dialect}@127.0.0.1:{port} {}", line(port));
    for workload in ["pubsub", "fanout"] {
        let arguments = ["ab", &peer, "--b=--wait balanced", "--rounds", "1", "--workload", workload];
        let more = ["-r", "1k", "-p", "1", "-s", "2", "-d", "500ms", "--warm-up", "100ms", "--quiet"];
        let finished = loadgen(&[&arguments[..], &more[..], &WHATEVER_RATE].concat());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout.matches("PASS").count(), 2, "{}", finished.stdout);
    }
}

#[test]
fn nats_server_is_driven_by_the_same_load() {
    if let Some(program) = find("nats-server") {
        compare("nats", |port| format!("{} -a 127.0.0.1 -p {port}", program.display()));
    }
}

#[test]
fn redis_is_driven_by_the_same_load() {
    if let Some(program) = find("redis-server") {
        compare("redis", |port| format!("{} --bind 127.0.0.1 --port {port} --save", program.display()));
    }
}

#[test]
fn mosquitto_is_driven_by_the_same_load() {
    if let Some(program) = find("mosquitto") {
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        compare("mqtt", |port| {
            let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
            std::fs::write(config.path(), text).expect("it is writable");
            format!("{} -c {}", program.display(), config.path().display())
        });
    }
}

/// Stopped by its pid, whatever happens.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_limit_relays_every_workload_it_can_and_says_what_it_cannot() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let relay = command().args(["limit", "--listen", &address]).stderr(Stdio::null()).spawn();
    let _relay = Relay(relay.expect("it starts"));
    for _ in 0..200 {
        if std::net::TcpStream::connect(&address).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = |more: &[&str]| {
        let common =
            ["--dialect", "raw", "--address", &address, "-d", "400ms", "--warm-up", "100ms", "--quiet"];
        loadgen(&[&common[..], more, &WHATEVER_RATE].concat())
    };
    for case in [
        &["-p", "3", "-s", "3", "-r", "2k"][..],
        &["-p", "1", "-s", "1", "--payload", "200000", "--closed", "--window", "8"],
        &["--workload", "fanout", "-s", "5", "-r", "1k"],
        &["--workload", "request", "-p", "2", "-s", "2", "-r", "1k"],
        &["--workload", "churn", "-p", "4", "-r", "50"],
    ] {
        let finished = run(case);
        assert_eq!(finished.code, Some(0), "{case:?}\n{}\n{}", finished.stdout, finished.stderr);
    }
    for case in [
        &["--workload", "queue"][..],
        &["-p", "4", "-s", "4", "-k", "2"],
        &["--workload", "sink", "--closed"],
    ] {
        let finished = run(case);
        assert_eq!(finished.code, Some(2), "{case:?}");
        assert!(finished.stderr.contains("relay") || finished.stderr.contains("raw"), "{}", finished.stderr);
    }
}

#[test]
fn peers_are_compared_row_by_row_and_written_down() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().to_str().expect("UTF-8");
    let short = ["--rounds", "2", "-d", "200ms", "--warm-up", "50ms", "--quiet", "--out", out];
    let finished = loadgen(&[&["peers", "--rows", "request,pubsub-16"], &short[..]].concat());
    assert!(finished.code == Some(0), "{}\n{}", finished.stdout, finished.stderr);
    let text = std::fs::read_to_string(folder.path().join("peers.json")).expect("it was written");
    let peers: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let rows = peers["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        let entries = row["entries"].as_array().expect("entries");
        let systems: Vec<&str> = entries.iter().filter_map(|entry| entry["system"].as_str()).collect();
        // The first row is also run without sleeping.
        let both = row["name"] == "request";
        let mut wanted = vec!["ringbolt, NATS, balanced", "ringbolt, native, balanced", "limit, sleeping"];
        wanted.extend(both.then_some("ringbolt, native, latency"));
        wanted.extend(both.then_some("limit, spinning"));
        for wanted in wanted {
            assert!(systems.contains(&wanted), "{wanted} is missing: {systems:?}");
        }
        for entry in entries {
            let p50 = &entry["p50_micros"];
            assert!(p50["least"].as_f64() <= p50["median"].as_f64(), "{entry}");
            assert!(p50["median"].as_f64().is_some_and(|median| median > 0.0), "{entry}");
        }
    }
    let page = std::fs::read_to_string(folder.path().join("index.html")).expect("it was written");
    assert!(page.contains("<svg") && page.contains("limit, spinning"));
    std::fs::remove_file(folder.path().join("index.html")).expect("it was there");
    let again = loadgen(&["peers", "--again", out]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(folder.path().join("index.html")).expect("written anew"), page);
    assert!(again.stdout.contains("limit, spinning"));
    let wrong = loadgen(&["peers", "--rows", "nonsense"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("no row 'nonsense'") && wrong.stderr.contains("pubsub-16"),
        "{}",
        wrong.stderr
    );
}
