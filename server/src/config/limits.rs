//! Bounds derived from the settings: what no single setting can know is checked here.

use super::{Config, ConfigError};
use ringbolt_protocol::limits::{FRAME_BODY_BYTES_CEILING, SUBJECT_BYTES_MAX};
use ringbolt_shard::limits::{Limits, SHARDS_MAX};

/// Entries of a shard's submission queue: a turn that needs more submits in several calls.
const RING_ENTRIES: u32 = 1024;
const BUFFER_POOL_MAX: usize = 1024;
/// A message that takes less is begun whatever others do; for a larger one there must be room.
const GATHERED_BYTES_MIN: usize = 64 << 10;
/// What of clients may wait in any case.
const DEFERRED_BUFFERS_MIN: usize = 32;
/// What a cached subject takes, roughly, beside its text and what its route takes.
const SUBJECT_BYTES: usize = 512;
/// Receive buffers of one shard, prefaulted: more is a typing error and would only fail to be mapped.
const RECEIVE_BYTES_MAX: usize = 4 << 30;

const _: () = assert!(RING_ENTRIES.is_power_of_two());
const _: () = assert!((32 << 20) + 4 * SUBJECT_BYTES_MAX < FRAME_BODY_BYTES_CEILING as usize);

/// Work of all clients in a turn: about a millisecond. One client leaves something of it to the others.
const TURN_STEPS: u32 = 20_000;
const CLIENT_STEPS: u32 = 8_192;

impl Config {
    /// What a link to another shard should hold, twice, of a shard that may have so much memory.
    fn link_bytes_max(&self, memory_bytes_max: usize) -> usize {
        // Where there is little memory, the links to all other shards take a small part of it.
        let of_memory = memory_bytes_max / 16 / (self.cores.len() - 1).max(1);
        // What is on its way when a publisher is held back should fit the half of an outbox that is free.
        of_memory.min(self.outbox_bytes_max / 8)
    }

    /// An eighth is for what is on its way between shards, and for what the allocator holds.
    fn memory_bytes_max_of_shard(&self) -> usize {
        self.memory_bytes_max / 8 * 7 / self.cores.len()
    }

    /// Derives and checks what no single setting can know.
    pub fn limits(&self) -> Result<Limits, ConfigError> {
        let error = |key: &str, message: String| Err(ConfigError { key: key.to_owned(), message });
        if self.cores.is_empty() || self.cores.len() > SHARDS_MAX {
            return error("cores", format!("a server has 1 to {SHARDS_MAX} shards"));
        }
        if self.outbox_bytes_max < 2 * self.payload_bytes_max {
            let least = 2 * self.payload_bytes_max;
            return error("outbox_bytes_max", format!("must hold two payloads: set it to {least} or more"));
        }
        if self.mesh_pending_bytes_max < 2 * self.payload_bytes_max {
            let least = 2 * self.payload_bytes_max;
            return error(
                "mesh_pending_bytes_max",
                format!("must hold two payloads: set it to {least} or more"),
            );
        }
        let receive_bytes = self.receive_buffers * self.receive_buffer_bytes;
        if receive_bytes > RECEIVE_BYTES_MAX {
            let most = RECEIVE_BYTES_MAX / self.receive_buffer_bytes;
            return error(
                "receive_buffers",
                format!("a shard's receive buffers may take 4GiB in all: set it to {most} or less"),
            );
        }
        let memory_bytes_max = self.memory_bytes_max_of_shard();
        let link_bytes_max = self.link_bytes_max(memory_bytes_max);
        let ring_batches_max = (link_bytes_max / self.mesh_batch_bytes).max(2).ilog2();
        Ok(Limits {
            shards: self.cores.len(),
            connections_max: self.connections_max,
            nats_connections_max: self.nats_connections_max,
            subscriptions_max: self.subscriptions_max,
            interned_subjects_max: self.interned_subjects_max,
            subjects_max: self.subjects_max.min((memory_bytes_max / 16 / SUBJECT_BYTES).max(1024)),
            payload_bytes_max: self.payload_bytes_max,
            control_line_bytes_max: self.control_line_bytes_max,
            outbox_bytes_max: self.outbox_bytes_max,
            slow_consumer: self.slow_consumer,
            pause_publisher_by_clients: self.pause_publisher_by_clients,
            slow_consumer_by_subject: self.slow_consumer_by_subject.clone(),
            outbox_segment_bytes: self.outbox_segment_bytes,
            shared_payload_bytes_min: self.shared_payload_bytes_min,
            mesh_pending_bytes_max: self
                .mesh_pending_bytes_max
                .min(link_bytes_max.max(2 * self.payload_bytes_max)),
            mesh_batch_bytes: self.mesh_batch_bytes,
            mesh_ring_batches: self.mesh_ring_batches.min(1 << ring_batches_max),
            receive_buffer_bytes: self.receive_buffer_bytes as u32,
            receive_buffers: self.receive_buffers as u16,
            turn_steps: TURN_STEPS,
            client_steps: CLIENT_STEPS,
            piece_steps: CLIENT_STEPS,
            ring_entries: RING_ENTRIES,
            hello_timeout_nanos: self.hello_timeout_nanos,
            ping_interval_nanos: self.ping_interval_nanos,
            ping_outstanding_max: self.ping_outstanding_max as u8,
            drain_nanos_max: self.drain_nanos_max,
            lame_duck_grace_nanos: self.lame_duck_grace_nanos,
            lame_duck_nanos: self.lame_duck_nanos,
            send_stall_nanos_max: self.send_stall_nanos_max,
            lane_shares: self.lane_shares,
            work_bytes_max: self.work_bytes_max,
            memory_bytes_max,
            dead_letters_bytes_max: self.dead_letters_bytes_max,
            deferred_bytes_max: (memory_bytes_max / 8).max(DEFERRED_BUFFERS_MIN * self.receive_buffer_bytes),
            gathered_bytes_max: memory_bytes_max / 8,
            gathered_bytes_min: GATHERED_BYTES_MIN,
            buffer_pool_max: BUFFER_POOL_MAX.min(memory_bytes_max / 16 / (2 * self.outbox_segment_bytes)),
        })
    }
}
