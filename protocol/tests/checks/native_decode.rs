//! What holds for the decoder whatever bytes it gets. The fuzz target and the property tests share it.

use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::limits::{HEADER_BYTES, VARINT_BYTES_MAX};
use ringbolt_protocol::native::control::{Control, encode_control};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::{batch, encode, peek_frame, scan_run};
use ringbolt_protocol::varint;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: 1 << 16 };

/// Texts up to here are never cut by the encoder.
const CONTROL_BODY_BYTES_UNCUT: usize = 1024;

/// Decodes a stream to its end or first error and checks every step. Returns the frames.
pub fn check(input: &[u8]) -> usize {
    let (mut rest, mut frames) = (input, 0);
    loop {
        match decode_frame(rest, &LIMITS) {
            Ok(Decoded::Frame { frame, consumed }) => {
                assert!((HEADER_BYTES..=rest.len()).contains(&consumed));
                let (whole, behind) = rest.split_at(consumed);
                assert_eq!(peek_frame(whole).map(|(_, bytes)| bytes), Some(consumed));
                check_borrows(&frame, whole);
                check_prefixes(whole);
                check_encoding(&frame, whole);
                check_run(&frame, whole, behind);
                frames += 1;
                rest = behind;
            }
            Ok(Decoded::Incomplete { bytes_needed }) => {
                assert!(bytes_needed > rest.len(), "asks for what is there");
                assert!(bytes_needed <= HEADER_BYTES + LIMITS.body_bytes_max as usize);
                return frames;
            }
            Err(error) => {
                let longer = [rest, &[0xcf; 8]].concat();
                assert_eq!(decode_frame(&longer, &LIMITS), Err(error), "more bytes mend nothing");
                assert!(!error.to_string().is_empty());
                return frames;
            }
        }
    }
}

/// Nothing is read from outside the frame.
fn check_borrows(frame: &Frame<'_>, whole: &[u8]) {
    let (subject, reply, payload) = match frame {
        Frame::Publish(publish) => (publish.subject, publish.reply, publish.payload),
        Frame::Deliver(deliver) => (deliver.subject, deliver.reply, deliver.payload),
        Frame::PublishBatch(batch) => (batch.subject, None, batch.messages.bytes()),
        Frame::DeliverBatch(batch) => (batch.subject, None, batch.messages.bytes()),
        Frame::Control(_) => return,
    };
    let literal = match subject {
        SubjectRef::Interned(_) => &[][..],
        SubjectRef::Literal(literal) => literal,
    };
    for part in [literal, reply.unwrap_or_default(), payload] {
        let (inside, outside) = (part.as_ptr_range(), whole.as_ptr_range());
        assert!(part.is_empty() || outside.start <= inside.start && inside.end <= outside.end);
    }
}

/// The frames of a run are those the decoder finds one by one, and end where it says.
fn check_run(frame: &Frame<'_>, whole: &[u8], behind: &[u8]) {
    let Frame::Publish(Publish {
        subject: SubjectRef::Interned(number), reply: None, header_bytes: 0, ..
    }) = frame
    else {
        return;
    };
    let mut spans = Vec::new();
    let payload_bytes_max = LIMITS.body_bytes_max as usize - VARINT_BYTES_MAX;
    let number_bytes = varint::length(*number);
    let run_bytes = scan_run(behind, whole, number_bytes, payload_bytes_max, 1 << 17, &mut spans);
    let mut rest = behind;
    for span in &spans {
        let Ok(Decoded::Frame { frame: Frame::Publish(publish), consumed }) = decode_frame(rest, &LIMITS)
        else {
            panic!("a run of something else");
        };
        assert_eq!((publish.subject, publish.reply), (SubjectRef::Interned(*number), None));
        assert_eq!(publish.header_bytes, 0);
        assert_eq!(publish.payload, span.payload(behind));
        let stamps = &behind[span.start as usize..span.start as usize + 16];
        assert_eq!(stamps[..8], publish.timestamp_nanos.to_le_bytes());
        assert_eq!(stamps[8..], publish.correlation_id.to_le_bytes());
        rest = &rest[consumed..];
    }
    assert_eq!(behind.len() - rest.len(), run_bytes);
}

fn check_prefixes(whole: &[u8]) {
    for length in [0, 1, 3, HEADER_BYTES - 1, HEADER_BYTES, whole.len() / 2, whole.len() - 1] {
        if length < whole.len() {
            let bytes_needed = if length < HEADER_BYTES { HEADER_BYTES } else { whole.len() };
            let decoded = decode_frame(&whole[..length], &LIMITS);
            assert_eq!(decoded, Ok(Decoded::Incomplete { bytes_needed }));
        }
    }
}

/// A message has one encoding only. A table has many, but ours of it decodes to the same.
fn check_encoding(frame: &Frame<'_>, whole: &[u8]) {
    let mut again = Vec::new();
    match frame {
        Frame::Publish(publish) => encode::publish(&mut again, publish),
        Frame::Deliver(deliver) => encode::deliver(&mut again, deliver),
        Frame::PublishBatch(batch) => {
            assert_eq!(batch.messages.payloads().count(), batch.messages.count() as usize);
            batch::publish_batch(&mut again, batch);
        }
        Frame::DeliverBatch(batch) => batch::deliver_batch(&mut again, batch),
        Frame::Control(control) => return check_control(control, whole),
    }
    assert_eq!(again, whole);
}

fn check_control(control: &Control<'_>, whole: &[u8]) {
    let mut once = Vec::new();
    encode_control(control, &mut once);
    let Ok(Decoded::Frame { frame: Frame::Control(decoded), consumed }) = decode_frame(&once, &LIMITS) else {
        panic!("our own encoding of {control:?} does not decode");
    };
    assert_eq!(consumed, once.len());
    if whole.len() - HEADER_BYTES <= CONTROL_BODY_BYTES_UNCUT {
        assert_eq!(&decoded, control);
    }
    let mut twice = Vec::new();
    encode_control(&decoded, &mut twice);
    assert_eq!(twice, once);
}
