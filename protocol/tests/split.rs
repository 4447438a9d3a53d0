//! A stream of frames may be cut anywhere: the frames are the same, and a decoder asks only for what
//! it really lacks.

mod vectors;

use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::limits::{CONTROL_BODY_BYTES_MAX, FRAME_BODY_BYTES_CEILING, HEADER_BYTES};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::peek_frame;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: 1 << 20 };

fn stream() -> Vec<u8> {
    vectors::all().into_iter().flat_map(|(_, bytes)| bytes).collect()
}

/// Decodes whole frames into their text form; returns how far it came.
fn whole_frames(input: &[u8], frames: &mut Vec<String>) -> usize {
    let mut at = 0;
    loop {
        match decode_frame(&input[at..], &LIMITS).expect("golden frames are valid") {
            Decoded::Frame { frame, consumed } => {
                frames.push(format!("{frame:?}"));
                at += consumed;
            }
            Decoded::Incomplete { bytes_needed } => {
                assert!(bytes_needed > input.len() - at, "asks for what is there");
                return at;
            }
        }
    }
}

#[test]
fn a_stream_cut_in_two_at_every_byte_yields_the_same_frames() {
    let stream = stream();
    let mut whole = Vec::new();
    assert_eq!(whole_frames(&stream, &mut whole), stream.len());
    assert_eq!(whole.len(), vectors::all().len());
    for cut in 0..=stream.len() {
        let mut in_two = Vec::new();
        let first = whole_frames(&stream[..cut], &mut in_two);
        let second = whole_frames(&stream[first..], &mut in_two);
        assert_eq!(first + second, stream.len(), "cut at {cut}");
        assert!(in_two == whole, "cut at {cut}");
    }
}

#[test]
fn a_stream_byte_by_byte_yields_the_same_frames() {
    let stream = stream();
    let (mut whole, mut single) = (Vec::new(), Vec::new());
    whole_frames(&stream, &mut whole);
    let mut buffer = Vec::new();
    for &byte in &stream {
        buffer.push(byte);
        let consumed = whole_frames(&buffer, &mut single);
        buffer.drain(..consumed);
    }
    assert!(buffer.is_empty());
    assert_eq!(single, whole);
}

/// A receiver that fetches exactly what it is asked for gets every frame in two reads, and never one
/// byte of the next frame.
#[test]
fn incomplete_asks_for_the_header_and_then_for_the_whole_frame() {
    for (name, bytes) in vectors::all() {
        for length in 0..bytes.len() {
            let needed = if length < HEADER_BYTES { HEADER_BYTES } else { bytes.len() };
            let decoded = decode_frame(&bytes[..length], &LIMITS);
            assert_eq!(decoded, Ok(Decoded::Incomplete { bytes_needed: needed }), "{name} cut at {length}");
        }
    }
}

#[test]
fn bytes_behind_a_frame_change_nothing() {
    for (name, bytes) in vectors::all() {
        let alone = decode_frame(&bytes, &LIMITS);
        let mut followed = bytes.clone();
        followed.extend([0xff; 64]);
        assert_eq!(decode_frame(&followed, &LIMITS), alone, "{name}");
    }
}

#[test]
fn wild_lengths_are_rejected_from_the_header_alone() {
    for (name, bytes) in vectors::all() {
        let control = !matches!(bytes[2], 9 | 10 | 15 | 16);
        let body_bytes_max = if control { CONTROL_BODY_BYTES_MAX } else { LIMITS.body_bytes_max };
        for body_bytes in [body_bytes_max + 1, FRAME_BODY_BYTES_CEILING, 1 << 31, u32::MAX] {
            let mut header = bytes[..HEADER_BYTES].to_vec();
            header[4..8].copy_from_slice(&body_bytes.to_le_bytes());
            let error = DecodeError::BodyTooLong { body_bytes, body_bytes_max };
            assert_eq!(decode_frame(&header, &LIMITS), Err(error), "{name}");
        }
        let mut header = bytes[..HEADER_BYTES].to_vec();
        header[4..8].copy_from_slice(&body_bytes_max.to_le_bytes());
        let bytes_needed = HEADER_BYTES + body_bytes_max as usize;
        assert_eq!(decode_frame(&header, &LIMITS), Ok(Decoded::Incomplete { bytes_needed }), "{name}");
    }
}

#[test]
fn a_receiver_with_a_small_limit_takes_no_larger_control_frame_either() {
    let (_, hello) = vectors::all().remove(0);
    let limits = DecodeLimits { body_bytes_max: 8 };
    let body_bytes = (hello.len() - HEADER_BYTES) as u32;
    let error = DecodeError::BodyTooLong { body_bytes, body_bytes_max: 8 };
    assert_eq!(decode_frame(&hello[..HEADER_BYTES], &limits), Err(error));
}

/// A peer that speaks another protocol may send less than a header and then wait for an answer.
#[test]
fn each_of_the_first_four_bytes_is_judged_when_it_arrives() {
    for (byte, error) in [
        (0, DecodeError::Magic(b'G')),
        (1, DecodeError::Version(b'G')),
        (2, DecodeError::FrameType(b'G')),
        (3, DecodeError::Flags { frame_type: 12, flags: b'G' }),
    ] {
        let mut start = [0xcf, 1, 12, 0];
        start[byte] = b'G';
        assert_eq!(decode_frame(&start[..=byte], &LIMITS), Err(error));
        let whole = decode_frame(&start[..byte], &LIMITS);
        assert_eq!(whole, Ok(Decoded::Incomplete { bytes_needed: HEADER_BYTES }));
    }
}

#[test]
fn undefined_flags_are_rejected() {
    let vectors = vectors::all();
    for flags in 0..=255u8 {
        for (name, bytes) in [("ping", 12u8), ("publish.smallest", 9), ("deliver.own_pattern", 10)]
            .map(|(name, _)| vectors.iter().find(|(other, _)| other == name).expect("it is there"))
        {
            let mut start = bytes[..4].to_vec();
            start[3] = flags;
            let message = bytes[2] == 9 || bytes[2] == 10;
            let defined = flags & 7 <= 4 && flags >> 3 & 3 <= 2;
            let valid = if message { defined } else { flags == 0 };
            assert_eq!(decode_frame(&start, &LIMITS).is_ok(), valid, "{name} with flags {flags:#x}");
        }
    }
}

#[test]
fn fields_that_leave_their_body_are_rejected() {
    let cases: [(&str, u8, u8, &[u8], DecodeError); 10] = [
        ("no subject", 9, 0, b"", DecodeError::Truncated { field: "subject" }),
        ("subject cut", 9, 0, b"\x03ab", DecodeError::Truncated { field: "subject" }),
        ("wild subject", 9, 0, b"\xff\xff\xff\xff\x0fab", DecodeError::Truncated { field: "subject" }),
        ("no number", 9, 0x20, b"", DecodeError::Truncated { field: "subject" }),
        ("number cut", 9, 0x20, b"\x80", DecodeError::Truncated { field: "subject" }),
        ("number zero", 9, 0x20, b"\x00", DecodeError::InternedZero),
        ("number overlong", 9, 0x20, b"\x81\x00", DecodeError::Varint),
        ("number too large", 9, 0x20, b"\xff\xff\xff\xff\x10", DecodeError::Varint),
        ("no reply", 9, 0x40, b"\x01a", DecodeError::Truncated { field: "reply subject" }),
        ("no subscription", 10, 0, b"", DecodeError::Truncated { field: "subscription id" }),
    ];
    for (name, frame_type, flags, body, error) in cases {
        let mut bytes = vec![0xcf, 1, frame_type, flags];
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(body);
        // What lies behind the frame must not be read into it.
        bytes.extend([b'a'; 300]);
        assert_eq!(decode_frame(&bytes, &LIMITS), Err(error), "{name}");
    }
}

#[test]
fn a_buffer_of_frames_can_be_walked_by_peeking() {
    let stream = stream();
    let mut at = 0;
    for (name, bytes) in vectors::all() {
        let (frame_type, frame_bytes) = peek_frame(&stream[at..]).expect("a whole header");
        assert_eq!((frame_type as u8, frame_bytes), (bytes[2], bytes.len()), "{name}");
        at += frame_bytes;
    }
    assert_eq!(peek_frame(&stream[at..]), None);
}

#[test]
fn control_bodies_of_other_tables_or_none_are_rejected() {
    for frame_type in (1..=14u8).filter(|&number| number != 9 && number != 10) {
        for body in [&b""[..], &[0; 3], &[0xff; 64], &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]] {
            let mut bytes = vec![0xcf, 1, frame_type, 0];
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend([0; 16]);
            bytes.extend(body);
            assert_eq!(decode_frame(&bytes, &LIMITS), Err(DecodeError::Control { frame_type }), "{body:?}");
        }
    }
}

#[test]
fn payloads_are_read_in_place() {
    for (name, bytes) in vectors::all() {
        let payload = match decode_frame(&bytes, &LIMITS) {
            Ok(Decoded::Frame { frame: Frame::Publish(publish), .. }) => publish.payload,
            Ok(Decoded::Frame { frame: Frame::Deliver(deliver), .. }) => deliver.payload,
            _ => continue,
        };
        assert!(bytes.as_ptr_range().end == payload.as_ptr_range().end, "{name}");
    }
}
