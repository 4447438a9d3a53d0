//! The admin address over real sockets.

use super::pulse::{Pulse, SILENCE_MAX};
use super::{AdminHandle, AdminState, ServerFacts, spawn};
use crate::io::metrics::SharedCounters;
use ringbolt_shard::metrics::{Counter, Counters};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn start() -> (AdminHandle, Arc<AdminState>, Arc<SharedCounters>) {
    let counters = Arc::<SharedCounters>::default();
    let state = Arc::new(AdminState::new(vec![Arc::clone(&counters)], ServerFacts::default(), None));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let handle = spawn(address, Arc::clone(&state)).expect("a free port");
    (handle, state, counters)
}

fn connect(handle: &AdminHandle) -> TcpStream {
    let stream = TcpStream::connect(handle.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
    stream.set_nodelay(true).expect("sets");
    stream
}

/// Everything the server says until it closes.
fn ask(handle: &AdminHandle, request: &[u8]) -> String {
    let mut stream = connect(handle);
    stream.write_all(request).expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer, then the end");
    text
}

fn get(handle: &AdminHandle, path: &str) -> String {
    ask(handle, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
}

#[test]
fn ready_only_between_start_and_drain() {
    let (handle, state, _) = start();
    assert!(get(&handle, "/readyz").starts_with("HTTP/1.1 503 "));
    assert!(get(&handle, "/healthz").starts_with("HTTP/1.1 200 "), "starting is not ill");
    state.ready.store(true, Ordering::Relaxed);
    assert!(get(&handle, "/readyz").starts_with("HTTP/1.1 200 "));
    state.draining.store(true, Ordering::Relaxed);
    assert!(get(&handle, "/readyz").ends_with("draining\n"));
    handle.stop();
}

#[test]
fn dead_letters_are_not_for_pages_in_a_browser() {
    let (handle, _, _) = start();
    let request = |line: &str, header: &str| {
        ask(&handle, format!("{line} HTTP/1.1\r\nHost: a\r\n{header}Connection: close\r\n\r\n").as_bytes())
    };
    for line in ["POST /dead-letters/purge?all=1", "POST /dead-letters/replay?all=1", "GET /dead-letters"] {
        assert!(request(line, "").starts_with("HTTP/1.1 403 "), "{line}");
    }
    let header = "Ringbolt-Admin: test\r\n";
    assert!(request("POST /dead-letters/purge", header).starts_with("HTTP/1.1 400 "), "which?");
    assert!(request("POST /dead-letters/purge?all=1", header).starts_with("HTTP/1.1 503 "), "no shards here");
    assert!(request("POST /metrics", "").starts_with("HTTP/1.1 405 "));
    handle.stop();
}

#[test]
fn metrics_are_what_the_shard_last_published() {
    let (handle, _, shared) = start();
    let mut counters = Counters::default();
    counters.set(Counter::Connections, 42);
    shared.publish(&counters);
    let text = get(&handle, "/metrics");
    assert!(text.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0"), "{text}");
    assert!(text.contains("ringbolt_connections{shard=\"0\"} 42\n"), "{text}");
    handle.stop();
}

#[test]
fn a_request_in_single_bytes_and_two_in_one_are_answered_alike() {
    let (handle, _, _) = start();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = b"GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut stream = connect(&handle);
    request.iter().for_each(|byte| stream.write_all(&[*byte]).expect("writes"));
    stream.write_all(&[&request[..], last].concat()).expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("three answers, then the end");
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches("HTTP/1.1 404 Not Found").count(), 1, "{text}");
    handle.stop();
}

#[test]
fn what_is_no_request_for_us_is_refused_and_closed() {
    let (handle, _, _) = start();
    let endless = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; super::http::HEAD_BYTES_MAX]].concat();
    for (request, status) in [
        (&b"\x16\x03\x01\x00\xee\r\n\r\n"[..], "400"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"GET / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", "413"),
        (&endless, "431"),
    ] {
        // Read what comes: a refusal may be followed by a reset, because unread bytes are dropped.
        let mut stream = connect(&handle);
        stream.write_all(request).expect("writes");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, format!("HTTP/1.1 {status}").as_bytes());
    }
    handle.stop();
}

#[test]
fn stopping_ends_open_connections_and_frees_the_address() {
    let (handle, _, _) = start();
    let mut idle = connect(&handle);
    assert!(get(&handle, "/healthz").ends_with("{\"status\":\"ok\"}"));
    let address = handle.address;
    handle.stop();
    assert_eq!(idle.read(&mut [0; 1]).expect("the connection ends"), 0);
    // The kernel takes an executor's ring down after its thread has ended, and the listener with it.
    let limit = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < limit, "nobody listens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_shard_that_hangs_makes_the_server_ill_unless_it_drains() {
    let state = AdminState::new(vec![Arc::default()], ServerFacts::default(), None);
    let Some(long_ago) = Instant::now().checked_sub(2 * SILENCE_MAX) else { return };
    let silent = Pulse::new(1, long_ago);
    assert_eq!(state.health(&silent).0, 503);
    assert_eq!(state.health(&state.pulse()).0, 200);
    state.draining.store(true, Ordering::Relaxed);
    assert_eq!(state.health(&silent).0, 200);
}

#[test]
fn connections_are_bounded_and_their_places_come_back() {
    let (handle, _, _) = start();
    let mut open: Vec<TcpStream> = (0..super::server::CONNECTIONS_MAX).map(|_| connect(&handle)).collect();
    let mut one_too_many = connect(&handle);
    assert!(matches!(one_too_many.read(&mut [0; 1]), Ok(0)), "closed without an answer");
    let request = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";
    let last = open.last_mut().expect("open");
    last.write_all(request).expect("writes");
    let mut text = String::new();
    last.read_to_string(&mut text).expect("answered, because it was in time");
    assert!(text.ends_with("{\"status\":\"ok\"}"));
    // Its end, seen here, may still be unseen there.
    let answered = (0..1000).any(|_| {
        let mut stream = connect(&handle);
        let mut answer = Vec::new();
        stream.write_all(request).is_ok() && stream.read_to_end(&mut answer).is_ok() && !answer.is_empty()
    });
    assert!(answered);
    handle.stop();
}
