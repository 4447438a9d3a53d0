//! ringbolt's native dialect, through `ringbolt-protocol`.

use super::messages::{Incoming, Message, Outgoing, Parsed};
use ringbolt_protocol::command::{Compression, Flags, Publish, SubjectRef};
use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::native::control::{
    Control, Hello, Intern, Ping, Pong, SlowConsumer, Subscribe, encode_control,
};
use ringbolt_protocol::native::decode::{DecodeLimits, Decoded, Frame, decode_frame};
use ringbolt_protocol::native::encode;

const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: FRAME_BODY_BYTES_CEILING };

pub(super) fn greet(out: &mut Vec<u8>) {
    let hello = Hello {
        correlation_id: 0,
        version_min: 1,
        version_max: 1,
        name: "ringbolt-loadgen",
        library: concat!("ringbolt-loadgen ", env!("CARGO_PKG_VERSION")),
        batches: true,
        flow: false,
    };
    encode_control(&Control::Hello(hello), out);
}

pub(super) fn introduce(number: u32, subject: &str, out: &mut Vec<u8>) {
    encode_control(&Control::Intern(Intern { correlation_id: 0, id: number, subject }), out);
}

pub(super) fn subscribe(subscription: u32, pattern: &str, group: Option<&str>, out: &mut Vec<u8>) {
    let subscribe = Subscribe {
        correlation_id: 0,
        id: subscription,
        pattern,
        queue_group: group,
        slow_consumer: SlowConsumer::Default,
    };
    encode_control(&Control::Subscribe(subscribe), out);
}

pub(super) fn barrier(out: &mut Vec<u8>) {
    encode_control(&Control::Ping(Ping { correlation_id: 1 }), out);
}

pub(super) fn pong(out: &mut Vec<u8>) {
    encode_control(&Control::Pong(Pong { correlation_id: 0 }), out);
}

#[inline]
pub(super) fn publish_head(message: &Outgoing<'_>, out: &mut Vec<u8>) {
    let subject = match message.number {
        0 => SubjectRef::Literal(message.subject.as_bytes()),
        number => SubjectRef::Interned(number),
    };
    let block = message.key.map(|key| format!("NATS/1.0\r\nKey: {key}\r\n\r\n")).unwrap_or_default();
    let publish = Publish {
        flags: Flags::new(message.priority, Compression::None),
        timestamp_nanos: message.timestamp_nanos,
        correlation_id: message.correlation_id,
        subject,
        reply: message.reply.map(str::as_bytes),
        header_bytes: block.len() as u32,
        payload: &[],
    };
    encode::publish_head(out, &publish, block.len() + message.payload_bytes);
    out.extend_from_slice(block.as_bytes());
}

#[inline]
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    match decode_frame(input, &LIMITS).map_err(|error| error.to_string())? {
        Decoded::Incomplete { .. } => Ok(None),
        Decoded::Frame { frame, consumed } => Ok(Some((incoming(&frame), consumed))),
    }
}

#[inline]
fn incoming<'a>(frame: &Frame<'a>) -> Incoming<'a> {
    match frame {
        Frame::Deliver(deliver) => Incoming::Message(Message {
            subscription: deliver.subscription_id,
            reply: deliver.reply,
            correlation_id: deliver.correlation_id,
            payload: &deliver.payload[deliver.header_bytes as usize..],
        }),
        Frame::DeliverBatch(batch) => Incoming::Batch(batch.subscription_id, batch.messages),
        Frame::Control(Control::Pong(_)) => Incoming::InForce,
        Frame::Control(Control::Ping(_)) => Incoming::Ping,
        Frame::Control(Control::Refusal(refusal)) => Incoming::Refused(refusal.message),
        Frame::Control(Control::Close(close)) => Incoming::Closing(close.message),
        Frame::Control(_) | Frame::Publish(_) | Frame::PublishBatch(_) => Incoming::Other,
    }
}
