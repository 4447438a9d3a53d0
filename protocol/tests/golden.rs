//! The bytes of every frame are fixed: clients in other languages are written against them.

mod vectors;

use ringbolt_protocol::command::{Compression, Deliver, Flags, Priority, Publish, SubjectRef};
use ringbolt_protocol::native::batch::{DeliverBatch, Messages, PublishBatch, deliver_batch, publish_batch};
use ringbolt_protocol::native::control::*;
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::native::peek_frame;
use std::fmt::Write;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: 1 << 20 };
const TIMESTAMP_NANOS: u64 = 1_794_139_200_000_000_000;
const CORRELATION_ID: u64 = 0x0102_0304_0506_0708;

/// Every frame type; every combination of flags for the two that have some.
fn frames() -> Vec<(String, Frame<'static>)> {
    let mut frames: Vec<_> =
        controls().into_iter().map(|(name, control)| (name.to_owned(), Frame::Control(control))).collect();
    for (name, flags) in flag_combinations() {
        frames.push((format!("publish.{name}"), Frame::Publish(publish(flags))));
    }
    for (name, flags) in flag_combinations() {
        frames.push((format!("deliver.{name}"), Frame::Deliver(deliver(flags))));
    }
    frames.extend(edges().map(|(name, frame)| (name.to_owned(), frame)));
    frames.extend(batches().map(|(name, frame)| (name.to_owned(), frame)));
    frames
}

fn flag_combinations() -> Vec<(String, Flags)> {
    let priorities =
        [Priority::Normal, Priority::Critical, Priority::High, Priority::Low, Priority::Background];
    let mut combinations = Vec::new();
    for priority in priorities {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            for (subject, subject_flag) in [("literal", 0), ("interned", Flags::INTERNED)] {
                for (reply, reply_flag) in [("", 0), (".reply", Flags::REPLY)] {
                    let name = format!("{priority:?}.{compression:?}.{subject}{reply}").to_lowercase();
                    let flags = Flags(Flags::new(priority, compression).0 | subject_flag | reply_flag);
                    combinations.push((name, flags));
                }
            }
        }
    }
    combinations
}

fn publish(flags: Flags) -> Publish<'static> {
    Publish {
        flags,
        timestamp_nanos: TIMESTAMP_NANOS,
        correlation_id: CORRELATION_ID,
        subject: if flags.interned() { SubjectRef::Interned(300) } else { SubjectRef::Literal(b"orders.eu") },
        reply: flags.reply().then_some(b"inbox.7"),
        header_bytes: 0,
        payload: b"hello",
    }
}

fn deliver(flags: Flags) -> Deliver<'static> {
    let Publish { flags, timestamp_nanos, correlation_id, subject, reply, header_bytes, payload } =
        publish(flags);
    let subscription_id = 1;
    Deliver { flags, timestamp_nanos, correlation_id, subscription_id, subject, reply, header_bytes, payload }
}

/// Ends of ranges: nothing set, numbers of every varint length, the own pattern as the subject.
fn edges() -> [(&'static str, Frame<'static>); 9] {
    let empty = Publish {
        flags: Flags(0),
        timestamp_nanos: 0,
        correlation_id: 0,
        subject: SubjectRef::Literal(b"a"),
        reply: None,
        header_bytes: 0,
        payload: b"",
    };
    let interned = |number| {
        let flags = Flags(Flags::INTERNED);
        Frame::Publish(Publish { flags, subject: SubjectRef::Interned(number), ..empty })
    };
    let own_pattern = Deliver {
        flags: Flags(Flags::INTERNED),
        timestamp_nanos: 0,
        correlation_id: 0,
        subscription_id: u32::MAX,
        subject: SubjectRef::Interned(0),
        reply: None,
        header_bytes: 0,
        payload: b"\0\xff",
    };
    let (headers, everything) =
        (Flags(Flags::HEADERS), Flags(Flags::HEADERS | Flags::INTERNED | Flags::REPLY));
    let (payload, header_bytes) = (&b"NATS/1.0\r\nTrace: 7\r\n\r\nhello"[..], 22);
    [
        ("publish.smallest", Frame::Publish(empty)),
        ("publish.id.one_byte", interned(127)),
        ("publish.id.two_bytes", interned(128)),
        ("publish.id.three_bytes", interned(1 << 14)),
        ("publish.id.four_bytes", interned(1 << 21)),
        ("publish.id.five_bytes", interned(u32::MAX)),
        ("deliver.own_pattern", Frame::Deliver(own_pattern)),
        ("publish.headers", Frame::Publish(Publish { flags: headers, header_bytes, payload, ..empty })),
        ("deliver.headers", Frame::Deliver(Deliver { header_bytes, payload, ..deliver(everything) })),
    ]
}

/// `hello`, nothing, and `hi`.
fn batches() -> [(&'static str, Frame<'static>); 3] {
    let messages = Messages::new(b"\x05hello\x00\x02hi").expect("three messages");
    let one = Messages::new(b"\x05hello").expect("one message");
    let flags = Flags::new(Priority::High, Compression::None);
    let (timestamp_nanos, correlation_id) = (TIMESTAMP_NANOS, CORRELATION_ID);
    let literal = PublishBatch {
        flags,
        timestamp_nanos,
        correlation_id,
        subject: SubjectRef::Literal(b"orders.eu"),
        messages: one,
    };
    let interned = Flags(flags.0 | Flags::INTERNED);
    let publish = PublishBatch { flags: interned, subject: SubjectRef::Interned(300), messages, ..literal };
    let deliver = DeliverBatch {
        flags: interned,
        timestamp_nanos,
        correlation_id,
        subscription_id: 1,
        subject: SubjectRef::Interned(0),
        messages,
    };
    [
        ("publish_batch.literal", Frame::PublishBatch(literal)),
        ("publish_batch.interned", Frame::PublishBatch(publish)),
        ("deliver_batch.own_pattern", Frame::DeliverBatch(deliver)),
    ]
}

fn controls() -> Vec<(&'static str, Control<'static>)> {
    let mut controls = client_controls();
    controls.extend(server_controls());
    controls
}

fn client_controls() -> Vec<(&'static str, Control<'static>)> {
    let subscribe = Subscribe {
        correlation_id: 2,
        id: 1,
        pattern: "orders.*",
        queue_group: None,
        slow_consumer: SlowConsumer::Default,
    };
    let queue_group = Subscribe {
        id: 70_000,
        pattern: "orders.>",
        queue_group: Some("workers"),
        slow_consumer: SlowConsumer::PausePublisher,
        ..subscribe
    };
    let hello = Hello {
        correlation_id: 1,
        version_min: 1,
        version_max: 1,
        name: "sensor-7",
        library: "example 1.0",
        batches: false,
        flow: false,
    };
    let unsubscribe = Unsubscribe { correlation_id: 3, id: 1, deliveries_max: 0 };
    vec![
        ("hello", Control::Hello(hello)),
        ("hello.batches", Control::Hello(Hello { batches: true, ..hello })),
        ("hello.flow", Control::Hello(Hello { flow: true, ..hello })),
        ("subscribe", Control::Subscribe(subscribe)),
        ("subscribe.queue_group", Control::Subscribe(queue_group)),
        ("unsubscribe", Control::Unsubscribe(unsubscribe)),
        ("unsubscribe.after", Control::Unsubscribe(Unsubscribe { deliveries_max: 10, ..unsubscribe })),
        ("intern", Control::Intern(Intern { correlation_id: 4, id: 300, subject: "orders.eu" })),
        ("ping", Control::Ping(Ping { correlation_id: 5 })),
        ("pong", Control::Pong(Pong { correlation_id: 5 })),
        ("close", Control::Close(Close { correlation_id: 0, code: CloseCode::Normal, message: "done" })),
    ]
}

fn server_controls() -> Vec<(&'static str, Control<'static>)> {
    let welcome = Welcome {
        correlation_id: 1,
        version: 1,
        server_id: "5f0c",
        server_name: "harbour",
        server_version: "0.1.0",
        shard: 1,
        connection_id: 0x1122_3344_5566_7788,
        frame_bytes_max: 1_049_102,
        payload_bytes_max: 1_048_576,
        subject_bytes_max: 255,
        subscriptions_max: 65_536,
        interned_subjects_max: 4096,
        ping_interval_millis: 30_000,
    };
    let refusal = Refusal {
        correlation_id: CORRELATION_ID,
        code: RefusalCode::NoResponders,
        frame_type: FrameType::Publish,
        id: 0,
        message: "no subscription takes this subject",
    };
    let stale = Close { correlation_id: 0, code: CloseCode::Stale, message: "two pings unanswered" };
    vec![
        ("welcome", Control::Welcome(welcome)),
        ("subscribed", Control::Subscribed(Subscribed { correlation_id: 2, id: 1 })),
        ("unsubscribed", Control::Unsubscribed(Unsubscribed { correlation_id: 3, id: 1 })),
        ("interned", Control::Interned(Interned { correlation_id: 4, id: 300 })),
        ("refusal", Control::Refusal(refusal)),
        ("close.stale", Control::Close(stale)),
        ("flow.paused", Control::Flow(Flow { correlation_id: 0, paused: true })),
        ("flow.resumed", Control::Flow(Flow { correlation_id: 0, paused: false })),
    ]
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match frame {
        Frame::Publish(publish) => encode::publish(&mut bytes, publish),
        Frame::Deliver(deliver) => encode::deliver(&mut bytes, deliver),
        Frame::PublishBatch(batch) => publish_batch(&mut bytes, batch),
        Frame::DeliverBatch(batch) => deliver_batch(&mut bytes, batch),
        Frame::Control(control) => encode_control(control, &mut bytes),
    }
    bytes
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

/// `RINGBOLT_BLESS_GOLDEN_VECTORS=1` writes the file anew, for frames that are added. A line that changes
/// breaks every client.
#[test]
fn every_frame_has_its_golden_bytes() {
    let now: Vec<_> = frames().iter().map(|(name, frame)| (name.clone(), encoded(frame))).collect();
    if std::env::var_os("RINGBOLT_BLESS_GOLDEN_VECTORS").is_some() {
        let mut text = String::from(
            "# Frames of the native dialect, version 1, as docs/PROTOCOL.md describes them: name = hex.\n",
        );
        for (name, bytes) in &now {
            text += &format!("{name} = {}\n", to_hex(bytes));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden_vectors.txt");
        std::fs::write(path, text).expect("the vectors file is writable");
        return;
    }
    let golden = vectors::all();
    for (left, right) in now.iter().zip(&golden) {
        assert_eq!(left.0, right.0);
        assert_eq!(to_hex(&left.1), to_hex(&right.1), "{}", left.0);
    }
    assert_eq!(now.len(), golden.len());
}

#[test]
fn golden_bytes_decode_to_their_frame() {
    for ((name, frame), (_, bytes)) in frames().into_iter().zip(vectors::all()) {
        let decoded = decode_frame(&bytes, &LIMITS);
        assert_eq!(decoded, Ok(Decoded::Frame { frame, consumed: bytes.len() }), "{name}");
    }
}

#[test]
fn every_frame_type_has_a_vector() {
    let seen: std::collections::HashSet<u8> =
        vectors::all().iter().map(|(_, bytes)| peek_frame(bytes).expect("a whole header").0 as u8).collect();
    for number in 1..=17 {
        assert!(seen.contains(&number), "frame type {number} has no vector");
    }
}

/// The fields of a header by their place, read without the crate's own decoder.
#[test]
fn header_fields_lie_where_the_document_says() {
    let vectors = vectors::all();
    let (_, bytes) =
        vectors.iter().find(|(name, _)| name == "publish.critical.zstd.interned.reply").expect("it is there");
    assert_eq!(bytes[..4], [0xcf, 1, 9, 0b0111_0001]);
    assert_eq!(bytes[4..8], (bytes.len() as u32 - 24).to_le_bytes());
    assert_eq!(bytes[8..16], TIMESTAMP_NANOS.to_le_bytes());
    assert_eq!(bytes[16..24], CORRELATION_ID.to_le_bytes());
    assert_eq!(&bytes[24..], b"\xac\x02\x07inbox.7hello");
}
