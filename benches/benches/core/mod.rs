//! A shard without sockets, which several benchmarks begin with.

use ringbolt_protocol::native::control::{Control, Hello, SlowConsumer};
use ringbolt_server::sim::{SimClient, small_limits};
use ringbolt_shard::access::Access;
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, ServerIdentity, Shard};

/// A shard and what its caller keeps from event to event.
pub struct Core {
    pub shard: Shard,
    effects: Effects,
    segments: Vec<Segment>,
}

impl Core {
    /// With limits that no benchmark reaches.
    #[allow(clippy::new_without_default, reason = "a whole shard is no default of anything")]
    pub fn new() -> Core {
        let limits = Limits {
            outbox_bytes_max: 8 << 20,
            outbox_segment_bytes: 64 << 10,
            shared_payload_bytes_min: 8 << 10,
            connections_max: 4096,
            subscriptions_max: 65_536,
            subjects_max: 65_536,
            interned_subjects_max: 4096,
            buffer_pool_max: 4096,
            ..small_limits(1)
        };
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (0, 0),
            unix_epoch_nanos: 0,
            nats: None,
        };
        let shard = Shard::new(0, &limits, &Access::default(), identity, 1, 2);
        Core { shard, effects: Effects::default(), segments: Vec::new() }
    }

    /// Handles what a connection sent, and takes everything that is to be sent for it.
    pub fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.handle(Event::Bytes(id, bytes));
        self.send();
    }

    /// Takes what outboxes have, until none has more.
    fn send(&mut self) {
        let mut ready = std::mem::take(&mut self.effects.send);
        for id in ready.drain(..) {
            self.shard.take_segments(Nanos(1), id, &mut self.segments);
            self.segments.drain(..).for_each(|segment| self.shard.recycle(segment));
            self.shard.handle(Nanos(1), Event::Sent(id), &mut self.effects);
        }
        self.effects.send = ready;
    }

    fn handle(&mut self, event: Event<'_>) {
        self.shard.handle(Nanos(1), event, &mut self.effects);
    }

    /// A native client with number 1 for `orders.eu`, to which it may subscribe.
    pub fn connect(&mut self, slot: u32, subscribes: bool, batches: bool) -> ConnectionId {
        let id = ConnectionId { slot, generation: 1 };
        self.handle(Event::Opened(id, Opening::NATIVE));
        let mut client = SimClient::default();
        let (version_min, version_max, correlation_id) = (1, 1, 0);
        let (name, library, flow) = ("", "", false);
        let hello = Hello { correlation_id, version_min, version_max, name, library, batches, flow };
        client.say(&Control::Hello(hello));
        client.intern(1, "orders.eu");
        if subscribes {
            client.subscribe(1, "orders.eu", None, SlowConsumer::Default);
        }
        self.say(id, &client.take_written());
        id
    }

    /// A NATS client that says `says` first.
    pub fn connect_nats(&mut self, slot: u32, says: &str) -> ConnectionId {
        const HELLO: &str =
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
        let id = ConnectionId { slot, generation: 1 };
        let opening = Opening { dialect: Dialect::Nats, ..Opening::NATIVE };
        self.handle(Event::Opened(id, opening));
        self.send();
        self.say(id, [HELLO, says].concat().as_bytes());
        id
    }
}
