//! Publishes and deliveries to bytes. Each part is written where it stays.

use super::header::{FrameType, Header};
use crate::command::{Deliver, Flags, Publish, SubjectRef};
use crate::limits::HEADER_BYTES;
use crate::varint;

/// Appends a whole PUBLISH frame.
#[inline]
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    append(out, &Head::of_publish(publish), publish.payload.len(), publish.payload);
}

/// Appends a PUBLISH frame up to its payload of `payload_bytes`, which the caller sends behind it.
#[inline]
pub fn publish_head(out: &mut Vec<u8>, publish: &Publish<'_>, payload_bytes: usize) {
    append(out, &Head::of_publish(publish), payload_bytes, &[]);
}

/// Appends a whole DELIVER frame.
#[inline]
pub fn deliver(out: &mut Vec<u8>, deliver: &Deliver<'_>) {
    append(out, &Head::of_deliver(deliver), deliver.payload.len(), deliver.payload);
}

/// Appends a DELIVER frame up to its payload of `payload_bytes`, which the caller sends behind it.
#[inline]
pub fn deliver_head(out: &mut Vec<u8>, deliver: &Deliver<'_>, payload_bytes: usize) {
    append(out, &Head::of_deliver(deliver), payload_bytes, &[]);
}

/// All of a message but its payload.
struct Head<'a> {
    frame_type: FrameType,
    flags: Flags,
    timestamp_nanos: u64,
    correlation_id: u64,
    subscription_id: Option<u32>,
    subject: SubjectRef<'a>,
    reply: Option<&'a [u8]>,
    header_bytes: u32,
}

impl<'a> Head<'a> {
    #[inline]
    fn of_publish(publish: &Publish<'a>) -> Head<'a> {
        Head {
            frame_type: FrameType::Publish,
            flags: publish.flags,
            timestamp_nanos: publish.timestamp_nanos,
            correlation_id: publish.correlation_id,
            subscription_id: None,
            subject: publish.subject,
            reply: publish.reply,
            header_bytes: publish.header_bytes,
        }
    }

    #[inline]
    fn of_deliver(deliver: &Deliver<'a>) -> Head<'a> {
        Head {
            frame_type: FrameType::Deliver,
            flags: deliver.flags,
            timestamp_nanos: deliver.timestamp_nanos,
            correlation_id: deliver.correlation_id,
            subscription_id: Some(deliver.subscription_id),
            subject: deliver.subject,
            reply: deliver.reply,
            header_bytes: deliver.header_bytes,
        }
    }
}

/// Appends a head that announces `payload_bytes`, and as much of that payload as is `payload`: all or
/// nothing. Room is made for what is appended only, because a shared payload lies elsewhere.
#[inline]
fn append(out: &mut Vec<u8>, head: &Head<'_>, payload_bytes: usize, payload: &[u8]) {
    debug_assert!(payload.is_empty() || payload.len() == payload_bytes, "all of the payload or nothing");
    let mut flags = head.flags.without_layout_bits().0;
    let (subject_number, subject) = match head.subject {
        SubjectRef::Interned(number) => {
            flags |= Flags::INTERNED;
            (number, &[][..])
        }
        SubjectRef::Literal(text) => (text.len() as u32, text),
    };
    let mut head_bytes = varint::length(subject_number) + subject.len();
    if let Some(id) = head.subscription_id {
        head_bytes += varint::length(id);
    }
    if let Some(reply) = head.reply {
        flags |= Flags::REPLY;
        head_bytes += varint::length(reply.len() as u32) + reply.len();
    }
    if head.header_bytes > 0 {
        flags |= Flags::HEADERS;
        head_bytes += varint::length(head.header_bytes);
    }
    let header = Header {
        frame_type: head.frame_type,
        flags: Flags(flags),
        body_bytes: u32::try_from(head_bytes + payload_bytes).expect("a frame is far below 4 GiB"),
        timestamp_nanos: head.timestamp_nanos,
        correlation_id: head.correlation_id,
    };
    out.reserve(HEADER_BYTES + head_bytes + payload.len());
    out.extend_from_slice(&header.encode());
    if let Some(id) = head.subscription_id {
        varint::encode(id, out);
    }
    varint::encode(subject_number, out);
    if !subject.is_empty() {
        out.extend_from_slice(subject);
    }
    if let Some(reply) = head.reply {
        varint::encode(reply.len() as u32, out);
        out.extend_from_slice(reply);
    }
    if head.header_bytes > 0 {
        varint::encode(head.header_bytes, out);
    }
    out.extend_from_slice(payload);
}
