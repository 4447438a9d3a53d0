//! What happens to a message for an outbox that is full.

use crate::limits::{Limits, SlowConsumerPolicy};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// End the slow connection.
    Cut,
    /// Drop what waits longest, then take the message.
    DropOldest,
    /// Drop this message.
    DropNewest,
    /// Take the message and hold its publisher back.
    PausePublisher,
    /// The publisher was held back and still too much came: drop this message.
    DropHardLimit,
}

/// Decides for an outbox that would hold `queued_bytes`, above the limit.
pub fn decide(policy: SlowConsumerPolicy, queued_bytes: usize, limits: &Limits) -> Admission {
    debug_assert!(queued_bytes > limits.outbox_bytes_max, "asked without need");
    match policy {
        SlowConsumerPolicy::Hold | SlowConsumerPolicy::Disconnect => Admission::Cut,
        SlowConsumerPolicy::DropOldest => Admission::DropOldest,
        SlowConsumerPolicy::DropNewest => Admission::DropNewest,
        SlowConsumerPolicy::PausePublisher if queued_bytes <= hard_limit_bytes(limits) => {
            Admission::PausePublisher
        }
        SlowConsumerPolicy::PausePublisher => Admission::DropHardLimit,
    }
}

/// What an outbox holds before publishers that go on are slowed down.
pub fn hold_from_bytes(limits: &Limits) -> usize {
    limits.outbox_bytes_max / 2
}

/// Above this not even a pausing consumer's messages are kept. A pause takes effect when it reaches
/// the publisher's shard; what may still come until then is what the links and receive buffers hold.
pub fn hard_limit_bytes(limits: &Limits) -> usize {
    let links = limits.mesh_ring_batches * limits.mesh_batch_bytes + 2 * limits.mesh_pending_bytes_max;
    let receive_buffers = usize::from(limits.receive_buffers) * limits.receive_buffer_bytes as usize;
    let other_shards = limits.shards - 1;
    limits.outbox_bytes_max + 2 * receive_buffers + other_shards * links
}
