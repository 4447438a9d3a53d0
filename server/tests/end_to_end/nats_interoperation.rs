//! Native clients and NATS clients on one bus: messages, headers, priorities and requests cross.

use crate::server::{PATIENCE, Server};
use ringbolt_protocol::command::{Compression, Flags, Priority, Publish, SubjectRef};
use ringbolt_protocol::native::encode;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A NATS client that sees every byte.
pub struct RawNats(TcpStream);

impl RawNats {
    /// Connected, and past INFO.
    pub fn connect(address: &str, options: &str) -> RawNats {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut client = RawNats(stream);
        client.read_past("\r\n");
        client.say(&format!("CONNECT {options}\r\n"));
        client
    }

    pub fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("the server takes bytes");
    }

    /// Everything up to and with `end`.
    pub fn read_past(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} behind {:?}", String::from_utf8_lossy(&read));
            });
            read.push(byte[0]);
        }
        String::from_utf8(read).expect("UTF-8")
    }

    /// What came before the answer to a `PING`.
    pub fn settle(&mut self) -> String {
        self.say("PING\r\n");
        let read = self.read_past("PONG\r\n");
        read.strip_suffix("PONG\r\n").expect("just read").to_owned()
    }
}

const WITH_HEADERS: &str = "{\"verbose\":false,\"headers\":true,\"no_responders\":true}";
const PLAIN: &str = "{\"verbose\":false}";

fn native_publish(flags: Flags, correlation_id: u64, header_bytes: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let publish = Publish {
        flags,
        timestamp_nanos: 7,
        correlation_id,
        subject: SubjectRef::Literal(b"bus"),
        reply: None,
        header_bytes,
        payload,
    };
    encode::publish(&mut frame, &publish);
    frame
}

#[test]
fn a_native_message_reaches_nats_subscribers_with_what_it_says() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut native = server.connect();
    let mut with_headers = RawNats::connect(&server.nats, WITH_HEADERS);
    let mut plain = RawNats::connect(&server.nats, PLAIN);
    for client in [&mut with_headers, &mut plain] {
        client.say("SUB bus 1\r\n");
        assert_eq!(client.settle(), "");
    }
    let block = "NATS/1.0\r\nTrace: 1\r\n\r\n";
    let with_block = format!("{block}three");
    let high = Flags::new(Priority::High, Compression::Zstd);
    let own = "Ringbolt-Priority: high\r\nRingbolt-Compression: zstd\r\n";
    let second = format!("NATS/1.0\r\n{own}Ringbolt-Correlation-Id: 42\r\n\r\n");
    let fourth = format!("NATS/1.0\r\n{own}Trace: 1\r\n\r\n");
    let with_block_bytes = block.len() as u32;
    // One after the other: their lanes differ, and lanes overtake each other.
    for (publish, block, payload) in [
        (native_publish(Flags::default(), 0, 0, b"one"), "", "one"),
        (native_publish(high, 42, 0, b"two"), &second, "two"),
        (native_publish(Flags::default(), 0, with_block_bytes, with_block.as_bytes()), block, "three"),
        (native_publish(high, 0, with_block_bytes, with_block.as_bytes()), &fourth, "three"),
    ] {
        native.write(&publish);
        let (head, total) = (block.len(), block.len() + payload.len());
        let stripped = format!("MSG bus 1 {}\r\n{payload}\r\n", payload.len());
        let expected = match head {
            0 => stripped.clone(),
            _ => format!("HMSG bus 1 {head} {total}\r\n{block}{payload}\r\n"),
        };
        let end = format!("{payload}\r\n");
        assert_eq!(with_headers.read_past(&end), expected);
        assert_eq!(plain.read_past(&end), stripped);
    }
}

#[test]
fn a_nats_message_reaches_native_subscribers_with_what_its_headers_say() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut native = server.connect();
    let mut nats = RawNats::connect(&server.nats, WITH_HEADERS);
    native.subscribe("bus", None);
    let large = "x".repeat(50_000);
    for payload in ["hello", &large] {
        nats.say(&format!("PUB bus back {}\r\n{payload}\r\n", payload.len()));
        let delivery = native.delivery();
        assert_eq!((delivery.reply.as_deref(), delivery.header_bytes), (Some("back"), 0));
        assert_eq!(delivery.payload, payload.as_bytes());
    }
    let block = "NATS/1.0\r\nRingbolt-Priority: critical\r\nRingbolt-Correlation-Id: 9\r\nA: b\r\n\r\n";
    for payload in ["hello", &large] {
        nats.say(&format!(
            "HPUB bus {} {}\r\n{block}{payload}\r\n",
            block.len(),
            block.len() + payload.len()
        ));
        let delivery = native.delivery();
        assert_eq!(delivery.flags, Flags::new(Priority::Critical, Compression::None));
        assert_eq!((delivery.correlation_id, delivery.header_bytes as usize), (9, block.len()));
        assert_eq!(delivery.payload, format!("{block}{payload}").as_bytes());
    }
}

#[test]
fn large_payloads_are_shared_by_clients_of_both_dialects() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut natives: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut natives {
        client.subscribe("bus", None);
    }
    let mut plains: Vec<_> = (0..3).map(|_| RawNats::connect(&server.nats, PLAIN)).collect();
    for client in &mut plains {
        client.say("SUB bus 1\r\n");
        client.settle();
    }
    let mut publisher = RawNats::connect(&server.nats, WITH_HEADERS);
    let block = "NATS/1.0\r\nA: b\r\n\r\n";
    for number in 0..20 {
        let payload = format!("{number}{}", "y".repeat(30_000 + 7_000 * number));
        let total = block.len() + payload.len();
        publisher.say(&format!("HPUB bus {} {total}\r\n{block}{payload}\r\n", block.len()));
        for client in &mut natives {
            assert_eq!(client.delivery().payload, format!("{block}{payload}").as_bytes());
        }
        for client in &mut plains {
            let expected = format!("MSG bus 1 {}\r\n{payload}\r\n", payload.len());
            assert_eq!(client.read_past("y\r\n"), expected);
        }
    }
}

#[test]
fn a_request_crosses_the_dialects_both_ways() {
    let server = Server::start(&["--cores", "0,1"]);
    let mut native = server.connect();
    let mut nats = RawNats::connect(&server.nats, WITH_HEADERS);
    native.subscribe("native.answers", None);
    nats.say("SUB nats.service 1\r\nSUB in.* 2\r\n");
    nats.settle();
    native.write(&crate::client::publish_frame("nats.service", Some("native.answers"), 0, b"ask"));
    assert_eq!(nats.read_past("ask\r\n"), "MSG nats.service 1 native.answers 3\r\nask\r\n");
    nats.say("PUB native.answers 6\r\nanswer\r\n");
    assert_eq!(native.delivery().payload, b"answer");
    native.subscribe("native.service", Some("group"));
    nats.say("PUB native.service in.1 3\r\nask\r\n");
    assert_eq!(native.delivery().reply.as_deref(), Some("in.1"));
    native.publish("in.1", b"answer");
    assert_eq!(nats.read_past("answer\r\n"), "MSG in.1 2 6\r\nanswer\r\n");
}
