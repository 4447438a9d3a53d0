//! Every bound of a server, and the words that settings and shards share.

use ringbolt_protocol::limits::FRAME_BODY_BYTES_CEILING;
use ringbolt_protocol::subject::{Pattern, Subject};
use serde::{Deserialize, Serialize};

/// What happens to a message whose receiver's outbox is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SlowConsumerPolicy {
    /// Who outruns it is slowed down from half an outbox on; the slow connection is closed when it is full.
    Hold,
    /// The slow connection is closed; the others do not notice.
    Disconnect,
    /// What waits longest is dropped and counted.
    DropOldest,
    /// The new message is dropped and counted.
    DropNewest,
    /// The message is queued and its publisher is not read from until half the outbox is free.
    PausePublisher,
}

impl SlowConsumerPolicy {
    /// Whether a connection that asks for it is not cut for being slow.
    pub fn is_lenient(self) -> bool {
        matches!(self, SlowConsumerPolicy::DropOldest | SlowConsumerPolicy::DropNewest)
    }

    pub const NAMES: &'static [(&'static str, SlowConsumerPolicy)] = &[
        ("hold", SlowConsumerPolicy::Hold),
        ("disconnect", SlowConsumerPolicy::Disconnect),
        ("drop-oldest", SlowConsumerPolicy::DropOldest),
        ("drop-newest", SlowConsumerPolicy::DropNewest),
        ("pause-publisher", SlowConsumerPolicy::PausePublisher),
    ];
}

/// Lanes a message may be in, by importance: critical, high, normal, low, background.
pub const LANES: usize = 5;

/// What each lane gets at least while it waits, in thousandths of the bytes served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shares(pub [u16; LANES]);

impl Shares {
    /// What is promised to all lanes together: the rest belongs to importance.
    pub const SUM_MAX: u16 = 500;
}

impl Default for Shares {
    /// The most important lane needs no promise.
    fn default() -> Shares {
        Shares([0, 100, 100, 50, 20])
    }
}

/// Settings whose limits change with [`Limits::take_over`].
pub const RELOADABLE: &[&str] = &[
    "nats_connections_max",
    "subscriptions_max",
    "payload_bytes_max",
    "control_line_bytes_max",
    "outbox_bytes_max",
    "slow_consumer",
    "slow_consumer_by_subject",
    "pause_publisher_by_clients",
    "hello_timeout",
    "ping_interval",
    "ping_outstanding_max",
    "send_stall_time_max",
    "lane_shares_min",
    "work_bytes_max",
    "memory_bytes_max",
    "dead_letters_bytes_max",
    "lame_duck_grace",
    "lame_duck_time",
];

/// See the module. Names end in their unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub shards: usize,
    /// Connections a shard.
    pub connections_max: usize,
    /// NATS clients on all shards.
    pub nats_connections_max: usize,
    /// Subscriptions a connection.
    pub subscriptions_max: usize,
    /// Subject numbers a connection.
    pub interned_subjects_max: usize,
    /// Subjects in a shard's table.
    pub subjects_max: usize,
    pub payload_bytes_max: usize,
    /// The arguments of one operation of a NATS client.
    pub control_line_bytes_max: usize,
    /// Queued for one connection.
    pub outbox_bytes_max: usize,
    pub slow_consumer: SlowConsumerPolicy,
    /// Patterns of subjects that another policy is for; the first that matches counts.
    /// Clients may choose that publishers wait for them.
    pub pause_publisher_by_clients: bool,
    pub slow_consumer_by_subject: Vec<(String, SlowConsumerPolicy)>,
    pub outbox_segment_bytes: usize,
    pub shared_payload_bytes_min: usize,
    /// Waiting for one other shard.
    pub mesh_pending_bytes_max: usize,
    pub mesh_batch_bytes: usize,
    /// Batches in one link.
    pub mesh_ring_batches: usize,
    pub receive_buffer_bytes: u32,
    pub receive_buffers: u16,
    pub ring_entries: u32,
    /// Work of all clients in a turn, and of one, in steps of about 50 ns; an operation more.
    pub turn_steps: u32,
    pub client_steps: u32,
    /// Steps of a fan-out before it goes on in another turn.
    pub piece_steps: u32,
    pub hello_timeout_nanos: u64,
    pub ping_interval_nanos: u64,
    pub ping_outstanding_max: u8,
    pub drain_nanos_max: u64,
    pub lame_duck_grace_nanos: u64,
    pub lame_duck_nanos: u64,
    pub send_stall_nanos_max: u64,
    pub lane_shares: Shares,
    pub work_bytes_max: usize,
    /// Waiting to be sent or acknowledged, before lanes are shed.
    pub memory_bytes_max: usize,
    pub dead_letters_bytes_max: usize,
    /// What clients have said that waits for a turn, or for room.
    pub deferred_bytes_max: usize,
    /// Large messages that have begun and not ended, and from where on one is large.
    pub gathered_bytes_max: usize,
    pub gathered_bytes_min: usize,
    /// Idle outbox buffers a shard keeps.
    pub buffer_pool_max: usize,
}

/// What all clients of a shard may have sent before they are admitted, beyond a HELLO or CONNECT of each.
pub const UNADMITTED_BYTES_MAX: usize = 16 << 20;

/// Bytes of a buffer of an outbox.
const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// Connections of one shard.
const CONNECTIONS_MAX: usize = 1 << 24;

/// Shards of one server.
pub const SHARDS_MAX: usize = 128;

impl Limits {
    /// Takes those over that may change while clients are connected.
    pub fn take_over(&mut self, new: &Limits) {
        self.nats_connections_max = new.nats_connections_max;
        self.subscriptions_max = new.subscriptions_max;
        self.payload_bytes_max = new.payload_bytes_max;
        self.control_line_bytes_max = new.control_line_bytes_max;
        self.outbox_bytes_max = new.outbox_bytes_max;
        self.slow_consumer = new.slow_consumer;
        self.pause_publisher_by_clients = new.pause_publisher_by_clients;
        self.slow_consumer_by_subject.clone_from(&new.slow_consumer_by_subject);
        self.hello_timeout_nanos = new.hello_timeout_nanos;
        self.ping_interval_nanos = new.ping_interval_nanos;
        self.ping_outstanding_max = new.ping_outstanding_max;
        self.send_stall_nanos_max = new.send_stall_nanos_max;
        self.lane_shares = new.lane_shares;
        self.work_bytes_max = new.work_bytes_max;
        self.memory_bytes_max = new.memory_bytes_max;
        self.dead_letters_bytes_max = new.dead_letters_bytes_max;
        self.deferred_bytes_max = new.deferred_bytes_max;
        self.gathered_bytes_max = new.gathered_bytes_max;
        self.lame_duck_grace_nanos = new.lame_duck_grace_nanos;
        self.lame_duck_nanos = new.lame_duck_nanos;
    }

    /// What the shards rely on and does not hold; the settings are refused where it would not.
    pub fn fault(&self) -> Option<&'static str> {
        let shares = self.lane_shares.0.iter().map(|&share| u32::from(share)).sum::<u32>();
        let rules = [
            ((1..=SHARDS_MAX).contains(&self.shards), "a server has shards"),
            (self.payload_bytes_max <= self.outbox_bytes_max, "an empty outbox takes any message"),
            (self.payload_bytes_max <= self.mesh_pending_bytes_max, "an empty link takes any message"),
            (self.payload_bytes_max < FRAME_BODY_BYTES_CEILING as usize, "a frame holds a payload"),
            (self.outbox_segment_bytes > 0 && self.mesh_batch_bytes > 0, "buffers hold something"),
            (self.outbox_segment_bytes <= SEGMENT_BYTES_MAX, "a buffer is a part of an outbox"),
            (self.control_line_bytes_max <= u16::MAX as usize, "the mesh carries what a line names"),
            (self.connections_max <= CONNECTIONS_MAX, "the number of a connection holds its slot"),
            (self.subjects_max < u32::MAX as usize, "subjects have numbers"),
            (self.interned_subjects_max <= u32::MAX as usize, "clients give subjects numbers"),
            (self.subscriptions_max <= u32::MAX as usize, "a WELCOME says how many"),
            (self.client_steps > 0 && self.client_steps <= self.turn_steps, "a turn is for somebody"),
            (shares <= u32::from(Shares::SUM_MAX), "the lanes are promised what there is"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, rule)| rule)
    }

    /// What subscriptions may take, with what is known of those of other shards.
    pub fn interest_bytes_max(&self) -> usize {
        self.memory_bytes_max / 4
    }

    /// What requests may take that are looked after.
    pub fn requests_bytes_max(&self) -> usize {
        self.memory_bytes_max / 16
    }

    /// What connections may take, with the numbers that clients give to subjects.
    pub fn numbers_bytes_max(&self) -> usize {
        self.memory_bytes_max / 8
    }

    /// What the cached routes of an account may take.
    pub fn routes_bytes_max(&self) -> usize {
        self.memory_bytes_max / 16
    }

    pub fn check(&self) {
        assert_eq!(self.fault(), None, "limits that no server has");
    }

    /// What happens to a message on this subject whose receiver's outbox is full, unless it asked for
    /// something. A pattern stands for the subjects it matches.
    pub fn slow_consumer_for(&self, subject: &str) -> SlowConsumerPolicy {
        let subject = Subject::trusted(subject);
        let matches =
            |pattern: &str| Pattern::new(pattern.as_bytes()).is_ok_and(|pattern| pattern.matches(&subject));
        let own = self.slow_consumer_by_subject.iter().find(|(pattern, _)| matches(pattern));
        own.map_or(self.slow_consumer, |&(_, policy)| policy)
    }
}
