//! Bytes no honest client sends, and clients that fall silent.

use crate::client::{Client, Got, hello, publish_frame};
use crate::server::{PATIENCE, Server};
use ringbolt_protocol::native::control::{CloseCode, Control, Ping, RefusalCode, encode_control};
use std::io::{Read, Write};
use std::net::TcpStream;

fn frame(control: &Control<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_control(control, &mut bytes);
    bytes
}

/// What the server says to these bytes of a client that said HELLO, up to the end.
fn answer_to(server: &Server, bytes: &[u8]) -> Vec<Got> {
    let mut client = server.connect();
    // The server may hang up before it has read all.
    let _ = client.try_write(bytes);
    client.rest()
}

#[test]
fn broken_frames_end_their_connection_with_the_reason() {
    let server = Server::start(&["--cores", "0"]);
    let good = frame(&Control::Ping(Ping { correlation_id: 1 }));
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    let mut wild_length = good.clone();
    wild_length[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut no_table = good.clone();
    no_table.truncate(24);
    no_table[4..8].copy_from_slice(&8u32.to_le_bytes());
    no_table.extend([0xff; 8]);
    let cases: [(&str, Vec<u8>); 8] = [
        ("garbage", vec![0x55; 4096]),
        ("a wrong magic", with(0, 0)),
        ("a wrong version", with(1, 9)),
        ("an unknown type", with(2, 200)),
        ("a wrong flag", with(3, 0x80)),
        ("a wild length", wild_length),
        ("no table in the body", no_table),
        ("a second HELLO", frame(&hello())),
    ];
    for (name, bytes) in cases {
        let got = answer_to(&server, &bytes);
        assert_eq!(got, [Got::Closed(CloseCode::ProtocolError)], "{name}");
    }
    // A shard copies its counters out now and then.
    let closed = || server.metric("ringbolt_connections_closed_total{reason=\"protocol_error\"");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while closed() < 8.0 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(closed(), 8.0, "each is counted");
}

#[test]
fn frames_before_a_broken_one_are_carried_out() {
    let server = Server::start(&["--cores", "0"]);
    let mut bytes = frame(&Control::Ping(Ping { correlation_id: 1 }));
    bytes.extend([0; 64]);
    let got = answer_to(&server, &bytes);
    assert_eq!(got, [Got::Pong(1), Got::Closed(CloseCode::ProtocolError)]);
}

#[test]
fn the_first_frame_must_be_hello() {
    let server = Server::start(&["--cores", "0"]);
    for bytes in [frame(&Control::Ping(Ping { correlation_id: 1 })), publish_frame("a", None, 0, b"x")] {
        let mut client = Client::silent(&server.native);
        client.write(&bytes);
        assert_eq!(client.rest(), [Got::Closed(CloseCode::ProtocolError)]);
    }
}

#[test]
fn a_hello_cut_anywhere_is_welcome_when_the_rest_comes_and_harmless_when_not() {
    let server = Server::start(&["--cores", "0"]);
    let bytes = frame(&hello());
    for cut in 1..bytes.len() {
        let mut client = Client::silent(&server.native);
        client.write(&bytes[..cut]);
        if cut % 2 == 0 {
            client.write(&bytes[cut..]);
            assert!(matches!(client.next(), Some(Got::Welcome { .. })), "cut at {cut}");
        }
    }
    let mut client = Client::silent(&server.native);
    for byte in bytes {
        client.write(&[byte]);
    }
    assert!(matches!(client.next(), Some(Got::Welcome { .. })), "byte by byte");
}

#[test]
fn a_payload_above_the_limit_is_refused_and_the_connection_goes_on() {
    let server = Server::start(&["--cores", "0", "--payload-bytes-max", "1KiB"]);
    let mut client = server.connect();
    client.subscribe("a", None);
    client.write(&publish_frame("a", None, 3, &[1; 1025]));
    assert_eq!(client.next(), Some(Got::Refused { code: RefusalCode::PayloadTooLarge, correlation_id: 3 }));
    client.write(&publish_frame("not..valid", None, 4, b"x"));
    assert_eq!(client.next(), Some(Got::Refused { code: RefusalCode::InvalidSubject, correlation_id: 4 }));
    client.publish("a", &[1; 1024]);
    assert_eq!(client.delivery().payload.len(), 1024);
}

#[test]
fn a_client_that_never_says_hello_is_closed() {
    let server = Server::start(&["--cores", "0", "--hello-timeout", "200ms"]);
    assert_eq!(Client::silent(&server.native).rest(), [Got::Closed(CloseCode::HelloTimeout)]);
}

#[test]
fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let server = Server::start(&["--cores", "0", "--ping-interval", "200ms"]);
    let mut lives = server.connect();
    let mut dead = server.connect();
    dead.answers_pings = false;
    let living = std::thread::spawn(move || {
        lives.subscribe("end", None);
        lives.delivery()
    });
    let got = dead.rest();
    assert_eq!(got, [Got::Ping, Got::Ping, Got::Closed(CloseCode::Stale)]);
    server.connect().publish("end", b"");
    living.join().expect("the other one still receives");
}

/// Connects, writes, and returns what comes back up to `end`.
fn converse(address: &str, words: &[u8], end: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(words).expect("it takes bytes");
    let heard = read_to(&mut stream, end);
    (stream, heard)
}

fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(end.as_bytes()) && stream.read(&mut byte).is_ok_and(|bytes| bytes > 0) {
        heard.push(byte[0]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn a_subscription_id_that_ends_in_an_odd_byte_harms_nobody() {
    let server = Server::start(&["--cores", "0"]);
    let (mut odd, _) = converse(&server.nats, b"SUB a 1\x0c\r\nUNSUB 1\x0c\r\nPING\r\n", "PONG\r\n");
    let (mut other, _) = converse(&server.nats, b"SUB b 7\r\nPING\r\n", "PONG\r\n");
    odd.write_all(b"UNSUB 1\x0c\r\nUNSUB 1\x0c\r\nPUB b 2\r\nhi\r\nPING\r\n").expect("it takes bytes");
    assert!(read_to(&mut odd, "PONG\r\n").ends_with("PONG\r\n"), "the server goes on");
    assert_eq!(read_to(&mut other, "hi\r\n"), "MSG b 7 2\r\nhi\r\n", "and so does a stranger's subscription");
    let page = b"GET /connz?subs=1 HTTP/1.0\r\n\r\n";
    let (_, page) = converse(&server.admin, page, "\0");
    assert!(page.contains("\"num_connections\":2"), "{page}");
}
