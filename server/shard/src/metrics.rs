//! A shard's counters: plain numbers, written by the shard alone; the edge copies them out.

/// Whether a number only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
}

/// How one counter is published.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Metric name without the `ringbolt_` prefix and the `_total` suffix of counters.
    pub name: &'static str,
    pub kind: Kind,
    /// Value of the `reason` label, if the metric is split by reason.
    pub reason: Option<&'static str>,
    pub help: &'static str,
}

macro_rules! counters {
    ($($variant:ident: $kind:ident $name:literal $(by $reason:literal)?, $help:literal;)*) => {
        /// One number a shard keeps.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Counter { $($variant,)* }

        impl Counter {
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];
            pub const COUNT: usize = Counter::ALL.len();

            pub fn description(self) -> Description {
                match self { $(Counter::$variant => Description {
                    name: $name,
                    kind: Kind::$kind,
                    reason: counters!(@reason $($reason)?),
                    help: $help,
                },)* }
            }
        }
    };
    (@reason) => { None };
    (@reason $reason:literal) => { Some($reason) };
}

counters! {
    Connections: Gauge "connections", "Open connections.";
    ConnectionsOpened: Counter "connections_opened", "Connections accepted.";
    ConnectionsRefused: Counter "connections_refused",
        "Connections refused: connections_max, draining, no descriptors, or no time.";
    ConnectionsClosedClient: Counter "connections_closed" by "client", "Connections closed.";
    ConnectionsClosedProtocolError: Counter "connections_closed" by "protocol_error", "Connections closed.";
    ConnectionsClosedSlowConsumer: Counter "connections_closed" by "slow_consumer", "Connections closed.";
    ConnectionsClosedStale: Counter "connections_closed" by "stale", "Connections closed.";
    ConnectionsClosedHelloTimeout: Counter "connections_closed" by "hello_timeout", "Connections closed.";
    ConnectionsClosedUnadmittedBytes: Counter "connections_closed" by "unadmitted_bytes",
        "Connections closed.";
    ConnectionsClosedMemory: Counter "connections_closed" by "memory", "Connections closed.";
    ConnectionsClosedShutdown: Counter "connections_closed" by "shutdown", "Connections closed.";
    ConnectionsClosedLimit: Counter "connections_closed" by "limit", "Connections closed.";
    ConnectionsClosedError: Counter "connections_closed" by "error", "Connections closed.";
    ConnectionsClosedAuthorization: Counter "connections_closed" by "authorization", "Connections closed.";
    Subscriptions: Gauge "subscriptions", "Subscriptions in force.";
    InternedSubjects: Gauge "interned_subjects", "Subject numbers held by connections.";
    SubjectsCached: Gauge "subjects_cached", "Subjects in the table of routes.";
    RouteCacheHits: Counter "route_cache_hits", "Messages routed by a cached route.";
    RouteCacheMisses: Counter "route_cache_misses", "Routes computed.";
    RoutesBytes: Gauge "routes_bytes", "Memory that cached routes take, their table aside.";
    MessagesIn: Counter "messages_in", "Messages published by this shard's connections.";
    MessagesOut: Counter "messages_out", "Messages put into outboxes of this shard's connections.";
    BytesIn: Counter "bytes_in", "Bytes received.";
    BytesOut: Counter "bytes_out", "Bytes handed to the kernel to send.";
    DropsSlowConsumerOldest: Counter "messages_dropped" by "slow_consumer_oldest",
        "Messages dropped.";
    DropsSlowConsumerNewest: Counter "messages_dropped" by "slow_consumer_newest",
        "Messages dropped.";
    DropsOutboxHardLimit: Counter "messages_dropped" by "outbox_hard_limit", "Messages dropped.";
    DropsConnectionEnded: Counter "messages_dropped" by "connection_ended", "Messages dropped.";
    DropsMeshFull: Counter "messages_dropped" by "mesh_full", "Messages dropped.";
    DropsNativeLimits: Counter "messages_dropped" by "native_limits", "Messages dropped.";
    DropsNoQueueMember: Counter "messages_dropped" by "no_queue_member", "Messages dropped.";
    DropsExpired: Counter "messages_dropped" by "expired", "Messages dropped.";
    DropsWorkFull: Counter "messages_dropped" by "work_full", "Messages dropped.";
    DropsEmergency: Counter "messages_dropped" by "emergency", "Messages dropped.";
    DropsDraining: Counter "messages_dropped" by "draining", "Messages dropped.";
    WorkMessages: Gauge "work_messages", "Messages kept until they are acknowledged.";
    WorkInFlight: Gauge "work_in_flight", "Those of them that a member of a queue group has.";
    WorkBytes: Gauge "work_bytes", "Bytes that messages kept until they are acknowledged take.";
    Duplicates: Counter "duplicates", "Messages that were published before, by their ids, and dropped.";
    Redeliveries: Counter "redeliveries", "Deliveries of messages that were delivered before.";
    AcknowledgementsAck: Counter "acknowledgements" by "ack", "What members of groups said.";
    AcknowledgementsNak: Counter "acknowledgements" by "nak", "What members of groups said.";
    AcknowledgementsProgress: Counter "acknowledgements" by "progress", "What members of groups said.";
    AcknowledgementsTerm: Counter "acknowledgements" by "term", "What members of groups said.";
    AcknowledgementsStray: Counter "acknowledgements" by "stray", "What members of groups said.";
    BreakerChanges: Counter "breaker_changes", "Times a breaker of a member of a group changed.";
    DeadLettersExhausted: Counter "dead_letters" by "exhausted", "Messages that became dead letters.";
    DeadLettersExpired: Counter "dead_letters" by "expired", "Messages that became dead letters.";
    DeadLettersRejected: Counter "dead_letters" by "rejected", "Messages that became dead letters.";
    DeadLettersUnroutable: Counter "dead_letters" by "unroutable", "Messages that became dead letters.";
    DeadLettersPoison: Counter "dead_letters" by "poison", "Messages that became dead letters.";
    DeadLettersKept: Gauge "dead_letters_kept", "Dead letters that can be shown and replayed.";
    DeadLettersBytes: Gauge "dead_letters_bytes", "Bytes they take.";
    DeadLettersForgotten: Counter "dead_letters_forgotten", "Dead letters no longer kept for want of room.";
    DeadLettersReplayed: Counter "dead_letters_replayed", "Dead letters published anew as they were.";
    OffloadWaitingPasswordHash: Gauge "offload_waiting" by "password_hash",
        "Proofs of identity that wait for a thread that checks such.";
    OffloadWaitingSignature: Gauge "offload_waiting" by "signature",
        "Proofs of identity that wait for a thread that checks such.";
    OffloadRefusedPasswordHash: Counter "offload_refused" by "password_hash",
        "Logins refused because too many of their kind wait on this shard.";
    OffloadRefusedSignature: Counter "offload_refused" by "signature",
        "Logins refused because too many of their kind wait on this shard.";
    PermissionViolations: Counter "permission_violations",
        "Publishes and subscriptions that the client may not make.";
    RequestsWatched: Gauge "requests_watched", "Requests whose replies are looked after.";
    RequestsUnwatched: Counter "requests_unwatched",
        "Requests whose replies are delivered whenever they come: there are too many.";
    RepliesLate: Counter "replies_late", "Replies dropped: too late, or more than were wanted.";
    NoResponders: Counter "no_responders", "Requests that reached nobody.";
    PublishersPaused: Gauge "publishers_paused", "Connections not read from because a receiver is full.";
    PublisherPauses: Counter "publisher_pauses", "Times a connection was no longer read from.";
    MessagesInPieces: Counter "messages_in_pieces", "Messages for so many that they took several turns, and \
        those of other shards behind them.";
    ClientsDeferred: Counter "clients_deferred",
        "What clients said that waited for a later turn: they, or all together, had done enough in one.";
    MeshMessagesOut: Counter "mesh_messages_out", "Messages sent to other shards.";
    MeshMessagesIn: Counter "mesh_messages_in", "Messages received from other shards.";
    MeshBatchesOut: Counter "mesh_batches_out", "Batches sent to other shards.";
    MeshPendingBytes: Gauge "mesh_pending_bytes", "Bytes waiting for room in the mesh.";
    MeshDepthBatches: Gauge "mesh_depth_batches", "Batches waiting for room in the mesh.";
    Doorbells: Counter "doorbells", "Times another shard had to be woken.";
    ReceiveBuffers: Gauge "receive_buffers", "Receive buffers.";
    ReceiveBuffersFree: Gauge "receive_buffers_free", "Receive buffers the kernel may fill.";
    ReceiveBufferExhausted: Counter "receive_buffer_exhausted",
        "Receives that found no buffer and were armed again.";
    OutboxBytes: Gauge "memory_bytes" by "outboxes",
        "Memory that is kept for clients, by what it is for: emergency_level goes by the sum.";
    MemoryWork: Gauge "memory_bytes" by "work", "Messages of groups, dead letters, and ids of messages.";
    MemoryBegun: Gauge "memory_bytes" by "begun", "Beginnings of messages.";
    MemoryDeferred: Gauge "memory_bytes" by "deferred",
        "What clients said that waits for a turn or for room.";
    MemoryGathered: Gauge "memory_bytes" by "gathered", "Large messages that have begun, in full.";
    MemoryInterest: Gauge "memory_bytes" by "interest",
        "Subscriptions and groups, also those of other shards.";
    MemoryRequests: Gauge "memory_bytes" by "requests", "Requests that are looked after.";
    MemoryConnections: Gauge "memory_bytes" by "connections",
        "Connections by themselves, and their subject numbers.";
    MemorySubjects: Gauge "memory_bytes" by "subjects", "The table of subjects and their routes.";
    MessagesWaiting: Gauge "messages_waiting_for_room",
        "Large messages that have begun and are not read further until there is memory for them.";
    EmergencyLevel: Gauge "emergency_level",
        "Lanes that are shed because memory_bytes_max is near, the least important first.";
    BufferPoolHits: Counter "buffer_pool_hits", "Outbox buffers taken from the pool.";
    BufferPoolMisses: Counter "buffer_pool_misses", "Outbox buffers allocated.";
    BufferPoolFree: Gauge "buffer_pool_free", "Outbox buffers in the pool.";
    Turns: Counter "turns", "Turns of the loop that found work.";
    Waits: Counter "waits", "Times the shard slept.";
    Spins: Counter "spins", "Turns of the loop that found nothing and did not sleep.";
    Capturing: Gauge "capturing", "1 while the shard's capture is written.";
    CaptureBytes: Counter "capture_bytes", "Bytes written to the shard's capture.";
    MemoryHugePages: Gauge "memory_huge_pages", "1 if the receive buffers lie in reserved huge pages.";
}

/// Upper bound of the first bucket, in nanoseconds; each further bucket doubles it.
pub const TURN_BUCKET_FIRST_NANOS: u64 = 256;
/// Buckets up to 2^30 ns, and one for the rest.
pub const TURN_BUCKETS: usize = 24;

const _: () = assert!(TURN_BUCKET_FIRST_NANOS.is_power_of_two());
const _: () = assert!(TURN_BUCKET_FIRST_NANOS << (TURN_BUCKETS - 2) == 1 << 30);

/// How long turns took, in powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TurnHistogram {
    pub counts: [u64; TURN_BUCKETS],
    pub sum_nanos: u64,
}

impl TurnHistogram {
    #[inline]
    pub fn observe(&mut self, nanos: u64) {
        let bits = u64::BITS - (nanos.max(1) - 1).leading_zeros();
        let bucket = bits.saturating_sub(TURN_BUCKET_FIRST_NANOS.trailing_zeros()) as usize;
        let bucket = bucket.min(TURN_BUCKETS - 1);
        debug_assert!(
            TurnHistogram::bound_nanos(bucket).is_none_or(|bound| nanos <= bound),
            "the bucket holds it"
        );
        self.counts[bucket] += 1;
        self.sum_nanos += nanos;
    }

    /// Upper bound of a bucket; the last has none.
    pub fn bound_nanos(bucket: usize) -> Option<u64> {
        (bucket + 1 < TURN_BUCKETS).then(|| TURN_BUCKET_FIRST_NANOS << bucket)
    }
}

/// All numbers of one shard.
#[derive(Clone, Debug)]
pub struct Counters {
    values: [u64; Counter::COUNT],
    pub turns: TurnHistogram,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { values: [0; Counter::COUNT], turns: TurnHistogram::default() }
    }
}

impl Counters {
    #[inline]
    pub fn add(&mut self, counter: Counter, count: u64) {
        self.values[counter as usize] += count;
    }

    #[inline]
    pub fn set(&mut self, counter: Counter, value: u64) {
        self.values[counter as usize] = value;
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    #[inline]
    pub fn observe_turn(&mut self, nanos: u64) {
        self.turns.observe(nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_falls_into_the_smallest_bucket_that_holds_it() {
        for (nanos, bucket) in [(0, 0), (256, 0), (257, 1), (512, 1), (513, 2), (1 << 30, 22), (1 << 40, 23)]
        {
            let mut turns = TurnHistogram::default();
            turns.observe(nanos);
            assert_eq!(turns.counts.iter().position(|&count| count == 1), Some(bucket), "{nanos}");
            if let Some(bound) = TurnHistogram::bound_nanos(bucket) {
                assert!(nanos <= bound);
            }
        }
    }
}
