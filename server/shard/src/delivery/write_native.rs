//! A delivery to a native client: a DELIVER frame.

use super::pool::BufferPool;
use super::receiver::Receiver;
use super::subscription::Subscription;
use crate::lanes::Lane;
use crate::message::{Message, Payload};
use ringbolt_protocol::command::{Deliver, SubjectRef};
use ringbolt_protocol::native::encode;

/// Most bytes a DELIVER frame has before its subject, reply and payload: header and four varints.
const DELIVER_HEAD_BYTES_MAX: usize = 24 + 4 * 5;

/// Appends it to an outbox. Returns its length.
#[inline]
pub fn write(
    receiver: &mut Receiver,
    subscription: &Subscription,
    message: &Message<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
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
            tail.len() - before
        }
        Payload::Shared(payload) => {
            let tail = receiver.outbox.tail_in(lane, head_bytes_max, segment_bytes, pool);
            let before = tail.len();
            encode::deliver_head(tail, &deliver, payload.len());
            let head_bytes = tail.len() - before;
            receiver.outbox.share(lane, payload.clone());
            head_bytes + payload.len()
        }
    }
}
