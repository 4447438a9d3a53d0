//! Payloads of the native dialect, in either direction.

use super::payloads::is_understood;
use super::span::{Body, Span, empty, push};
use ringbolt_protocol::command::SubjectRef;
use ringbolt_protocol::error::DecodeError;
use ringbolt_protocol::limits::{
    CONTROL_BODY_BYTES_MAX, FRAME_BODY_BYTES_CEILING, HEADER_BYTES, VARINT_BYTES_MAX,
};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::header::{FrameType, Header};
use ringbolt_protocol::varint;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };

/// See the module.
#[derive(Debug, Default)]
pub struct NativeFilter {
    /// The frame from its header to its payload, or the length of a message of a batch, as far as it is here.
    head: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Body(Body),
    /// Between the messages of a batch, and so many bytes before its end.
    Batch(usize),
    /// In a message of a batch.
    Message(Body, usize),
    /// What follows is no frame; nobody reads it.
    Broken,
}

/// What the beginning of a frame says.
enum Head {
    /// That so many more bytes are needed.
    Needs(usize),
    Body(Body),
    Batch(usize),
    Broken,
}

impl NativeFilter {
    pub fn cut(&mut self, mut chunk: &[u8], spans: &mut Vec<Span>) {
        while !chunk.is_empty() {
            let taken = match &mut self.state {
                State::Head => self.head(chunk, spans),
                State::Batch(_) => self.length(chunk, spans),
                State::Body(body) => {
                    let taken = body.pass(chunk, spans);
                    if body.is_over() {
                        self.state = State::Head;
                    }
                    taken
                }
                State::Message(body, left) => {
                    let taken = body.pass(chunk, spans);
                    if body.is_over() {
                        self.state = between(*left);
                    }
                    taken
                }
                State::Broken => {
                    push(spans, Span::Omitted(chunk.len()));
                    return;
                }
            };
            chunk = &chunk[taken..];
        }
    }

    /// Takes what is there of the beginning of a frame. Returns how much that was.
    fn head(&mut self, chunk: &[u8], spans: &mut Vec<Span>) -> usize {
        if self.head.is_empty()
            && let Ok(Decoded::Frame { frame, consumed }) = decode_frame(chunk, &LIMITS)
        {
            whole(&frame, consumed, spans);
            return consumed;
        }
        let before = self.head.len();
        loop {
            let taken = self.head.len() - before;
            let (next, kept) = match head_of(&self.head) {
                Ok(Head::Needs(bytes)) if taken < chunk.len() => {
                    let more = bytes.min(chunk.len() - taken);
                    self.head.extend_from_slice(&chunk[taken..taken + more]);
                    continue;
                }
                Ok(Head::Needs(_)) => {
                    push(spans, Span::Kept(taken));
                    return taken;
                }
                Ok(Head::Body(body)) if body.is_over() => (State::Head, taken),
                Ok(Head::Body(body)) => (State::Body(body), taken),
                Ok(Head::Batch(left)) => (between(left), taken),
                Ok(Head::Broken) => (State::Broken, taken),
                Err(_) => (State::Broken, wrong_start(&self.head).saturating_sub(before)),
            };
            push(spans, Span::Kept(kept));
            empty(&mut self.head);
            self.state = next;
            return kept;
        }
    }

    /// Takes what is there of the length in front of a message of a batch.
    fn length(&mut self, chunk: &[u8], spans: &mut Vec<Span>) -> usize {
        let State::Batch(left) = &mut self.state else { return 0 };
        push(spans, Span::Kept(1));
        self.head.push(chunk[0]);
        *left -= 1;
        let left = *left;
        let next = match varint::decode(&self.head) {
            Ok(None) if left > 0 && self.head.len() < VARINT_BYTES_MAX => return 1,
            Ok(Some((0, _))) => between(left),
            Ok(Some((bytes, _))) if bytes as usize <= left => {
                let omitted = bytes as usize;
                State::Message(Body { kept: 0, omitted }, left - omitted)
            }
            // Its receiver refuses the frame once it is whole, for what was kept of it.
            _ if left == 0 => State::Head,
            _ => State::Body(Body { kept: 0, omitted: left }),
        };
        empty(&mut self.head);
        self.state = next;
        1
    }
}

fn between(left: usize) -> State {
    if left == 0 { State::Head } else { State::Batch(left) }
}

/// A frame that is here from its first byte to its last.
fn whole(frame: &Frame<'_>, consumed: usize, spans: &mut Vec<Span>) {
    let (subject, header_bytes, payload) = match frame {
        Frame::Publish(publish) => (publish.subject, publish.header_bytes, publish.payload),
        Frame::Deliver(deliver) => (deliver.subject, deliver.header_bytes, deliver.payload),
        Frame::PublishBatch(batch) => return messages(consumed, &batch.messages, spans),
        Frame::DeliverBatch(batch) => return messages(consumed, &batch.messages, spans),
        Frame::Control(_) => return push(spans, Span::Kept(consumed)),
    };
    let omitted = match subject {
        SubjectRef::Literal(text) if is_understood(text) => 0,
        _ => payload.len() - header_bytes as usize,
    };
    push(spans, Span::Kept(consumed - omitted));
    push(spans, Span::Omitted(omitted));
}

fn messages(
    consumed: usize,
    messages: &ringbolt_protocol::native::batch::Messages<'_>,
    spans: &mut Vec<Span>,
) {
    push(spans, Span::Kept(consumed - messages.bytes().len()));
    for payload in messages.payloads() {
        push(spans, Span::Kept(varint::length(payload.len() as u32)));
        push(spans, Span::Omitted(payload.len()));
    }
}

/// How much of a frame's beginning is needed to see that it is wrong.
fn wrong_start(head: &[u8]) -> usize {
    (1..head.len()).find(|&bytes| Header::decode(&head[..bytes]).is_err()).unwrap_or(head.len())
}

/// Reads the beginning of a frame, which is never more than [`Head::Needs`] asked for.
fn head_of(head: &[u8]) -> Result<Head, DecodeError> {
    let Some(header) = Header::decode(head)? else { return Ok(Head::Needs(HEADER_BYTES - head.len())) };
    let body_bytes = header.body_bytes as usize;
    if !header.frame_type.is_message() {
        let longest = CONTROL_BODY_BYTES_MAX as usize;
        let body = Body { kept: body_bytes, omitted: 0 };
        return Ok(if body_bytes > longest { Head::Broken } else { Head::Body(body) });
    }
    if header.body_bytes > FRAME_BODY_BYTES_CEILING {
        return Ok(Head::Broken);
    }
    let body = &head[HEADER_BYTES..];
    // What is wrong with it is said once the frame is whole, for what is kept here.
    let rest = Head::Body(Body { kept: 0, omitted: body_bytes - body.len() });
    match message_head(&header, body) {
        Ok(Found::Needs(_)) if body.len() == body_bytes => Ok(rest),
        Ok(Found::Needs(bytes)) => Ok(Head::Needs(bytes.min(body_bytes - body.len()))),
        Ok(Found::Payload { at, .. }) if at > body_bytes => Ok(rest),
        Ok(Found::Payload { .. }) if header.frame_type.is_batch() => Ok(Head::Batch(body_bytes - body.len())),
        Ok(Found::Payload { at, understood }) => {
            let kept = if understood { body_bytes } else { at };
            Ok(Head::Body(Body { kept: kept - body.len(), omitted: body_bytes - kept }))
        }
        Err(_) => Ok(rest),
    }
}

enum Found {
    Needs(usize),
    /// The payload begins there; whether the server understands it.
    Payload {
        at: usize,
        understood: bool,
    },
}

/// Reads a message's body up to its payload.
fn message_head(header: &Header, body: &[u8]) -> Result<Found, DecodeError> {
    let mut at = 0;
    let mut understood = false;
    let is_delivery = matches!(header.frame_type, FrameType::Deliver | FrameType::DeliverBatch);
    let texts = usize::from(!header.flags.interned());
    let numbers = usize::from(is_delivery) + usize::from(header.flags.interned());
    // A subscription's or a subject's number, the subject, the reply subject, the length of the headers.
    let fields = std::iter::repeat_n(Field::Number, numbers)
        .chain(std::iter::repeat_n(Field::Subject, texts))
        .chain(header.flags.reply().then_some(Field::Reply))
        .chain(header.flags.headers().then_some(Field::Headers));
    for field in fields {
        let Some((value, bytes)) = varint::decode(body.get(at..).unwrap_or_default())? else {
            return Ok(Found::Needs(1));
        };
        at += bytes;
        let value = value as usize;
        match field {
            Field::Number => {}
            Field::Subject | Field::Reply => {
                let Some(text) = body.get(at..at + value) else {
                    return Ok(Found::Needs(at + value - body.len()));
                };
                understood |= field == Field::Subject && is_understood(text);
                at += value;
            }
            Field::Headers => at += value,
        }
    }
    Ok(Found::Payload { at, understood })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Number,
    Subject,
    Reply,
    Headers,
}
