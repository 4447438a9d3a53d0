//! What the encoder does to the buffer it appends to, and to flags that were set by others.

use ringbolt_protocol::command::{Compression, Deliver, Flags, Priority, Publish, SubjectRef};
use ringbolt_protocol::limits::{HEADER_BYTES, VARINT_BYTES_MAX};
use ringbolt_protocol::native::control::*;
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::{encode, peek_frame};

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: 1 << 20 };

/// The most a frame has besides its texts and payload: what a caller makes room for.
const HEAD_BYTES_MAX: usize = HEADER_BYTES + 3 * VARINT_BYTES_MAX;

/// Messages with every way to write a subject and a reply, numbers of every length.
fn deliveries(payload: &[u8]) -> Vec<Deliver<'_>> {
    let mut deliveries = Vec::new();
    for subscription_id in [1, 127, 128, u32::MAX] {
        for subject in [
            SubjectRef::Interned(0),
            SubjectRef::Interned(u32::MAX),
            SubjectRef::Literal(b"a"),
            SubjectRef::Literal(&[b's'; 255]),
        ] {
            for reply in [None, Some(&b"r"[..]), Some(&[b'r'; 255][..])] {
                let flags = Flags::new(Priority::High, Compression::Lz4);
                let (timestamp_nanos, correlation_id) = (3, 4);
                deliveries.push(Deliver {
                    flags,
                    timestamp_nanos,
                    correlation_id,
                    subscription_id,
                    subject,
                    reply,
                    header_bytes: 0,
                    payload,
                });
            }
        }
    }
    deliveries
}

fn text_bytes(deliver: &Deliver<'_>) -> usize {
    let subject_bytes = match deliver.subject {
        SubjectRef::Interned(_) => 0,
        SubjectRef::Literal(text) => text.len(),
    };
    subject_bytes + deliver.reply.map_or(0, <[u8]>::len)
}

/// A payload that is shared lies elsewhere: making room for it would copy what was to be shared.
#[test]
fn a_head_makes_no_room_for_the_payload_it_does_not_hold() {
    for deliver in deliveries(b"") {
        let room = HEAD_BYTES_MAX + text_bytes(&deliver);
        let mut out = Vec::with_capacity(room);
        let capacity = out.capacity();
        encode::deliver_head(&mut out, &deliver, 1 << 20);
        assert_eq!(out.capacity(), capacity, "{deliver:?}");
        assert_eq!(peek_frame(&out).map(|(_, bytes)| bytes), Some(out.len() + (1 << 20)));
    }
}

#[test]
fn a_frame_fits_into_the_room_of_its_longest_head() {
    let payload = [7; 100];
    for deliver in deliveries(&payload) {
        for written_before in [0, 1, 50] {
            let room = written_before + HEAD_BYTES_MAX + text_bytes(&deliver) + payload.len();
            let mut out = Vec::with_capacity(room);
            out.resize(written_before, 0xee);
            let capacity = out.capacity();
            encode::deliver(&mut out, &deliver);
            assert_eq!(out.capacity(), capacity, "{deliver:?}");
            assert!(out[..written_before].iter().all(|&byte| byte == 0xee));
            assert_eq!(peek_frame(&out[written_before..]).map(|it| it.1), Some(out.len() - written_before));
        }
    }
}

/// A server passes the flags of a publish on, but writes subject and reply its own way.
#[test]
fn layout_flags_follow_what_is_written_and_not_what_was_set() {
    let kept = Flags::new(Priority::Critical, Compression::Zstd);
    let stale = Flags(kept.0 | Flags::INTERNED | Flags::REPLY | Flags::HEADERS);
    for (subject, subject_flag) in
        [(SubjectRef::Literal(b"a"), 0), (SubjectRef::Interned(1), Flags::INTERNED)]
    {
        for (reply, reply_flag) in [(None, 0), (Some(&b"r"[..]), Flags::REPLY)] {
            for flags in [kept, stale] {
                let (timestamp_nanos, correlation_id, header_bytes, payload) = (0, 0, 0, &b"x"[..]);
                let publish =
                    Publish { flags, timestamp_nanos, correlation_id, subject, reply, header_bytes, payload };
                let mut bytes = Vec::new();
                encode::publish(&mut bytes, &publish);
                let flags = Flags(kept.0 | subject_flag | reply_flag);
                let frame = Frame::Publish(Publish { flags, ..publish });
                assert_eq!(
                    decode_frame(&bytes, &LIMITS),
                    Ok(Decoded::Frame { frame, consumed: bytes.len() })
                );
            }
        }
    }
}

/// Some FlatBuffers libraries cannot leave a string out.
#[test]
fn an_empty_queue_group_is_none() {
    let subscribe = |queue_group| {
        let slow_consumer = SlowConsumer::Default;
        Subscribe { correlation_id: 1, id: 1, pattern: "a", queue_group, slow_consumer }
    };
    let mut bytes = Vec::new();
    encode_control(&Control::Subscribe(subscribe(Some(""))), &mut bytes);
    let frame = Frame::Control(Control::Subscribe(subscribe(None)));
    assert_eq!(decode_frame(&bytes, &LIMITS), Ok(Decoded::Frame { frame, consumed: bytes.len() }));
}
