//! Publishes and deliveries to bytes. The head of a frame is built on the stack and appended at once.

use super::header::{FrameType, Header};
use crate::command::{Deliver, Flags, Publish, SubjectRef};
use crate::limits::{HEADER_BYTES, VARINT_BYTES_MAX};
use crate::varint;

/// Appends a whole PUBLISH frame.
#[inline]
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    publish_head(out, publish, publish.payload.len());
    out.extend_from_slice(publish.payload);
}

/// Appends a PUBLISH frame up to its payload of `payload_bytes`, which the caller sends behind it.
#[inline]
pub fn publish_head(out: &mut Vec<u8>, publish: &Publish<'_>, payload_bytes: usize) {
    let header = HeaderFields {
        frame_type: FrameType::Publish,
        flags: publish.flags,
        timestamp_nanos: publish.timestamp_nanos,
        correlation_id: publish.correlation_id,
    };
    head(out, &header, None, publish.subject, publish.reply, payload_bytes);
}

/// Appends a whole DELIVER frame.
#[inline]
pub fn deliver(out: &mut Vec<u8>, deliver: &Deliver<'_>) {
    deliver_head(out, deliver, deliver.payload.len());
    out.extend_from_slice(deliver.payload);
}

/// Appends a DELIVER frame up to its payload of `payload_bytes`, which the caller sends behind it.
#[inline]
pub fn deliver_head(out: &mut Vec<u8>, deliver: &Deliver<'_>, payload_bytes: usize) {
    let header = HeaderFields {
        frame_type: FrameType::Deliver,
        flags: deliver.flags,
        timestamp_nanos: deliver.timestamp_nanos,
        correlation_id: deliver.correlation_id,
    };
    head(out, &header, Some(deliver.subscription_id), deliver.subject, deliver.reply, payload_bytes);
}

struct HeaderFields {
    frame_type: FrameType,
    flags: Flags,
    timestamp_nanos: u64,
    correlation_id: u64,
}

/// Header and up to three varints: everything of fixed bound before the texts.
const FIXED_BYTES: usize = HEADER_BYTES + 3 * VARINT_BYTES_MAX;

#[inline]
fn head(
    out: &mut Vec<u8>,
    fields: &HeaderFields,
    subscription_id: Option<u32>,
    subject: SubjectRef<'_>,
    reply: Option<&[u8]>,
    payload_bytes: usize,
) {
    let mut fixed = [0u8; FIXED_BYTES];
    let mut length = HEADER_BYTES;
    if let Some(id) = subscription_id {
        length += varint::write(id, &mut fixed[length..]);
    }
    let mut flags = fields.flags.without_subject_bits().0;
    let mut text: &[u8] = &[];
    match subject {
        SubjectRef::Interned(number) => {
            flags |= Flags::INTERNED;
            length += varint::write(number, &mut fixed[length..]);
        }
        SubjectRef::Literal(bytes) => {
            length += varint::write(bytes.len() as u32, &mut fixed[length..]);
            text = bytes;
        }
    }
    let mut reply_bytes = 0;
    let mut reply_length = [0u8; VARINT_BYTES_MAX];
    let mut reply_length_bytes = 0;
    if let Some(reply) = reply {
        flags |= Flags::REPLY;
        reply_length_bytes = varint::write(reply.len() as u32, &mut reply_length);
        reply_bytes = reply_length_bytes + reply.len();
    }
    let body_bytes = length - HEADER_BYTES + text.len() + reply_bytes + payload_bytes;
    let header = Header {
        frame_type: fields.frame_type,
        flags: Flags(flags),
        body_bytes: u32::try_from(body_bytes).expect("a frame is far below 4 GiB"),
        timestamp_nanos: fields.timestamp_nanos,
        correlation_id: fields.correlation_id,
    };
    fixed[..HEADER_BYTES].copy_from_slice(&header.encode());
    out.reserve(HEADER_BYTES + body_bytes);
    out.extend_from_slice(&fixed[..length]);
    if !text.is_empty() {
        out.extend_from_slice(text);
    }
    if let Some(reply) = reply {
        out.extend_from_slice(&reply_length[..reply_length_bytes]);
        out.extend_from_slice(reply);
    }
}
