//! Deliveries of a run: several messages of one subject to one receiver after the other.
//!
//! A line is made once a receiver, and what two receivers would get alike is made once for both.

use super::{Delivery, Message};
use crate::shard::event::Effects;
use crate::shard::mesh::batch::MeshPayload;
use crate::shard::metrics::Counter;
use crate::shard::router::Target;
use crate::shard::session::Stage;
use ringbolt_protocol::nats::Span;

/// Messages of one subject, without replies and headers, as they stand in the publisher's input.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    input: &'a [u8],
    spans: &'a [Span],
    pub payload_bytes: usize,
}

impl<'a> Run<'a> {
    pub fn new(input: &'a [u8], spans: &'a [Span]) -> Run<'a> {
        let payload_bytes = spans.iter().map(|span| span.payload(input).len()).sum();
        Run { input, spans, payload_bytes }
    }

    pub fn messages(&self) -> u64 {
        self.spans.len() as u64
    }

    /// The messages one by one, each with what `common` says of them all.
    pub fn each<'m>(&self, common: &Message<'m>) -> impl Iterator<Item = Message<'m>>
    where
        'a: 'm,
    {
        let (input, common) = (self.input, *common);
        self.spans
            .iter()
            .map(move |span| Message { payload: MeshPayload::Copied(span.payload(input)), ..common })
    }
}

/// Deliveries as bytes, kept for the next receiver that gets the same.
#[derive(Debug, Default)]
pub struct Encoded {
    /// What stands before the size of each message.
    line: Vec<u8>,
    bytes: Vec<u8>,
}

impl Encoded {
    /// Nothing is kept from one run to the next.
    pub fn forget(&mut self) {
        self.bytes.clear();
    }

    fn fill(&mut self, run: &Run<'_>) {
        self.bytes.clear();
        let line = Padded::new(&self.line);
        for span in run.spans {
            line.put(&self.line, &mut self.bytes);
            put_tail(run.input, *span, &mut self.bytes);
        }
    }
}

/// Bytes copied whatever there is to copy: a copy of constant length is a few stores, one of unknown
/// length is a call.
const STEP_BYTES: usize = 32;

/// A short line with what makes it up to a step.
struct Padded {
    bytes: [u8; STEP_BYTES],
}

impl Padded {
    fn new(line: &[u8]) -> Padded {
        let mut bytes = [0; STEP_BYTES];
        let short = line.len().min(STEP_BYTES);
        bytes[..short].copy_from_slice(&line[..short]);
        Padded { bytes }
    }

    #[inline]
    fn put(&self, line: &[u8], out: &mut Vec<u8>) {
        if line.len() > STEP_BYTES {
            return out.extend_from_slice(line);
        }
        let end = out.len() + line.len();
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

#[inline]
fn put_tail(input: &[u8], span: Span, out: &mut Vec<u8>) {
    let tail = span.tail(input);
    let step = input[span.start as usize..].first_chunk::<STEP_BYTES>();
    match step {
        Some(step) if tail.len() <= STEP_BYTES => {
            let end = out.len() + tail.len();
            out.extend_from_slice(step);
            out.truncate(end);
        }
        _ => out.extend_from_slice(tail),
    }
}

impl Delivery {
    /// Puts the messages of a run into one outbox.
    pub fn deliver_run(
        &mut self,
        target: Target,
        run: &Run<'_>,
        common: &Message<'_>,
        effects: &mut Effects,
    ) {
        let subscription = &mut self.subscriptions[target.subscription as usize];
        let Some(session) = self.sessions.at(target.slot) else { return };
        let after = subscription.delivered + run.messages();
        let plain = !subscription.line.is_empty()
            && subscription.filter.is_none()
            && after < subscription.deliveries_max
            && session.stage != Stage::Closing
            && !session.watched
            && session.outbox.queued_bytes() + run.payload_bytes <= self.limits.outbox_bytes_max;
        if !plain {
            return run.each(common).for_each(|message| {
                self.deliver(target, &message, effects);
            });
        }
        let encoded = &mut self.encoded;
        if encoded.bytes.is_empty() || !subscription.begins(common.subject, &encoded.line) {
            encoded.line.clear();
            subscription.begin(common.subject, &mut encoded.line);
            encoded.fill(run);
        }
        let bytes = &encoded.bytes;
        let tail = session.outbox.tail(bytes.len(), self.limits.outbox_segment_bytes, &mut self.pool);
        tail.extend_from_slice(bytes);
        if session.outbox.wrote(bytes.len()) {
            effects.send.push(session.id);
        }
        session.traffic.messages_out += run.messages();
        session.traffic.bytes_out += run.payload_bytes as u64;
        subscription.delivered = after;
        self.counters.add(Counter::MessagesOut, run.messages());
    }
}
