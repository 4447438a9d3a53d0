//! Other servers, where they are installed.

use crate::support::loadgen;
use std::net::TcpListener;
use std::path::PathBuf;

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
        let finished = loadgen(&[&arguments[..], &more[..]].concat());
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
