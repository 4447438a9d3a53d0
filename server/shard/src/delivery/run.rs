//! Deliveries of a run: several messages of one subject to one receiver after the other.
//!
//! A line or head is made once a receiver, and what two receivers would get alike is made once for both.

use super::outbox::Outbox;
use super::pool::BufferPool;
use super::receiver::Receiver;
use super::segment::Segment;
use super::subscription::Subscription;
use crate::limits::Limits;
use crate::message::{Message, Payload, Publication};
use bytes::Bytes;
use ringbolt_protocol::command::{Flags, SubjectRef};
use ringbolt_protocol::limits::{HEADER_BYTES, VARINT_BYTES_MAX};
use ringbolt_protocol::native::batch::{DeliverBatch, Messages, deliver_batch};
use ringbolt_protocol::native::header::{FrameType, Header};
use ringbolt_protocol::nats::{Span, encode};
use ringbolt_protocol::{decimal, headers, varint};

/// How the messages of a run stand in the publisher's input.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// As a NATS client wrote them: what follows the subject is what a NATS client receives.
    Nats,
    /// As PUBLISH frames: time and correlation id stand at each span's start.
    Native,
    /// As one PUBLISH_BATCH, whose head they share.
    Batch(Messages<'a>),
}

/// Messages of one subject, without replies and headers, as they stand in the publisher's input.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    form: Form<'a>,
    input: &'a [u8],
    spans: &'a [Span],
    pub payload_bytes: usize,
}

impl<'a> Run<'a> {
    pub fn new(form: Form<'a>, input: &'a [u8], spans: &'a [Span]) -> Run<'a> {
        let is_within = |span: &Span| {
            span.start <= span.payload && span.payload <= span.end && span.end as usize <= input.len()
        };
        debug_assert!(spans.iter().all(is_within), "the messages stand in the input");
        debug_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "one after the other");
        let payload_bytes = spans.iter().map(|span| (span.end - span.payload) as usize).sum();
        Run { form, input, spans, payload_bytes }
    }

    pub fn messages(&self) -> u64 {
        self.spans.len() as u64
    }

    /// Bytes of its messages, with what a delivery has beside, roughly.
    pub fn bytes(&self) -> usize {
        self.payload_bytes + HEAD_BYTES_MAX * self.spans.len()
    }

    /// As many of the first messages as take no more bytes, on the average. A batch is one.
    #[cold]
    pub fn within(self, bytes: usize) -> Run<'a> {
        if matches!(self.form, Form::Batch(_)) || self.bytes() <= bytes {
            return self;
        }
        self.first(self.spans.len() * bytes / self.bytes())
    }

    /// The first messages.
    #[cold]
    pub fn first(self, messages: usize) -> Run<'a> {
        Run::new(self.form, self.input, &self.spans[..messages])
    }

    /// Where its last message ends in the input.
    pub fn end(&self) -> Option<usize> {
        self.spans.last().map(|span| span.end as usize)
    }

    /// The messages one by one, each with what `common` says of them all.
    #[inline]
    pub fn each<'m>(&self, common: &Publication<'m>, mut act: impl FnMut(&Publication<'m>))
    where
        'a: 'm,
    {
        let mut one = *common;
        for span in self.spans {
            one.payload = Payload::Copied(span.payload(self.input));
            if let Form::Native = self.form {
                (one.timestamp_nanos, one.correlation_id) = stamps(self.input, *span);
            }
            act(&one);
        }
    }

    /// Whether a NATS client would have to be told more than subject and payload.
    fn needs_headers(&self, common: &Publication<'_>) -> bool {
        match self.form {
            Form::Nats => false,
            Form::Native => {
                self.spans.iter().any(|span| headers::needed(common.flags, stamps(self.input, *span).1))
            }
            Form::Batch(_) => headers::needed(common.flags, common.correlation_id),
        }
    }
}

/// Time and correlation id of a PUBLISH frame.
fn stamps(input: &[u8], span: Span) -> (u64, u64) {
    let word = |at: usize| {
        let bytes = input.get(at..).and_then(|rest| rest.first_chunk::<8>());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    (word(span.start as usize), word(span.start as usize + 8))
}

/// Deliveries of so many bytes become a segment of their own, one for all receivers, rather than being copied
/// to one; a send has few segments.
const COMMON_BYTES_MIN: usize = 4 << 10;
/// Most bytes of a delivery beside its texts and payload, in any shape.
pub const HEAD_BYTES_MAX: usize = 48;
const _: () = assert!(HEAD_BYTES_MAX >= HEADER_BYTES + 4 * VARINT_BYTES_MAX);

/// How the messages of a run are written for one receiver. Receivers with the same shape get the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A line for each, behind the kept one.
    Lines,
    /// A DELIVER frame for each, with this subscription and the subject its pattern says.
    Frames(u32),
    /// A DELIVER_BATCH frame for all.
    Batch(u32),
}

impl Shape {
    /// How a run is written for a receiver; `None`: message by message.
    pub fn of(
        receiver: &Receiver,
        subscription: &Subscription,
        run: &Run<'_>,
        common: &Publication<'_>,
    ) -> Option<Shape> {
        if !subscription.is_native() {
            let headers = receiver.headers && run.needs_headers(common);
            return (!headers).then_some(Shape::Lines);
        }
        let id = subscription.client_id;
        match run.form {
            // What a wildcard's subject is called depends on what the connection calls it.
            _ if !subscription.exact => None,
            Form::Batch(_) if receiver.batches => Some(Shape::Batch(id)),
            _ => Some(Shape::Frames(id)),
        }
    }
}

/// Deliveries as bytes, kept for the next receiver that gets the same.
#[derive(Debug, Default)]
pub struct Encoded {
    shape: Option<Shape>,
    /// What stands before the size of each message, in the shape of lines.
    line: Vec<u8>,
    bytes: Vec<u8>,
    /// `bytes`, once it was worth sharing them.
    common: Bytes,
}

impl Encoded {
    /// Nothing is kept from one run to the next.
    pub fn forget(&mut self) {
        self.shape = None;
        self.common = Bytes::new();
    }

    pub fn fill(&mut self, shape: Shape, subscription: &Subscription, run: &Run<'_>, common: &Message<'_>) {
        let known = self.shape == Some(shape)
            && (shape != Shape::Lines || subscription.begins(common.subject, &self.line));
        if known {
            return;
        }
        self.forget();
        self.shape = Some(shape);
        self.bytes.clear();
        debug_assert!(self.common.is_empty(), "what others were given is not added to");
        match (shape, run.form) {
            (Shape::Lines, Form::Nats) => {
                self.begin(subscription, common);
                self.lines_as_written(run);
            }
            (Shape::Lines, _) => {
                self.begin(subscription, common);
                self.lines(run);
            }
            (Shape::Batch(id), Form::Batch(messages)) => {
                let batch = DeliverBatch {
                    flags: common.publication.flags,
                    timestamp_nanos: common.publication.timestamp_nanos,
                    correlation_id: common.publication.correlation_id,
                    subscription_id: id,
                    subject: SubjectRef::Interned(0),
                    messages,
                };
                deliver_batch(&mut self.bytes, &batch);
            }
            (Shape::Frames(id) | Shape::Batch(id), _) => self.frames(id, run, common),
        }
        debug_assert!(self.bytes.len() > run.payload_bytes, "every message has a head");
    }

    /// Appends what was encoded to an outbox. Returns its length.
    pub fn put(&mut self, outbox: &mut Outbox, last: bool, limits: &Limits, pool: &mut BufferPool) -> usize {
        let length = self.bytes.len().max(self.common.len());
        debug_assert!(length > 0, "it was filled, and not given away");
        debug_assert!(self.bytes.is_empty() || self.common.is_empty(), "the deliveries are kept once");
        if length < COMMON_BYTES_MIN {
            outbox.tail(length, limits.outbox_segment_bytes, pool).extend_from_slice(&self.bytes);
        } else if last && self.common.is_empty() {
            let frames = std::mem::replace(&mut self.bytes, pool.take());
            outbox.push(Segment::Copied(frames), pool);
            self.forget();
        } else {
            if self.common.is_empty() {
                self.common = Bytes::from(std::mem::replace(&mut self.bytes, pool.take()));
            }
            outbox.push(Segment::Common(self.common.clone()), pool);
        }
        length
    }

    fn begin(&mut self, subscription: &Subscription, common: &Message<'_>) {
        self.line.clear();
        subscription.begin(common.subject, &mut self.line);
    }

    fn lines_as_written(&mut self, run: &Run<'_>) {
        let line = Padded::new(&self.line);
        for span in run.spans {
            line.put(&self.line, &mut self.bytes);
            let end = span.end as usize + encode::CRLF.len();
            put(run.input, span.start as usize..end, &mut self.bytes);
        }
    }

    fn lines(&mut self, run: &Run<'_>) {
        let line = Padded::new(&self.line);
        for span in run.spans {
            line.put(&self.line, &mut self.bytes);
            decimal::put(&mut self.bytes, u64::from(span.end - span.payload));
            self.bytes.extend_from_slice(encode::CRLF);
            put(run.input, span.payload as usize..span.end as usize, &mut self.bytes);
            self.bytes.extend_from_slice(encode::CRLF);
        }
    }

    fn frames(&mut self, id: u32, run: &Run<'_>, common: &Message<'_>) {
        // Subscription, then the subject: number 0 is that of the pattern.
        let mut ids = [0; STEP_BYTES - HEADER_BYTES];
        let ids_bytes = varint::length(id) + 1;
        let mut written = Vec::with_capacity(ids.len());
        varint::encode(id, &mut written);
        debug_assert_eq!(written.len() + 1, ids_bytes, "the lengths of both numbers are known");
        ids[..written.len()].copy_from_slice(&written);
        let header = Header {
            frame_type: FrameType::Deliver,
            flags: Flags(common.publication.flags.0 | Flags::INTERNED),
            body_bytes: 0,
            timestamp_nanos: common.publication.timestamp_nanos,
            correlation_id: common.publication.correlation_id,
        };
        let mut head = [0; STEP_BYTES];
        head[..HEADER_BYTES].copy_from_slice(&header.encode());
        head[HEADER_BYTES..].copy_from_slice(&ids);
        let own_stamps = matches!(run.form, Form::Native);
        for span in run.spans {
            let body_bytes = ids_bytes as u32 + (span.end - span.payload);
            head[4..8].copy_from_slice(&body_bytes.to_le_bytes());
            if own_stamps {
                let start = span.start as usize;
                head[8..HEADER_BYTES].copy_from_slice(&run.input[start..start + HEADER_BYTES - 8]);
            }
            let end = self.bytes.len() + HEADER_BYTES + ids_bytes;
            self.bytes.extend_from_slice(&head);
            self.bytes.truncate(end);
            put(run.input, span.payload as usize..span.end as usize, &mut self.bytes);
        }
    }
}

/// Bytes copied whatever there is to copy: a copy of constant length is a few stores, one of unknown
/// length is a call.
const STEP_BYTES: usize = 32;
const _: () = assert!(HEADER_BYTES + VARINT_BYTES_MAX < STEP_BYTES, "a head and two numbers are a step");

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
        debug_assert_eq!(self.bytes[..line.len()], *line, "it was made of this line");
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

/// Appends a part of the input.
#[inline]
fn put(input: &[u8], part: std::ops::Range<usize>, out: &mut Vec<u8>) {
    let length = part.len();
    match input[part.start..].first_chunk::<STEP_BYTES>() {
        Some(step) if length <= STEP_BYTES => {
            let end = out.len() + length;
            out.extend_from_slice(step);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&input[part]),
    }
}
