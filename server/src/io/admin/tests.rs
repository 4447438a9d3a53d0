//! The admin address over real sockets.

use super::pulse::{Pulse, SILENCE_MAX};
use super::{AdminHandle, AdminState, ServerFacts, spawn};
use crate::config::{Config, Sources};
use crate::io::metrics::SharedCounters;
use ringbolt_shard::metrics::{Counter, Counters};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn state_of(counters: Arc<SharedCounters>) -> AdminState {
    let config = Config::from_sources(&Sources::defaults()).expect("valid settings");
    let limits = config.limits().expect("settings that agree");
    AdminState::new(vec![counters], ServerFacts::default(), &config.access, &limits, None)
}

fn start() -> (AdminHandle, Arc<AdminState>, Arc<SharedCounters>) {
    let counters = Arc::<SharedCounters>::default();
    let state = Arc::new(state_of(Arc::clone(&counters)));
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
    ask(handle, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
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
        ask(
            &handle,
            format!("{line} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n").as_bytes(),
        )
    };
    for line in ["POST /dead-letters/purge?all=1", "POST /dead-letters/replay?all=1", "GET /dead-letters"] {
        assert!(request(line, "").starts_with("HTTP/1.1 403 "), "{line}");
    }
    // Pages may send any header where the server allows it, but not these two in another's name.
    for header in ["Origin: http://localhost:9090\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let header = format!("Ringbolt-Admin: test\r\n{header}");
        assert!(request("POST /dead-letters/purge?all=1", &header).starts_with("HTTP/1.1 403 "), "{header}");
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
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
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
    let state = state_of(Arc::default());
    let Some(long_ago) = Instant::now().checked_sub(2 * SILENCE_MAX) else { return };
    let silent = Pulse::new(1, long_ago);
    assert_eq!(state.health(&silent).0, 503);
    assert_eq!(state.health(&state.pulse()).0, 200);
    state.draining.store(true, Ordering::Relaxed);
    assert_eq!(state.health(&silent).0, 200);
}

#[test]
fn a_page_that_points_its_own_name_here_learns_nothing() {
    let (handle, _, _) = start();
    let request = |path: &str, host: &str| {
        let head = format!("GET {path} HTTP/1.1\r\n{host}Ringbolt-Admin: x\r\nConnection: close\r\n\r\n");
        ask(&handle, head.as_bytes())
    };
    for path in ["/metrics", "/varz", "/connz", "/dead-letters", "/dead-letters?id=0-1"] {
        let answer = request(path, "Host: evil.example:9090\r\n");
        assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{path}: {answer}");
    }
    for path in ["/healthz", "/metrics"] {
        for host in ["", "Host: localhost:9090\r\n", "Host: 127.0.0.1\r\n", "Host: [::1]:9090\r\n"] {
            assert!(request(path, host).starts_with("HTTP/1.1 200 "), "{path} {host}");
        }
    }
    assert!(request("/healthz", "Host: balancer.example\r\n").starts_with("HTTP/1.1 200 "), "a probe");
    handle.stop();
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n";

#[test]
fn who_comes_is_answered_whatever_the_others_do() {
    let (handle, _, _) = start();
    // Silent ones, ones in the middle of a request, and ones that asked and stay.
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..3 * super::server::CONNECTIONS_MAX {
        let mut stream = connect(&handle);
        let words: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /healthz HTTP/1.1\r\n",
            _ => b"GET /healthz HTTP/1.1\r\n\r\n",
        };
        stream.write_all(words).expect("writes");
        open.push(stream);
    }
    assert!(ask(&handle, HEALTH).ends_with("{\"status\":\"ok\"}"));
    // The oldest made room.
    assert!(matches!(open[0].read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
    let last = open.last_mut().expect("open");
    last.read_exact(&mut [0; 12]).expect("it was answered, and stays");
    handle.stop();
}
