//! Deliveries to NATS clients: a line, the payload, and its end.

use super::{BufferPool, Message, Session, Subscription};
use crate::shard::mesh::batch::MeshPayload;
use bytes::Bytes;
use ringbolt_protocol::headers;
use ringbolt_protocol::nats::encode;

/// Most bytes of a line beside its texts: verb, blanks, two numbers and the end.
const LINE_BYTES_MAX: usize = 5 + 4 + 2 * 10 + 2;

impl Subscription {
    /// The part of a delivery's line that is the same for every message: for an exact pattern up to
    /// the blank behind the id, otherwise what follows the subject. Nothing without an id.
    pub fn nats_line(pattern: &str, exact: bool, sid: &[u8]) -> Box<[u8]> {
        if sid.is_empty() {
            return Box::default();
        }
        let mut line = Vec::with_capacity(pattern.len() + sid.len() + 8);
        if exact {
            line.extend_from_slice(b"HMSG ");
            line.extend_from_slice(pattern.as_bytes());
        }
        line.push(b' ');
        line.extend_from_slice(sid);
        line.push(b' ');
        line.into()
    }

    /// Appends what a delivery without headers begins with, up to the blank before its size.
    pub fn begin(&self, subject: &str, out: &mut Vec<u8>) {
        if self.exact {
            return out.extend_from_slice(&self.line[1..]);
        }
        out.extend_from_slice(b"MSG ");
        out.extend_from_slice(subject.as_bytes());
        out.extend_from_slice(&self.line);
    }

    /// Whether that is `line`.
    pub fn begins(&self, subject: &str, line: &[u8]) -> bool {
        if self.exact {
            return self.line[1..] == *line;
        }
        line.len() == 4 + subject.len() + self.line.len() && line.ends_with(&self.line)
    }

    /// The client's id for it, byte for byte; empty for a native client.
    pub fn sid(&self) -> &[u8] {
        let end = self.line.len().saturating_sub(1);
        &self.line[end - self.sid_bytes as usize..end]
    }
}

/// Appends a delivery to an outbox. Returns its length.
#[inline]
pub(super) fn write(
    session: &mut Session,
    subscription: &Subscription,
    message: &Message<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
    let header_bytes = message.header_bytes as usize;
    if session.headers && headers::needed(message.flags, message.correlation_id) {
        let whole = message.payload.bytes();
        let (block, payload) = whole.split_at(header_bytes);
        if headers::read(block) != (message.flags.without_layout_bits(), message.correlation_id) {
            let mut with_block = Vec::new();
            headers::write(message.flags, message.correlation_id, block, &mut with_block);
            let header_bytes = with_block.len();
            with_block.extend_from_slice(payload);
            let payload = MeshPayload::Copied(&with_block);
            return write_as(session, subscription, message, header_bytes, payload, segment_bytes, pool);
        }
    }
    if session.headers || header_bytes == 0 {
        return write_as(session, subscription, message, header_bytes, message.payload, segment_bytes, pool);
    }
    let rest;
    let payload = match message.payload {
        MeshPayload::Copied(payload) => MeshPayload::Copied(&payload[header_bytes..]),
        MeshPayload::Shared(payload) => {
            rest = payload.slice(header_bytes..);
            MeshPayload::Shared(&rest)
        }
    };
    write_as(session, subscription, message, 0, payload, segment_bytes, pool)
}

#[inline]
fn write_as(
    session: &mut Session,
    subscription: &Subscription,
    message: &Message<'_>,
    header_bytes: usize,
    payload: MeshPayload<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
    let texts = subscription.line.len() + message.subject.len() + message.reply.map_or(0, <[u8]>::len);
    let line_bytes_max = LINE_BYTES_MAX + texts;
    let copied = match payload {
        MeshPayload::Copied(payload) => payload.len() + encode::CRLF.len(),
        MeshPayload::Shared(_) => 0,
    };
    let lane = message.lane();
    let tail = session.outbox.tail_in(lane, line_bytes_max + copied, segment_bytes, pool);
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
    encode::message_line_end(tail, message.reply, header_bytes, payload.bytes().len());
    if let MeshPayload::Copied(payload) = payload {
        tail.extend_from_slice(payload);
        tail.extend_from_slice(encode::CRLF);
    }
    let written = tail.len() - before;
    if let MeshPayload::Shared(payload) = payload {
        session.outbox.share(lane, payload.clone());
        session.outbox.share(lane, Bytes::from_static(encode::CRLF));
        return written + payload.len() + encode::CRLF.len();
    }
    written
}
