//! A delivery to a native client: a DELIVER frame.

use super::pool::BufferPool;
use super::receiver::Receiver;
use super::subscription::Subscription;
use crate::lanes::Lane;
use crate::message::{Message, Payload};
use ringbolt_protocol::command::{Deliver, SubjectRef};
use ringbolt_protocol::limits::{HEADER_BYTES, VARINT_BYTES_MAX};
use ringbolt_protocol::native::encode;

/// Most bytes a DELIVER frame has before its subject, reply and payload: header and four varints.
const DELIVER_HEAD_BYTES_MAX: usize = 24 + 4 * 5;
const _: () = assert!(DELIVER_HEAD_BYTES_MAX == HEADER_BYTES + 4 * VARINT_BYTES_MAX);

/// Appends it to an outbox. Returns its length.
#[inline]
pub fn write_frame(
    receiver: &mut Receiver,
    subscription: &Subscription,
    message: &Message<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
    debug_assert!(subscription.is_native(), "a NATS client reads no frames");
    let publication = message.publication;
    let lane = publication.lane();
    // What overtakes a number's definition may not use it.
    let in_order = lane == Lane::Normal && !receiver.outbox.has_lanes();
    let number = if subscription.exact {
        Some(0)
    } else if in_order {
        receiver.number(publication.subject)
    } else {
        None
    };
    debug_assert!(subscription.exact || number != Some(0), "number 0 is the subject of the pattern");
    let mut deliver = Deliver {
        flags: publication.flags,
        timestamp_nanos: publication.timestamp_nanos,
        correlation_id: publication.correlation_id,
        subscription_id: subscription.client_id,
        subject: number.map_or(SubjectRef::Literal(message.subject.as_bytes()), SubjectRef::Interned),
        reply: publication.reply,
        header_bytes: publication.header_bytes,
        payload: &[],
    };
    let texts = message.subject.len() + publication.reply.map_or(0, <[u8]>::len);
    let head_bytes_max = DELIVER_HEAD_BYTES_MAX + texts;
    match publication.payload {
        Payload::Copied(payload) => {
            let frame_bytes = head_bytes_max + payload.len();
            let tail = receiver.outbox.tail_in(lane, frame_bytes, segment_bytes, pool);
            let before = tail.len();
            deliver.payload = payload;
            encode::deliver(tail, &deliver);
            debug_assert!(tail.len() - before <= frame_bytes, "room was made for the frame");
            tail.len() - before
        }
        Payload::Shared(payload) => {
            let tail = receiver.outbox.tail_in(lane, head_bytes_max, segment_bytes, pool);
            let before = tail.len();
            encode::deliver_head(tail, &deliver, payload.len());
            let head_bytes = tail.len() - before;
            debug_assert!(head_bytes <= head_bytes_max, "room was made for the head");
            receiver.outbox.share(lane, payload.clone());
            head_bytes + payload.len()
        }
    }
}
