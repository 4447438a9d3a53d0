//! A delivery to a NATS client: a line, the payload, and its end.

use super::pool::BufferPool;
use super::receiver::Receiver;
use super::subscription::Subscription;
use crate::message::{Message, Payload};
use bytes::Bytes;
use ringbolt_protocol::headers;
use ringbolt_protocol::nats::encode;

/// Most bytes of a line beside its texts: verb, blanks, two numbers and the end.
const LINE_BYTES_MAX: usize = 5 + 4 + 2 * 10 + 2;

/// Where a delivery goes.
struct Place<'p> {
    receiver: &'p mut Receiver,
    subscription: &'p Subscription,
    segment_bytes: usize,
    pool: &'p mut BufferPool,
}

/// Appends a delivery to an outbox. Returns its length.
#[inline]
pub fn write_line(
    receiver: &mut Receiver,
    subscription: &Subscription,
    message: &Message<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
    let publication = message.publication;
    let header_bytes = publication.header_bytes as usize;
    let (headers, payload) = (receiver.headers, publication.payload);
    let needed = headers && headers::needed(publication.flags, publication.correlation_id);
    let place = Place { receiver, subscription, segment_bytes, pool };
    if needed {
        let said = (publication.marks.flags, publication.marks.correlation_id);
        if said != (publication.flags.without_layout_bits(), publication.correlation_id) {
            return write_with_headers(place, message);
        }
    }
    if headers || header_bytes == 0 {
        return write_as(place, message, header_bytes, payload);
    }
    match payload {
        Payload::Copied(payload) => write_as(place, message, 0, Payload::Copied(&payload[header_bytes..])),
        // A part would keep all of it.
        Payload::Shared(payload) if header_bytes > payload.len() / 2 => {
            write_as(place, message, 0, Payload::Copied(&payload[header_bytes..]))
        }
        Payload::Shared(payload) => {
            write_as(place, message, 0, Payload::Shared(&payload.slice(header_bytes..)))
        }
    }
}

/// What the headers do not say, and a NATS client cannot see otherwise, is said in further ones.
#[cold]
fn write_with_headers(place: Place<'_>, message: &Message<'_>) -> usize {
    let publication = message.publication;
    let (block, payload) = publication.parts();
    let mut with_block = Vec::new();
    headers::write(publication.flags, publication.correlation_id, block, &mut with_block);
    let header_bytes = with_block.len();
    with_block.extend_from_slice(payload);
    write_as(place, message, header_bytes, Payload::Copied(&with_block))
}

#[inline]
fn write_as(place: Place<'_>, message: &Message<'_>, header_bytes: usize, payload: Payload<'_>) -> usize {
    let Place { receiver, subscription, segment_bytes, pool } = place;
    debug_assert!(!subscription.is_native(), "a native client reads no lines");
    debug_assert!(header_bytes <= payload.bytes().len(), "headers are a part of the payload");
    let reply = message.publication.reply;
    let texts = subscription.line.len() + message.subject.len() + reply.map_or(0, <[u8]>::len);
    let line_bytes_max = LINE_BYTES_MAX + texts;
    let copied = match payload {
        Payload::Copied(payload) => payload.len() + encode::CRLF.len(),
        Payload::Shared(_) => 0,
    };
    let lane = message.publication.lane();
    let tail = receiver.outbox.tail_in(lane, line_bytes_max + copied, segment_bytes, pool);
    let before = tail.len();
    tail.reserve(line_bytes_max + copied);
    let verb = if header_bytes > 0 { &b"HMSG "[..] } else { b"MSG " };
    if subscription.exact {
        tail.extend_from_slice(&subscription.line[b"HMSG ".len() - verb.len()..]);
    } else {
        tail.extend_from_slice(verb);
        tail.extend_from_slice(message.subject.as_bytes());
        tail.extend_from_slice(&subscription.line);
    }
    encode::message_line_end(tail, reply, header_bytes, payload.bytes().len());
    debug_assert!(tail.len() - before <= line_bytes_max, "room was made for the line");
    if let Payload::Copied(payload) = payload {
        tail.extend_from_slice(payload);
        tail.extend_from_slice(encode::CRLF);
    }
    let written = tail.len() - before;
    debug_assert!(written <= line_bytes_max + copied, "room was made for the message");
    if let Payload::Shared(payload) = payload {
        receiver.outbox.share(lane, payload.clone());
        receiver.outbox.share(lane, Bytes::from_static(encode::CRLF));
        return written + payload.len() + encode::CRLF.len();
    }
    written
}
