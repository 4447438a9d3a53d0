//! The pure half: everything a shard decides, without a socket, thread or clock.
//!
//! `Shard::handle(now, event, effects)` is the only way in; `take_segments` and `take_batch` are how
//! the edge collects what the effects announced. The same code runs in production, in the simulator
//! and in benchmarks.

pub mod access;
pub mod delivery;
pub mod event;
pub mod identity;
pub mod lanes;
pub mod limits;
pub mod mesh;
pub mod metrics;
pub mod moment;
pub mod nats;
pub mod random;
pub mod report;
pub mod router;
pub mod session;
pub mod space;
pub mod table;
pub mod work;

mod check;
mod commands;
mod drain;
mod housekeeping;
mod inbound_mesh;
mod links;
mod publish;
mod receive;
mod requests;
mod reserved;
mod runs;
mod subscriptions;

pub use event::{Close, Departure, Dialect, Effects, Event, Opening};
pub use identity::{AccountId, ConnectionId, HashSeed, Nanos, PublisherId, ShardId};

use crate::access::{Access, Permissions};
use crate::limits::{Limits, SlowConsumerPolicy};
use delivery::{Delivery, Segment};
use drain::Drain;
use links::Links;
use mesh::{Interest, MeshBatch};
use metrics::{Counter, Counters};
use nats::NatsSession;
use random::Random;
use requests::Requests;
use ringbolt_protocol::native::control::{Close as CloseFrame, CloseCode, Control};
use ringbolt_protocol::native::decode::DecodeLimits;
use ringbolt_protocol::nats::ParseLimits;
use session::{Session, Stage};
use space::Space;
use std::rc::Rc;

/// How often the edge should send [`Event::Tick`].
pub const TICK_NANOS: u64 = 100_000_000;

/// What a shard tells its clients about the server.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    pub server_id: String,
    pub server_name: String,
    pub version: String,
    /// A secret of this process, by which answers of other accounts' services are known.
    pub reply_key: (u64, u64),
    /// Unix time of the beginning of the shards' clock.
    pub unix_epoch_nanos: u64,
    /// Host and port NATS clients are told.
    pub nats: Option<(String, u16)>,
}

impl ServerIdentity {
    /// A moment as text (RFC 3339).
    fn time_text(&self, at: Nanos) -> String {
        moment::text(self.unix_epoch_nanos.saturating_add(at.0))
    }
}

/// One shard: its connections, their subscriptions, and its share of the mesh.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    identity: ServerIdentity,
    access: Access,
    links: Links,
    requests: Requests,
    /// By place among the users.
    permissions: Vec<Option<Rc<Permissions>>>,
    decode_limits: DecodeLimits,
    /// By number of account; empty where an account went.
    spaces: Vec<Space>,
    /// Connections opened so far.
    opened: u64,
    interest: Interest,
    delivery: Delivery,
    random: Random,
    hash_seed: HashSeed,
    drain: Drain,
    scanned_at: Nanos,
}

impl Shard {
    /// `hash_seed` is the same for all shards of a process, `random_seed` differs.
    pub fn new(
        id: ShardId,
        limits: &Limits,
        access: &Access,
        identity: ServerIdentity,
        hash_seed: u64,
        random_seed: u64,
    ) -> Shard {
        assert!(usize::from(id) < limits.shards, "shard {id} of {}", limits.shards);
        let (hash_seed, mut random) = (HashSeed::new(hash_seed), Random::new(random_seed));
        Shard {
            id,
            permissions: access.shared_permissions(),
            requests: Requests::new(hash_seed),
            links: Links::new(&access.links, identity.reply_key),
            access: access.clone(),
            delivery: Delivery::new(
                id,
                limits.clone(),
                identity.unix_epoch_nanos,
                hash_seed,
                random.number(),
            ),
            identity,
            decode_limits: decode_limits(limits, limits.payload_bytes_max),
            spaces: (0..access.account_numbers())
                .map(|_| Space::new(hash_seed, limits.subjects_max))
                .collect(),
            opened: 0,
            interest: Interest::new(limits.shards, id),
            random,
            hash_seed,
            drain: Drain::new(limits.shards, id),
            scanned_at: Nanos(0),
        }
    }

    /// The only way in. `effects` must be empty, and must be applied in full before the next call.
    pub fn handle(&mut self, now: Nanos, event: Event<'_>, effects: &mut Effects) {
        assert!(effects.is_empty(), "the effects of the event before were not applied");
        self.delivery.now = now;
        match event {
            Event::Bytes(id, bytes) => {
                self.receive(now, id, bytes, effects);
                self.look_at_memory(effects);
            }
            Event::Verified(id, proven) => self.verified(id, proven, effects),
            Event::Sent(id) => self.sent(id, effects),
            Event::Mesh(from, batch) => {
                self.receive_batch(now, from, batch, effects);
                self.look_at_memory(effects);
            }
            Event::MeshRoom(shard) => self.mesh_room(shard, effects),
            Event::Opened(id, opening) => self.open(now, id, &opening, effects),
            Event::Closed(id, departure) => self.closed(id, departure, effects),
            Event::Tick => {
                self.tick(now, effects);
                self.look_at_memory(effects);
            }
            Event::Settings(access, limits) => {
                self.change_limits(limits, effects);
                self.change_access(access, effects);
            }
            Event::ReplayLetters(one, count) => *count = self.replay_letters(one, effects),
            Event::PurgeLetters(one, count) => *count = self.purge_letters(one),
            Event::LameDuck => self.begin_leaving(now, effects),
            Event::Drain => self.begin_drain(effects),
        }
        self.settle(effects);
    }

    /// The next send of a connection, as segments appended to `into`. Returns its bytes; zero if
    /// there is nothing to send or a send is in flight.
    pub fn take_segments(&mut self, now: Nanos, id: ConnectionId, into: &mut Vec<Segment>) -> usize {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return 0 };
        let bytes = session.outbox.take(now, &self.delivery.limits.lane_shares, into);
        self.delivery.outbox_bytes -= bytes;
        bytes
    }

    /// The next batch for another shard.
    pub fn take_batch(&mut self, shard: ShardId) -> Option<MeshBatch> {
        let batch = self.delivery.links[usize::from(shard)].take(self.delivery.limits.lane_shares)?;
        self.delivery.counters.add(Counter::MeshBatchesOut, 1);
        Some(batch)
    }

    /// Gives the memory of sent segments back.
    pub fn recycle(&mut self, segment: Segment) {
        segment.give_back(&mut self.delivery.pool);
    }

    /// Whether everything queued for a connection has left.
    pub fn is_flushed(&self, id: ConnectionId) -> bool {
        self.delivery.sessions.get(id).is_none_or(|session| session.outbox.is_empty())
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The counters, for the edge to add its own to and to publish.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.delivery.counters
    }

    pub fn counters(&self) -> &Counters {
        &self.delivery.counters
    }

    /// Bytes queued in outboxes, links and batches, for the simulator's oracle.
    pub fn queued_bytes(&self, id: ConnectionId) -> usize {
        self.delivery.sessions.get(id).map_or(0, |session| session.outbox.queued_bytes())
    }

    /// Recounts every running sum of this shard, and panics where one is off.
    pub fn check(&self) {
        self.delivery.check();
    }

    fn open(&mut self, now: Nanos, id: ConnectionId, opening: &Opening, effects: &mut Effects) {
        let limits = &self.delivery.limits;
        let full = opening.refused || self.delivery.sessions.len() >= limits.connections_max;
        let lenient = is_lenient(limits.slow_consumer);
        let session = match opening.dialect {
            Dialect::Native => Session::new(id, now, lenient),
            Dialect::Nats => {
                let limits = ParseLimits {
                    line_bytes_max: limits.control_line_bytes_max,
                    payload_bytes_max: limits.payload_bytes_max,
                    headers: false,
                };
                let number = self.opened * self.delivery.limits.shards as u64 + u64::from(self.id) + 1;
                let nats = NatsSession::new(number, opening, limits, self.hash_seed);
                Session { stage: self.first_stage(), ..Session::new_nats(id, now, lenient, nats) }
            }
        };
        self.opened += 1;
        self.delivery.sessions.insert(session);
        self.delivery.counters.add(Counter::ConnectionsOpened, 1);
        self.nats_info(id, false, effects);
        if full {
            self.delivery.counters.add(Counter::ConnectionsRefused, 1);
            let reason = "this shard has reached connections_max";
            self.close(id, CloseCode::Limit, reason, Counter::ConnectionsClosedLimit, effects);
        } else if self.drain.draining() {
            self.delivery.counters.add(Counter::ConnectionsRefused, 1);
            let reason = "the server is shutting down";
            self.close(id, CloseCode::ShuttingDown, reason, Counter::ConnectionsClosedShutdown, effects);
        }
    }

    /// Limits that may change while clients are connected.
    fn change_limits(&mut self, limits: &Limits, effects: &mut Effects) {
        let told = self.delivery.limits.payload_bytes_max;
        self.delivery.limits.take_over(limits);
        self.delivery.heed_limits();
        let (payload, line) = (limits.payload_bytes_max, limits.control_line_bytes_max);
        // Frames are as large as anyone was promised.
        let mut promised = payload;
        for session in self.delivery.sessions.iter_mut() {
            let promise = &mut session.promise;
            promise.payload_bytes_max = promise.payload_bytes_max.max(payload as u32);
            promise.subscriptions_max = promise.subscriptions_max.max(limits.subscriptions_max as u32);
            match &mut session.nats {
                Some(nats) => {
                    if !session.partial.is_empty() {
                        nats.begun_under.get_or_insert(nats.limits);
                    }
                    (nats.limits.payload_bytes_max, nats.limits.line_bytes_max) = (payload, line);
                }
                None => promised = promised.max(session.promise.payload_bytes_max as usize),
            }
        }
        self.decode_limits = decode_limits(&self.delivery.limits, promised);
        if payload != told {
            self.nats_info_to_all(false, effects);
        }
    }

    #[inline]
    fn look_at_memory(&mut self, effects: &mut Effects) {
        if self.delivery.emergency.turns_at(self.delivery.memory_bytes()) {
            self.turn_emergency(effects);
        }
    }

    fn sent(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        if session.outbox.has_lanes() {
            let before = session.outbox.queued_bytes();
            let expired = session.outbox.drop_expired(self.delivery.now, &mut self.delivery.pool);
            self.delivery.counters.add(Counter::DropsExpired, expired);
            self.delivery.outbox_bytes -= before - session.outbox.queued_bytes();
        }
        if session.outbox.sent(&mut self.delivery.pool) {
            effects.send.push(id);
        }
        let half = self.delivery.limits.outbox_bytes_max / 2;
        if !session.outbox.paused.is_empty() && session.outbox.queued_bytes() <= half {
            let publishers = std::mem::take(&mut session.outbox.paused);
            self.delivery.resume_publishers(&publishers, effects);
        }
    }

    fn closed(&mut self, id: ConnectionId, departure: Departure, effects: &mut Effects) {
        let Some(stage) = self.delivery.sessions.get(id).map(|session| session.stage) else { return };
        if stage != Stage::Closing {
            let reason = match departure {
                Departure::Ordinary => Counter::ConnectionsClosedClient,
                Departure::Failed => Counter::ConnectionsClosedError,
            };
            self.delivery.counters.add(reason, 1);
            self.forget_interest(id, effects);
        }
        let mut session = self.delivery.sessions.remove(id).expect("looked up above");
        self.delivery.outbox_bytes -= session.outbox.queued_bytes();
        let dropped = session.outbox.discard(&mut self.delivery.pool);
        self.delivery.counters.add(Counter::DropsConnectionEnded, dropped);
        if session.pauses > 0 {
            self.delivery.paused_publishers -= 1;
        }
        let publishers = std::mem::take(&mut session.outbox.paused);
        self.delivery.resume_publishers(&publishers, effects);
        self.check_drained(effects);
    }

    /// Ends a connection in order, with its dialect's word for why.
    fn close(
        &mut self,
        id: ConnectionId,
        code: CloseCode,
        message: &str,
        reason: Counter,
        effects: &mut Effects,
    ) {
        if self.delivery.sessions.get(id).is_some_and(|session| session.nats.is_some()) {
            return self.close_nats(id, nats_error_of(code), reason, effects);
        }
        self.end(id, reason, effects, |delivery, effects| {
            let frame = Control::Close(CloseFrame { correlation_id: 0, code, message });
            delivery.send_control(id, &frame, effects);
        });
    }

    /// Ends a connection in order: what is queued, its last words, then the end.
    fn end(
        &mut self,
        id: ConnectionId,
        reason: Counter,
        effects: &mut Effects,
        last_words: impl FnOnce(&mut Delivery, &mut Effects),
    ) {
        let Some(session) = self.delivery.sessions.get(id) else { return };
        if session.stage == Stage::Closing {
            return;
        }
        self.forget_interest(id, effects);
        last_words(&mut self.delivery, effects);
        self.delivery.counters.add(reason, 1);
        let session = self.delivery.sessions.get_mut(id).expect("looked up above");
        session.stage = Stage::Closing;
        effects.close.push((id, Close::Flush));
    }

    /// Ends subscriptions that had their last delivery: their ids are free for the client's next words.
    fn remove_expired(&mut self, effects: &mut Effects) {
        while let Some(key) = self.delivery.expired.pop() {
            let subscription = self.delivery.subscriptions.get(key);
            if subscription.is_some_and(|had| had.delivered >= had.deliveries_max) {
                self.remove_subscription(key, false, effects);
            }
        }
    }

    /// What delivering decided but could not do while it held the route: cut slow consumers, end
    /// subscriptions that had their last delivery.
    fn settle(&mut self, effects: &mut Effects) {
        self.settle_requests(effects);
        loop {
            self.settle_work(effects);
            self.remove_expired(effects);
            while let Some(id) = self.delivery.cut.pop() {
                self.forget_interest(id, effects);
                effects.close.push((id, Close::Now));
            }
            // What a connection that was cut had goes to others.
            if !self.delivery.book.has_work() {
                return;
            }
        }
    }
}

/// What nats-server says for it; nothing where it just closes.
fn nats_error_of(code: CloseCode) -> Option<&'static str> {
    match code {
        CloseCode::Limit => Some("maximum connections exceeded"),
        CloseCode::HelloTimeout => Some("Authentication Timeout"),
        CloseCode::Stale => Some("Stale Connection"),
        _ => None,
    }
}

fn decode_limits(limits: &Limits, payload_bytes_max: usize) -> DecodeLimits {
    // A NATS client's subject may be as long as its line.
    let subject_bytes_max = limits.control_line_bytes_max.max(ringbolt_protocol::limits::SUBJECT_BYTES_MAX);
    let overhead = 2 * (subject_bytes_max + 8);
    DecodeLimits { body_bytes_max: (payload_bytes_max + overhead) as u32 }
}

fn is_lenient(policy: SlowConsumerPolicy) -> bool {
    matches!(policy, SlowConsumerPolicy::DropOldest | SlowConsumerPolicy::DropNewest)
}
