//! States of a shard that clients can bring about.

use Counted::{ForEach, Once};
use ringbolt_server::sim::{SimClient, small_limits};
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::mesh::batch::{Read, Record};
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Dialect, Effects, Event, Nanos, Opening, Receive, ServerIdentity, Shard};

const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
const NEVER: &str = "NATS/1.0\r\nRingbolt-Deadline: 2500-01-01T00:00:00Z\r\n\r\n";

const KINDS: &[(&str, Counter)] = &[
    ("outboxes", Counter::OutboxBytes),
    ("work", Counter::MemoryWork),
    ("begun", Counter::MemoryBegun),
    ("deferred", Counter::MemoryDeferred),
    ("gathered", Counter::MemoryGathered),
    ("interest", Counter::MemoryInterest),
    ("requests", Counter::MemoryRequests),
    ("connections", Counter::MemoryConnections),
    ("subjects", Counter::MemorySubjects),
    ("mesh", Counter::MeshPendingBytes),
];

/// One shard of two; the other one is not there.
pub struct Bed {
    shard: Shard,
    connections: u32,
    now: Nanos,
}

impl Bed {
    pub fn new() -> Bed {
        let limits = Limits {
            connections_max: 100_000,
            nats_connections_max: 100_000,
            subscriptions_max: 1 << 20,
            interned_subjects_max: 1 << 16,
            subjects_max: 1 << 16,
            payload_bytes_max: 1 << 20,
            control_line_bytes_max: 32 << 10,
            outbox_bytes_max: 256 << 20,
            outbox_segment_bytes: 64 << 10,
            shared_payload_bytes_min: 8 << 10,
            mesh_pending_bytes_max: 256 << 20,
            mesh_batch_bytes: 64 << 10,
            work_bytes_max: 256 << 20,
            memory_bytes_max: 4 << 30,
            dead_letters_bytes_max: 256 << 20,
            gathered_bytes_min: 64 << 10,
            buffer_pool_max: 0,
            ..small_limits(2)
        };
        let identity = ServerIdentity {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            reply_key: (1, 2),
            unix_epoch_nanos: 0,
            nats: Some(("127.0.0.1".to_owned(), 4222)),
        };
        let shard = Shard::new(0, &limits, &Access::default(), identity, 1, 2);
        Bed { shard, connections: 0, now: Nanos(1) }
    }

    fn handle(&mut self, event: Event<'_>) {
        let mut effects = Effects::default();
        self.shard.handle(self.now, event, &mut effects);
        while self.shard.is_behind() {
            self.shard.handle(self.now, Event::Continue, &mut effects);
        }
        if effects.receive.iter().any(|(_, receive)| *receive == Receive::Pause) {
            self.confirm_interest();
        }
    }

    /// The other shard takes what there is for it, and says that it knows of the interest.
    fn confirm_interest(&mut self) {
        let mut known = None;
        while let Some(batch) = self.shard.take_batch(1) {
            for record in batch.records() {
                if let Read::Control(Record::Interest { sequence, .. }) = record {
                    known = Some(sequence);
                }
            }
        }
        let Some(sequence) = known else { return };
        let mut answer = MeshBatch::default();
        answer.push(&Record::InterestInForce { sequence });
        self.handle(Event::Mesh(1, &answer));
        self.handle(Event::MeshRoom(1));
    }

    fn open(&mut self, dialect: Dialect) -> ConnectionId {
        let id = ConnectionId { slot: self.connections, generation: self.connections + 1 };
        self.connections += 1;
        self.handle(Event::Opened(id, Opening { dialect, ..Opening::NATIVE }));
        id
    }

    fn say(&mut self, id: ConnectionId, words: &str) {
        for part in words.as_bytes().chunks(32 << 10) {
            self.handle(Event::Bytes(id, part));
        }
    }

    /// Takes what a client is sent.
    fn read(&mut self, id: ConnectionId) {
        let mut segments = Vec::new();
        while self.shard.take_segments(self.now, id, &mut segments) > 0 {
            segments.drain(..).for_each(|segment| self.shard.recycle(segment));
            self.handle(Event::Sent(id));
        }
    }

    fn nats(&mut self) -> ConnectionId {
        let id = self.open(Dialect::Nats);
        self.say(id, CONNECT);
        self.read(id);
        id
    }

    fn native(&mut self, speak: impl FnOnce(&mut SimClient)) -> ConnectionId {
        let id = self.open(Dialect::Native);
        let mut words = SimClient::default();
        words.hello();
        speak(&mut words);
        for part in words.take_written().chunks(32 << 10) {
            self.handle(Event::Bytes(id, part));
        }
        self.read(id);
        id
    }

    fn many(&mut self, id: ConnectionId, count: usize, line: impl Fn(usize) -> String) {
        for number in 0..count {
            self.say(id, &line(number));
        }
    }

    /// With it what grows slowly is counted.
    pub fn tick(&mut self) {
        self.now = Nanos(self.now.0 + 100_000_000);
        self.handle(Event::Tick);
        self.shard.refresh_gauges();
    }

    pub fn counted(&mut self) -> usize {
        self.shard.refresh_gauges();
        KINDS.iter().map(|(_, counter)| self.shard.counters().get(*counter) as usize).sum()
    }

    pub fn kinds(&self) -> String {
        let of = |(name, counter): &(&str, Counter)| match self.shard.counters().get(*counter) {
            0 => None,
            bytes => Some(format!("{name} {bytes}")),
        };
        KINDS.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    }
}

/// How what is kept is counted.
#[derive(Clone, Copy)]
pub enum Counted {
    Once,
    /// For each client that waits for it.
    ForEach,
}

pub type State = (&'static str, Counted, fn(&mut Bed));

pub const ALL: &[State] = &[
    ("short subscriptions of one client", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 20_000, |number| format!("SUB s.{number} {number}\r\n"));
        bed.read(id);
    }),
    ("long subscriptions of one client", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 2000, |number| format!("SUB {number}.{}* {number}\r\n", "abc.".repeat(200)));
    }),
    ("subscriptions of one subject", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 20_000, |number| format!("SUB same.subject {number}\r\n"));
    }),
    ("subscriptions with long ids", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 5000, |number| format!("SUB same.subject {number:0>300}\r\n"));
    }),
    ("one subscription of many clients", Once, |bed| {
        for number in 0..3000 {
            let id = bed.nats();
            bed.say(id, &format!("SUB inbox.{number}.* 1\r\n"));
            bed.read(id);
        }
    }),
    ("groups", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 5000, |number| format!("SUB g g{number} {number}\r\n"));
    }),
    ("groups that acknowledge", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 2000, |number| format!("SUB g g{number};ack {number}\r\n"));
    }),
    ("members of a group that acknowledges", Once, |bed| {
        for _ in 0..1000 {
            let id = bed.nats();
            bed.say(id, "SUB g w;ack 1\r\n");
        }
    }),
    ("subscriptions of a member of a group", Once, |bed| {
        let id = bed.nats();
        bed.many(id, 2000, |number| format!("SUB g w;ack {number}\r\n"));
    }),
    ("members of a group with a key", Once, |bed| {
        for _ in 0..500 {
            let id = bed.nats();
            bed.say(id, "SUB g w;ack;key=K 1\r\n");
        }
    }),
    ("clients of NATS", Once, |bed| {
        for _ in 0..5000 {
            bed.nats();
        }
    }),
    ("native clients", Once, |bed| {
        for _ in 0..5000 {
            bed.native(|_| {});
        }
    }),
    ("numbers of subjects", Once, |bed| {
        bed.native(|words| (1..4000).for_each(|id| words.intern(id, &format!("some.subject.{id}"))));
    }),
    ("small messages in an outbox", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 50_000, |_| "PUB a 5\r\nhello\r\n".to_owned());
    }),
    ("a small message in each of many outboxes", Once, |bed| {
        for _ in 0..3000 {
            let id = bed.nats();
            bed.say(id, "SUB a 1\r\n");
        }
        let publisher = bed.nats();
        bed.say(publisher, "PUB a 5\r\nhello\r\n");
    }),
    ("messages with deadlines in an outbox", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 20_000, |_| format!("HPUB a {0} {0}\r\n{NEVER}\r\n", NEVER.len()));
    }),
    ("lanes in an outbox", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a 1\r\n");
        let publisher = bed.nats();
        let block = "NATS/1.0\r\nRingbolt-Priority: low\r\n\r\n";
        let line = format!("HPUB a {0} {0}\r\n{block}\r\nPUB a 1\r\nx\r\n", block.len());
        bed.many(publisher, 10_000, |_| line.clone());
    }),
    ("large messages in one outbox", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a 1\r\n");
        let publisher = bed.nats();
        let line = format!("PUB a 60000\r\n{}\r\n", "x".repeat(60_000));
        bed.many(publisher, 500, |_| line.clone());
    }),
    ("large messages shared by outboxes", ForEach, |bed| {
        for _ in 0..50 {
            let id = bed.nats();
            bed.say(id, "SUB a 1\r\n");
        }
        let publisher = bed.nats();
        let line = format!("PUB a 60000\r\n{}\r\n", "x".repeat(60_000));
        bed.many(publisher, 200, |_| line.clone());
    }),
    ("kept messages", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a w;ack;inflight=1;wait=1h 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 20_000, |_| "PUB a 10\r\n0123456789\r\n".to_owned());
    }),
    ("kept messages with reply subjects", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a w;ack;inflight=1;wait=1h 1\r\n");
        let publisher = bed.nats();
        let reply = "r".repeat(2000);
        bed.many(publisher, 5000, |_| format!("PUB a {reply} 1\r\nx\r\n"));
    }),
    ("messages in flight", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a w;ack;inflight=20000;wait=1h 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 20_000, |_| "PUB a 10\r\n0123456789\r\n".to_owned());
        bed.read(id);
    }),
    ("dead letters", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a w;ack;wait=1h 1\r\n");
        let publisher = bed.nats();
        let block = "NATS/1.0\r\nRingbolt-Deadline: 2001-01-01T00:00:00Z\r\n\r\n";
        bed.many(publisher, 20_000, |_| format!("HPUB a {0} {0}\r\n{block}\r\n", block.len()));
    }),
    ("ids of messages", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a w;ack;inflight=100 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 30_000, |number| {
            let block = format!(
                "NATS/1.0\r\nNats-Msg-Id: {number:0>40}\r\nRingbolt-Deadline: 2001-01-01T00:00:00Z\r\n\r\n"
            );
            format!("HPUB a {0} {0}\r\n{block}\r\n", block.len())
        });
    }),
    ("requests that are looked after", Once, |bed| {
        let responder = bed.nats();
        bed.say(responder, "SUB ask 1\r\n");
        let id = bed.nats();
        bed.say(id, "SUB inbox.* 1\r\n");
        bed.many(id, 20_000, |number| format!("HPUB ask inbox.{number} {0} {0}\r\n{NEVER}\r\n", NEVER.len()));
        bed.read(responder);
    }),
    ("beginnings of small messages", Once, |bed| {
        for _ in 0..2000 {
            let id = bed.nats();
            bed.say(id, &format!("PUB a 10000\r\n{}", "x".repeat(9000)));
        }
    }),
    ("beginnings of large messages", Once, |bed| {
        for _ in 0..50 {
            let id = bed.nats();
            bed.say(id, &format!("PUB a 500000\r\n{}", "x".repeat(1000)));
        }
    }),
    ("routes of subjects", Once, |bed| {
        let id = bed.nats();
        bed.say(id, "SUB a.* 1\r\n");
        let publisher = bed.nats();
        bed.many(publisher, 20_000, |number| format!("PUB a.{number} 0\r\n\r\n"));
        bed.read(id);
    }),
];
