//! From bytes to frames, in place.

use super::batch::{DeliverBatch, Messages, PublishBatch};
use super::control::{self, Control};
use super::header::{FrameType, Header};
use crate::command::{Deliver, Publish, SubjectRef};
use crate::error::DecodeError;
use crate::limits::{CONTROL_BODY_BYTES_MAX, HEADER_BYTES};
use crate::varint;

/// What this receiver takes.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Longest body of a publish or delivery.
    pub body_bytes_max: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Decoded<'a> {
    /// Right so far. At least `bytes_needed` bytes from the start of the frame are needed to go on.
    Incomplete {
        bytes_needed: usize,
    },
    Frame {
        frame: Frame<'a>,
        consumed: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Frame<'a> {
    Publish(Publish<'a>),
    Deliver(Deliver<'a>),
    PublishBatch(PublishBatch<'a>),
    DeliverBatch(DeliverBatch<'a>),
    Control(Control<'a>),
}

/// Decodes the frame at the start of `input`. A wrong header is an error before its body arrives.
#[inline]
pub fn decode_frame<'a>(input: &'a [u8], limits: &DecodeLimits) -> Result<Decoded<'a>, DecodeError> {
    let Some(header) = Header::decode(input)? else {
        return Ok(Decoded::Incomplete { bytes_needed: HEADER_BYTES });
    };
    let body_bytes_max = match header.frame_type {
        kind if kind.is_message() => limits.body_bytes_max,
        _ => CONTROL_BODY_BYTES_MAX.min(limits.body_bytes_max),
    };
    if header.body_bytes > body_bytes_max {
        return Err(DecodeError::BodyTooLong { body_bytes: header.body_bytes, body_bytes_max });
    }
    let consumed = HEADER_BYTES + header.body_bytes as usize;
    let Some(body) = input.get(HEADER_BYTES..consumed) else {
        return Ok(Decoded::Incomplete { bytes_needed: consumed });
    };
    let frame = match header.frame_type {
        FrameType::Publish => Frame::Publish(publish(&header, body)?),
        FrameType::Deliver => Frame::Deliver(deliver(&header, body)?),
        FrameType::PublishBatch => Frame::PublishBatch(publish_batch(&header, body)?),
        FrameType::DeliverBatch => Frame::DeliverBatch(deliver_batch(&header, body)?),
        _ => Frame::Control(control::decode(&header, body)?),
    };
    Ok(Decoded::Frame { frame, consumed })
}

#[inline]
fn publish<'a>(header: &Header, body: &'a [u8]) -> Result<Publish<'a>, DecodeError> {
    let mut body = Body(body);
    let subject = body.subject(header)?;
    if subject == SubjectRef::Interned(0) {
        return Err(DecodeError::InternedZero);
    }
    let reply = if header.flags.reply() { Some(body.text("reply subject")?) } else { None };
    let header_bytes = body.header_bytes(header)?;
    Ok(Publish {
        flags: header.flags,
        timestamp_nanos: header.timestamp_nanos,
        correlation_id: header.correlation_id,
        subject,
        reply,
        header_bytes,
        payload: body.0,
    })
}

#[inline]
fn deliver<'a>(header: &Header, body: &'a [u8]) -> Result<Deliver<'a>, DecodeError> {
    let mut body = Body(body);
    let subscription_id = body.varint("subscription id")?;
    let subject = body.subject(header)?;
    let reply = if header.flags.reply() { Some(body.text("reply subject")?) } else { None };
    let header_bytes = body.header_bytes(header)?;
    Ok(Deliver {
        flags: header.flags,
        timestamp_nanos: header.timestamp_nanos,
        correlation_id: header.correlation_id,
        subscription_id,
        subject,
        reply,
        header_bytes,
        payload: body.0,
    })
}

#[inline]
fn publish_batch<'a>(header: &Header, body: &'a [u8]) -> Result<PublishBatch<'a>, DecodeError> {
    let mut body = Body(body);
    let subject = body.subject(header)?;
    if subject == SubjectRef::Interned(0) {
        return Err(DecodeError::InternedZero);
    }
    Ok(PublishBatch {
        flags: header.flags,
        timestamp_nanos: header.timestamp_nanos,
        correlation_id: header.correlation_id,
        subject,
        messages: Messages::new(body.0)?,
    })
}

#[inline]
fn deliver_batch<'a>(header: &Header, body: &'a [u8]) -> Result<DeliverBatch<'a>, DecodeError> {
    let mut body = Body(body);
    let subscription_id = body.varint("subscription id")?;
    let subject = body.subject(header)?;
    Ok(DeliverBatch {
        flags: header.flags,
        timestamp_nanos: header.timestamp_nanos,
        correlation_id: header.correlation_id,
        subscription_id,
        subject,
        messages: Messages::new(body.0)?,
    })
}

/// What is left of a whole body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    #[inline]
    fn varint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let (value, bytes) = varint::decode(self.0)?.ok_or(DecodeError::Truncated { field })?;
        self.0 = &self.0[bytes..];
        Ok(value)
    }

    #[inline]
    fn text(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let bytes = self.varint(field)? as usize;
        let (text, rest) = self.0.split_at_checked(bytes).ok_or(DecodeError::Truncated { field })?;
        self.0 = rest;
        Ok(text)
    }

    /// The length of the headers, which the rest of the body begins with.
    #[inline]
    fn header_bytes(&mut self, header: &Header) -> Result<u32, DecodeError> {
        if !header.flags.headers() {
            return Ok(0);
        }
        match self.varint("headers")? {
            0 => Err(DecodeError::NoHeaders),
            bytes if bytes as usize > self.0.len() => Err(DecodeError::Truncated { field: "headers" }),
            bytes => Ok(bytes),
        }
    }

    #[inline]
    fn subject(&mut self, header: &Header) -> Result<SubjectRef<'a>, DecodeError> {
        if header.flags.interned() {
            self.varint("subject").map(SubjectRef::Interned)
        } else {
            self.text("subject").map(SubjectRef::Literal)
        }
    }
}
