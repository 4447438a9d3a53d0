//! Several messages to one subject in one frame: PUBLISH_BATCH and DELIVER_BATCH.

use super::header::{FrameType, Header};
use crate::command::{Flags, SubjectRef};
use crate::error::DecodeError;
use crate::limits::{BATCH_MESSAGES_MAX, HEADER_BYTES};
use crate::nats::Span;
use crate::varint;

/// The messages of a batch, each its length as a varint and its payload. They were walked once, so they
/// are whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    count: u32,
    largest_bytes: u32,
}

impl<'a> Messages<'a> {
    /// Checks the messages that `bytes` consists of.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Messages<'a>, DecodeError> {
        let (mut rest, mut count, mut largest_bytes) = (bytes, 0, 0);
        while !rest.is_empty() {
            let (payload, behind) = split(rest)?;
            rest = behind;
            largest_bytes = largest_bytes.max(payload.len() as u32);
            count += 1;
        }
        if !(1..=BATCH_MESSAGES_MAX).contains(&count) {
            return Err(DecodeError::BatchCount);
        }
        Ok(Messages { bytes, count, largest_bytes })
    }

    /// How many there are: 1 to 1024.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Length of the longest payload.
    #[inline]
    pub fn largest_bytes(&self) -> usize {
        self.largest_bytes as usize
    }

    /// All of them as they are in a frame.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the payloads stand in [`Messages::bytes`].
    pub fn spans(&self) -> impl Iterator<Item = Span> + use<'a> {
        let mut place = 0;
        self.payloads().map(move |payload| {
            let start = place + varint::length(payload.len() as u32);
            place = start + payload.len();
            Span { start: start as u32, payload: start as u32, end: place as u32 }
        })
    }

    #[inline]
    pub fn payloads(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (payload, behind) = split(rest).ok()?;
            rest = behind;
            Some(payload)
        })
    }
}

/// The first payload, and what follows it.
#[inline]
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    const WHOLE: DecodeError = DecodeError::Truncated { field: "message of a batch" };
    // Most lengths have one byte.
    let (length, length_bytes) = match bytes.first() {
        Some(&byte) if byte < 0x80 => (u32::from(byte), 1),
        _ => varint::decode(bytes)?.ok_or(WHOLE)?,
    };
    bytes[length_bytes..].split_at_checked(length as usize).ok_or(WHOLE)
}

/// Messages to a subject. Flags, time and correlation id are those of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishBatch<'a> {
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subject: SubjectRef<'a>,
    pub messages: Messages<'a>,
}

/// Messages for a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliverBatch<'a> {
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subscription_id: u32,
    pub subject: SubjectRef<'a>,
    pub messages: Messages<'a>,
}

/// A batch that is being written to the end of a buffer.
#[derive(Debug)]
#[must_use = "its frame has no length before it is finished"]
pub struct BatchWriter {
    start: usize,
}

impl BatchWriter {
    /// Begins a PUBLISH_BATCH frame.
    #[inline]
    pub fn publish(
        out: &mut Vec<u8>,
        flags: Flags,
        timestamp_nanos: u64,
        correlation_id: u64,
        subject: SubjectRef<'_>,
    ) -> BatchWriter {
        BatchWriter::begin(
            out,
            FrameType::PublishBatch,
            (flags, timestamp_nanos, correlation_id),
            None,
            subject,
        )
    }

    #[inline]
    fn begin(
        out: &mut Vec<u8>,
        frame_type: FrameType,
        (flags, timestamp_nanos, correlation_id): (Flags, u64, u64),
        subscription_id: Option<u32>,
        subject: SubjectRef<'_>,
    ) -> BatchWriter {
        let start = out.len();
        let mut flags = flags.without_layout_bits().0;
        if let SubjectRef::Interned(_) = subject {
            flags |= Flags::INTERNED;
        }
        let header =
            Header { frame_type, flags: Flags(flags), body_bytes: 0, timestamp_nanos, correlation_id };
        out.extend_from_slice(&header.encode());
        if let Some(id) = subscription_id {
            varint::encode(id, out);
        }
        match subject {
            SubjectRef::Interned(number) => varint::encode(number, out),
            SubjectRef::Literal(text) => {
                varint::encode(text.len() as u32, out);
                out.extend_from_slice(text);
            }
        }
        BatchWriter { start }
    }

    /// The head of one message; its payload follows.
    #[inline]
    pub fn message_head(&self, payload_bytes: usize, out: &mut Vec<u8>) {
        varint::encode(payload_bytes as u32, out);
    }

    /// Ends the frame, which has 1 to 1024 messages.
    #[inline]
    pub fn finish(self, out: &mut [u8]) {
        let body_bytes = (out.len() - self.start - HEADER_BYTES) as u32;
        out[self.start + 4..self.start + 8].copy_from_slice(&body_bytes.to_le_bytes());
    }
}

/// Appends a whole PUBLISH_BATCH frame.
pub fn publish_batch(out: &mut Vec<u8>, batch: &PublishBatch<'_>) {
    let writer =
        BatchWriter::publish(out, batch.flags, batch.timestamp_nanos, batch.correlation_id, batch.subject);
    out.extend_from_slice(batch.messages.bytes());
    writer.finish(out);
}

/// Appends a whole DELIVER_BATCH frame.
pub fn deliver_batch(out: &mut Vec<u8>, batch: &DeliverBatch<'_>) {
    let head = (batch.flags, batch.timestamp_nanos, batch.correlation_id);
    let id = Some(batch.subscription_id);
    let writer = BatchWriter::begin(out, FrameType::DeliverBatch, head, id, batch.subject);
    out.extend_from_slice(batch.messages.bytes());
    writer.finish(out);
}
