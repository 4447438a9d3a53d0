//! Shards without sockets, which several benchmarks begin with.

use ringbolt_protocol::native::control::{Control, Hello, Intern, SlowConsumer, Subscribe, encode_control};
use ringbolt_shard::access::Access;
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::limits::{Limits, Shares, SlowConsumerPolicy};
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard, ShardId};

/// A shard and what its caller keeps from event to event.
pub struct Core {
    pub shard: Shard,
    effects: Effects,
    segments: Vec<Segment>,
    /// There are batches for another shard.
    has_batches: bool,
}

impl Core {
    /// With limits that no benchmark reaches.
    #[allow(clippy::new_without_default, reason = "a whole shard is no default of anything")]
    pub fn new() -> Core {
        Core::of(0, 1)
    }

    /// The shard with number `id` of `shards`.
    fn of(id: ShardId, shards: usize) -> Core {
        let limits = Limits {
            shards,
            connections_max: 4096,
            nats_connections_max: 4096,
            subscriptions_max: 65_536,
            interned_subjects_max: 4096,
            subjects_max: 65_536,
            payload_bytes_max: 4096,
            control_line_bytes_max: 512,
            outbox_bytes_max: 8 << 20,
            slow_consumer: SlowConsumerPolicy::Disconnect,
            pause_publisher_by_clients: false,
            slow_consumer_by_subject: Vec::new(),
            outbox_segment_bytes: 64 << 10,
            shared_payload_bytes_min: 8 << 10,
            mesh_pending_bytes_max: 8 << 20,
            mesh_batch_bytes: 64 << 10,
            mesh_ring_batches: 2,
            receive_buffer_bytes: 4096,
            receive_buffers: 4,
            ring_entries: 64,
            hello_timeout_nanos: 5_000_000_000,
            ping_interval_nanos: 30_000_000_000,
            ping_outstanding_max: 2,
            drain_nanos_max: 10_000_000_000,
            lame_duck_grace_nanos: 1_000_000_000,
            lame_duck_nanos: 10_000_000_000,
            send_stall_nanos_max: 10_000_000_000,
            buffer_pool_max: 4096,
            turn_steps: u32::MAX,
            client_steps: u32::MAX,
            piece_steps: u32::MAX,
            lane_shares: Shares::default(),
            work_bytes_max: 8 << 20,
            memory_bytes_max: 1 << 30,
            deferred_bytes_max: 1 << 27,
            gathered_bytes_max: 1 << 27,
            gathered_bytes_min: 64 << 10,
            dead_letters_bytes_max: 1 << 16,
        };
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (0, 0),
            unix_epoch_nanos: 0,
            nats: None,
        };
        let shard = Shard::new(id, &limits, &Access::default(), identity, 1, 2);
        Core { shard, effects: Effects::default(), segments: Vec::new(), has_batches: false }
    }

    /// The two shards of a server, which have yet to [`Core::meet`].
    pub fn pair() -> [Core; 2] {
        [Core::of(0, 2), Core::of(1, 2)]
    }

    /// Both shards hear everything that the other one has for them.
    pub fn meet(pair: &mut [Core; 2]) {
        let mut batches = Vec::new();
        loop {
            for from in [0, 1] {
                pair[from].take_batches(1 - from as ShardId, |batch| batches.push((from, batch)));
            }
            if batches.is_empty() {
                return;
            }
            for (from, batch) in batches.drain(..) {
                pair[1 - from].receive(from as ShardId, &batch);
            }
        }
    }

    /// Handles what a connection sent, and takes everything that is to be sent for it.
    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.say_and_hear(id, bytes, |_, _| {});
    }

    /// The same, and gives `hear` what is sent, with its receiver.
    pub fn say_and_hear(&mut self, id: ConnectionId, bytes: &[u8], hear: impl FnMut(ConnectionId, &[u8])) {
        self.handle(Event::Bytes(id, bytes));
        self.send(hear);
    }

    /// Handles a batch of another shard likewise.
    pub fn receive(&mut self, from: ShardId, batch: &MeshBatch) {
        self.handle(Event::Mesh(from, batch));
        self.send(|_, _| {});
    }

    /// Takes the batches for another shard.
    pub fn take_batches(&mut self, to: ShardId, mut take: impl FnMut(MeshBatch)) {
        if !std::mem::take(&mut self.has_batches) {
            return;
        }
        while let Some(batch) = self.shard.take_batch(to) {
            take(batch);
        }
        self.handle(Event::MeshRoom(to));
    }

    /// Takes what outboxes have, until none has more.
    fn send(&mut self, mut hear: impl FnMut(ConnectionId, &[u8])) {
        let mut ready = std::mem::take(&mut self.effects.send);
        for id in ready.drain(..) {
            self.shard.take_segments(Nanos(1), id, &mut self.segments);
            for segment in self.segments.drain(..) {
                hear(id, segment.bytes());
                self.shard.recycle(segment);
            }
            self.handle(Event::Sent(id));
        }
        self.effects.send = ready;
    }

    fn handle(&mut self, event: Event<'_>) {
        self.shard.handle(Nanos(1), event, &mut self.effects);
        self.has_batches |= !self.effects.mesh.is_empty();
        self.effects.mesh.clear();
    }

    /// A native client with number 1 for `orders.eu`, to which it may subscribe.
    pub fn connect(&mut self, slot: u32, subscribes: bool, batches: bool) -> ConnectionId {
        let id = ConnectionId { slot, generation: 1 };
        self.handle(Event::Opened(id, Opening::NATIVE));
        let (version_min, version_max, correlation_id) = (1, 1, 0);
        let (name, library, flow) = ("", "", false);
        let hello = Hello { correlation_id, version_min, version_max, name, library, batches, flow };
        let mut says = Vec::new();
        encode_control(&Control::Hello(hello), &mut says);
        let intern = Intern { correlation_id, id: 1, subject: "orders.eu" };
        encode_control(&Control::Intern(intern), &mut says);
        if subscribes {
            let (pattern, queue_group, slow_consumer) = ("orders.eu", None, SlowConsumer::Default);
            let subscribe = Subscribe { correlation_id, id: 1, pattern, queue_group, slow_consumer };
            encode_control(&Control::Subscribe(subscribe), &mut says);
        }
        self.say(id, &says);
        id
    }

    /// A NATS client that says `says` first.
    pub fn connect_nats(&mut self, slot: u32, says: &str) -> ConnectionId {
        const HELLO: &str =
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
        let id = ConnectionId { slot, generation: 1 };
        let opening = Opening { dialect: Dialect::Nats, ..Opening::NATIVE };
        self.handle(Event::Opened(id, opening));
        self.send(|_, _| {});
        self.say(id, [HELLO, says].concat().as_bytes());
        id
    }
}
