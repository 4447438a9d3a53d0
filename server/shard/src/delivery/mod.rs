//! From a route to bytes on their way: sessions with their outboxes, links to the other shards, and
//! what happens when one of them is full.

mod beside;
pub mod emergency;
mod nats;
pub mod outbox;
pub mod pool;
mod run;
pub mod slow_consumer;
pub mod timed;

pub use outbox::{Outbox, Segment};
pub use pool::BufferPool;
pub use run::{Form, Run};

use super::event::Effects;
use super::identity::{AccountId, ConnectionId, HashSeed, Nanos, PublisherId, ShardId};
use super::lanes::Lane;
use super::mesh::batch::MeshPayload;
use super::mesh::{Link, Record};
use super::metrics::{Counter, Counters};
use super::router::Target;
use super::router::subjects::SubjectId;
use super::session::{Session, Sessions, Stage};
use super::table::{Key, Table};
use super::work::{Book, own_name};
use crate::access::Permissions;
use crate::limits::{Limits, SlowConsumerPolicy};
use crate::moment;
use emergency::Emergency;
use ringbolt_protocol::command::{Deliver, Flags, SubjectRef};
use ringbolt_protocol::headers;
use ringbolt_protocol::native::control::{Control, Flow, encode_control};
use ringbolt_protocol::native::encode;
use ringbolt_protocol::nats::Span;
use ringbolt_protocol::subject::Subject;
use run::Encoded;
use slow_consumer::Admission;
use std::hash::BuildHasher;
use std::rc::Rc;

/// Most bytes a DELIVER frame has before its subject, reply and payload: header and four varints.
const DELIVER_HEAD_BYTES_MAX: usize = 24 + 4 * 5;
/// Room for a control frame whose size is not known before it is written.
const CONTROL_BYTES_TYPICAL: usize = 256;

/// One subscription of this shard.
#[derive(Debug)]
pub struct Subscription {
    pub slot: u32,
    pub account: AccountId,
    /// A native client's number for it.
    pub client_id: u32,
    /// What a NATS client's deliveries say of it; empty for a native client.
    pub line: Box<[u8]>,
    /// Length of the NATS client's id for it, which stands before the last blank of `line`.
    pub sid_bytes: u32,
    /// A wildcard that may not take everything it matches.
    pub filter: Option<Rc<Permissions>>,
    /// No wildcard: every delivery has the pattern as its subject.
    pub exact: bool,
    /// What its client asked for when its outbox is full.
    pub policy: Option<SlowConsumerPolicy>,
    /// The group of acknowledged messages it is a member of.
    pub work: Option<Key>,
    pub delivered: u64,
    pub deliveries_max: u64,
    pub pattern: Box<str>,
    pub group: Option<Box<str>>,
}

/// A message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub publisher: PublisherId,
    pub account: AccountId,
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subject: &'a str,
    pub subject_id: SubjectId,
    pub reply: Option<&'a [u8]>,
    pub header_bytes: u32,
    /// How often a group that acknowledges has delivered it before it came here.
    pub deliveries: u16,
    pub payload: MeshPayload<'a>,
}

impl Message<'_> {
    #[inline]
    pub fn lane(&self) -> Lane {
        Lane::of(self.flags)
    }

    fn is_from(&self, shard: ShardId, connection: ConnectionId) -> bool {
        self.publisher == PublisherId { shard, connection }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    pub own: ShardId,
    pub limits: Limits,
    pub sessions: Sessions,
    pub subscriptions: Table<Subscription>,
    pub links: Vec<Link>,
    pub pool: BufferPool,
    /// Bytes queued in all outboxes.
    pub outbox_bytes: usize,
    /// What an outbox may hold before it is asked twice: nothing, in an emergency.
    outbox_room: usize,
    pub emergency: Emergency,
    pub counters: Counters,
    /// The time of the event that is handled.
    pub now: Nanos,
    /// Subject numbers held by all connections.
    pub interned_subjects: u64,
    /// Publishers of this shard held back now.
    pub paused_publishers: u64,
    /// Subscriptions that had their last delivery, to be removed after the event.
    pub expired: Vec<Key>,
    /// Connections cut for slowness, to be closed after the event.
    pub cut: Vec<ConnectionId>,
    /// Room for one run: where its messages stand, and their deliveries.
    pub spans: Vec<Span>,
    encoded: Encoded,
    /// Messages that are kept until they are acknowledged.
    pub book: Book,
    /// Unix time of the clock's beginning.
    pub unix_epoch_nanos: u64,
    pub hash_seed: HashSeed,
}

impl Delivery {
    pub fn new(
        own: ShardId,
        limits: Limits,
        unix_epoch_nanos: u64,
        hash_seed: HashSeed,
        random_seed: u64,
    ) -> Delivery {
        Delivery {
            own,
            sessions: Sessions::default(),
            subscriptions: Table::default(),
            links: (0..limits.shards).map(|_| Link::default()).collect(),
            pool: BufferPool::new(limits.buffer_pool_max, limits.outbox_segment_bytes),
            outbox_bytes: 0,
            outbox_room: limits.outbox_bytes_max,
            emergency: Emergency::new(limits.memory_bytes_max),
            counters: Counters::default(),
            now: Nanos(0),
            interned_subjects: 0,
            paused_publishers: 0,
            expired: Vec::new(),
            cut: Vec::new(),
            spans: Vec::new(),
            encoded: Encoded::default(),
            book: Book::new(hash_seed, random_seed),
            unix_epoch_nanos,
            hash_seed,
            limits,
        }
    }

    /// Whether a reply subject is beyond what native clients are promised, if there are some here.
    #[inline]
    pub fn is_foreign(&self, reply: Option<&[u8]>) -> bool {
        reply.is_some_and(|reply| self.sessions.has_natives() && Subject::new(reply).is_err())
    }

    /// Likewise, of what a client of this shard publishes.
    pub fn is_foreign_of(&self, publisher: ConnectionId, reply: Option<&[u8]>) -> bool {
        let speaks_nats = |session: &Session| session.nats.is_some();
        self.is_foreign(reply.filter(|_| self.sessions.get(publisher).is_some_and(speaks_nats)))
    }

    /// Whether a native client gets the deliveries of a subscription.
    pub fn is_native(&self, target: Target) -> bool {
        self.subscriptions.at(target.subscription).line.is_empty()
    }

    /// Puts one message into one outbox. Returns whether it was taken.
    #[inline]
    pub fn deliver(&mut self, target: Target, message: &Message<'_>, effects: &mut Effects) -> bool {
        self.deliver_within(self.outbox_room, target, message, effects)
    }

    /// Likewise; an outbox that would hold more than `room` is looked at twice.
    #[inline]
    pub fn deliver_within(
        &mut self,
        room: usize,
        target: Target,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> bool {
        let subscription = self.subscriptions.at_mut(target.subscription);
        let Some(session) = self.sessions.at(target.slot) else { return false };
        if session.stage == Stage::Closing || subscription.delivered >= subscription.deliveries_max {
            return false;
        }
        if session.watched && !session.echo && message.is_from(self.own, session.id) {
            return false;
        }
        if let Some(filter) = &subscription.filter
            && !filter.may_receive(message.subject, subscription.group.as_deref().map(own_name))
        {
            return false;
        }
        let payload_bytes = message.payload.bytes().len();
        if session.outbox.queued_bytes() + payload_bytes > room {
            let (slot, policy) = (target.slot, subscription.policy);
            if !self.admit_over_limit(slot, policy, message, effects) {
                return false;
            }
        }
        let deadline = if message.header_bytes > 0 { self.heed_deadline(target.slot, message) } else { None };
        let subscription = self.subscriptions.at_mut(target.subscription);
        let Some(session) = self.sessions.at(target.slot) else { return false };
        let (limits, pool) = (&self.limits, &mut self.pool);
        let written = if subscription.line.is_empty() {
            write_native(session, subscription, message, limits.outbox_segment_bytes, pool)
        } else {
            nats::write(session, subscription, message, limits.outbox_segment_bytes, pool)
        };
        self.outbox_bytes += written;
        let tell = match deadline {
            None => session.outbox.wrote_in(message.lane(), written),
            Some(deadline) => {
                let stream = (message.publisher, self.hash_seed.digest().hash_one(message.subject));
                session.outbox.wrote_timed(message.lane(), written, deadline, stream, pool)
            }
        };
        if tell {
            effects.send.push(session.id);
        }
        if session.watched
            && session.keeps_replies
            && let Some(reply) = message.reply
        {
            session.keep_reply(self.now, reply);
        }
        session.traffic.messages_out += 1;
        session.traffic.bytes_out += payload_bytes as u64;
        subscription.delivered += 1;
        if subscription.delivered == subscription.deliveries_max {
            self.expired.push(self.subscriptions.key_at(target.subscription));
        }
        self.counters.add(Counter::MessagesOut, 1);
        true
    }

    /// The deadline that a message leaves an outbox by, if there is something it may overtake.
    #[cold]
    fn heed_deadline(&mut self, slot: u32, message: &Message<'_>) -> Option<Nanos> {
        let block = &message.payload.bytes()[..message.header_bytes as usize];
        let deadline = deadline(block, self.unix_epoch_nanos)?;
        let session = self.sessions.at(slot)?;
        session.outbox.begin_timed().then_some(deadline)
    }

    /// Whether a message's deadline is past: nobody wants it any more, and it is counted.
    #[cold]
    pub fn drops_expired(&mut self, message: &Message<'_>) -> bool {
        let block = &message.payload.bytes()[..message.header_bytes as usize];
        let past = deadline(block, self.unix_epoch_nanos).is_some_and(|deadline| deadline <= self.now);
        self.counters.add(Counter::DropsExpired, u64::from(past));
        past
    }

    /// Hands one message to a link. Returns whether it was taken.
    pub fn forward(&mut self, shard: ShardId, record: &Record<'_>, effects: &mut Effects) -> bool {
        let Record::Publish(publish) = record else { unreachable!("only messages are forwarded") };
        let publisher = PublisherId { shard: publish.publisher_shard, connection: publish.publisher };
        let link = &mut self.links[usize::from(shard)];
        let pending_bytes = link.pending_bytes();
        if pending_bytes > self.limits.mesh_pending_bytes_max {
            // Holding the publisher back takes effect a turn later: what it already sent still fits
            // under the hard limit, unless it is not this shard's to hold back.
            if pending_bytes > 2 * self.limits.mesh_pending_bytes_max {
                let shed = link.shed_below(record.lane());
                self.counters.add(Counter::DropsMeshFull, shed.max(1));
                if shed == 0 {
                    return false;
                }
            }
            if publisher.shard == self.own && !link.paused.contains(&publisher.connection) {
                link.paused.push(publisher.connection);
                self.hold_back(publisher.connection, effects);
            }
        }
        self.counters.add(Counter::MeshMessagesOut, 1);
        self.push(shard, record, effects);
        true
    }

    /// Appends a record to a link whatever its length: control records are few and small.
    pub fn push(&mut self, shard: ShardId, record: &Record<'_>, effects: &mut Effects) {
        if self.links[usize::from(shard)].push(record, self.limits.mesh_batch_bytes) {
            effects.mesh.push(shard);
        }
    }

    pub fn broadcast(&mut self, record: &Record<'_>, effects: &mut Effects) {
        for shard in 0..self.limits.shards as ShardId {
            if shard != self.own {
                self.push(shard, record, effects);
            }
        }
    }

    pub fn send_control(&mut self, id: ConnectionId, frame: &Control<'_>, effects: &mut Effects) {
        self.send_answer(id, |out| encode_control(frame, out), effects);
    }

    /// Puts an answer into an outbox.
    pub fn send_answer(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>), effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.stage == Stage::Closing {
            return;
        }
        // Answers nobody reads are bounded like deliveries nobody reads.
        if session.outbox.queued_bytes() > self.limits.outbox_bytes_max + CONTROL_SLACK_BYTES {
            return self.cut(id);
        }
        let segment_bytes = self.limits.outbox_segment_bytes;
        let tail = session.outbox.answer_tail(CONTROL_BYTES_TYPICAL, segment_bytes, &mut self.pool);
        let before = tail.len();
        write(tail);
        let written = tail.len() - before;
        self.outbox_bytes += written;
        if session.outbox.answered(written) {
            effects.send.push(id);
        }
    }

    /// Stops receiving from a publisher of this shard, for one more reason.
    pub fn hold_back(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.pauses += 1;
        if session.pauses == 1 {
            self.counters.add(Counter::PublisherPauses, 1);
            self.paused_publishers += 1;
            effects.pause.push(id);
            self.tell_of_flow(id, true, effects);
        }
    }

    /// One reason less.
    pub fn let_go(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.pauses == 0 {
            return;
        }
        session.pauses -= 1;
        if session.pauses == 0 {
            self.paused_publishers -= 1;
            if session.stage != Stage::Closing {
                effects.resume.push(id);
                self.tell_of_flow(id, false, effects);
            }
        }
    }

    /// Says to a publisher that asked for it that it is not read from any more, or is again.
    fn tell_of_flow(&mut self, id: ConnectionId, paused: bool, effects: &mut Effects) {
        if self.sessions.get(id).is_some_and(|session| session.flow) {
            self.send_control(id, &Control::Flow(Flow { correlation_id: 0, paused }), effects);
        }
    }

    pub fn resume_publishers(&mut self, publishers: &[PublisherId], effects: &mut Effects) {
        for publisher in publishers {
            if publisher.shard == self.own {
                self.let_go(publisher.connection, effects);
            } else {
                let record = Record::Resume { publisher: publisher.connection };
                self.push(publisher.shard, &record, effects);
            }
        }
    }

    /// Takes a connection out at once; its interest is forgotten after the event.
    pub fn cut(&mut self, id: ConnectionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.stage == Stage::Closing {
            return;
        }
        session.stage = Stage::Closing;
        self.outbox_bytes -= session.outbox.queued_bytes();
        let dropped = session.outbox.discard(&mut self.pool);
        self.counters.add(Counter::DropsConnectionEnded, dropped);
        self.counters.add(Counter::ConnectionsClosedSlowConsumer, 1);
        self.cut.push(id);
    }

    /// The outbox of `slot` is full. Returns whether the message goes in all the same.
    #[cold]
    fn admit_over_limit(
        &mut self,
        slot: u32,
        policy: Option<SlowConsumerPolicy>,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> bool {
        if self.emergency.sheds(message.lane()) {
            self.counters.add(Counter::DropsEmergency, 1);
            return false;
        }
        let Some(session) = self.sessions.at(slot) else { return false };
        let id = session.id;
        let before = session.outbox.queued_bytes();
        let queued = before + message.payload.bytes().len();
        if queued <= self.limits.outbox_bytes_max {
            return true;
        }
        let policy = policy.unwrap_or_else(|| self.limits.slow_consumer_for(message.subject));
        let taken = match slow_consumer::decide(policy, queued, &self.limits) {
            Admission::Cut => {
                self.cut(id);
                return false;
            }
            Admission::DropNewest => {
                make_room(session, false, &mut self.pool, &mut self.counters, &self.limits, message)
            }
            Admission::DropHardLimit => {
                self.counters.add(Counter::DropsOutboxHardLimit, 1);
                false
            }
            Admission::DropOldest => {
                make_room(session, true, &mut self.pool, &mut self.counters, &self.limits, message)
            }
            Admission::PausePublisher => {
                self.pause_for(slot, message.publisher, effects);
                return true;
            }
        };
        // Making room may have dropped something even if it was not enough.
        let left = self.sessions.at(slot).map_or(0, |session| session.outbox.queued_bytes());
        self.outbox_bytes -= before - left;
        taken
    }

    /// Bytes that wait to be sent or acknowledged.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.outbox_bytes + self.book.bytes()
    }

    /// Sheds more lanes, or fewer, as the memory that is taken asks for.
    #[cold]
    pub fn turn_emergency(&mut self) {
        let bytes = self.memory_bytes();
        self.emergency.turn(bytes);
        self.heed_limits();
    }

    /// To be called when limits changed.
    pub fn heed_limits(&mut self) {
        self.emergency.limit(self.limits.memory_bytes_max);
        self.outbox_room = if self.emergency.level() > 0 { 0 } else { self.limits.outbox_bytes_max };
    }

    fn pause_for(&mut self, slot: u32, publisher: PublisherId, effects: &mut Effects) {
        let Some(session) = self.sessions.at(slot) else { return };
        if session.outbox.paused.contains(&publisher) {
            return;
        }
        session.outbox.paused.push(publisher);
        if publisher.shard == self.own {
            self.hold_back(publisher.connection, effects);
        } else {
            let record = Record::Pause { publisher: publisher.connection };
            self.push(publisher.shard, &record, effects);
        }
    }
}

/// The moment a message's headers name as its deadline.
pub fn deadline(block: &[u8], unix_epoch_nanos: u64) -> Option<Nanos> {
    let unix_nanos = headers::find(block, headers::DEADLINE).and_then(moment::parse)?;
    Some(Nanos(unix_nanos.saturating_sub(unix_epoch_nanos)))
}

/// Appends a DELIVER frame to an outbox. Returns its length.
#[inline]
fn write_native(
    session: &mut Session,
    subscription: &Subscription,
    message: &Message<'_>,
    segment_bytes: usize,
    pool: &mut BufferPool,
) -> usize {
    let subject = match (&session.interned, subscription.exact) {
        (_, true) => SubjectRef::Interned(0),
        // What overtakes a number's definition may not use it.
        (Some(_), false) if message.lane() != Lane::Normal || session.outbox.has_lanes() => {
            SubjectRef::Literal(message.subject.as_bytes())
        }
        (Some(interned), false) => match interned.number(message.subject_id) {
            Some(number) => SubjectRef::Interned(number),
            None => SubjectRef::Literal(message.subject.as_bytes()),
        },
        (None, false) => SubjectRef::Literal(message.subject.as_bytes()),
    };
    let mut deliver = Deliver {
        flags: message.flags,
        timestamp_nanos: message.timestamp_nanos,
        correlation_id: message.correlation_id,
        subscription_id: subscription.client_id,
        subject,
        reply: message.reply,
        header_bytes: message.header_bytes,
        payload: &[],
    };
    let texts = message.subject.len() + message.reply.map_or(0, <[u8]>::len);
    let head_bytes_max = DELIVER_HEAD_BYTES_MAX + texts;
    match message.payload {
        MeshPayload::Copied(payload) => {
            let frame_bytes = head_bytes_max + payload.len();
            let tail = session.outbox.tail_in(message.lane(), frame_bytes, segment_bytes, pool);
            let before = tail.len();
            deliver.payload = payload;
            encode::deliver(tail, &deliver);
            tail.len() - before
        }
        MeshPayload::Shared(payload) => {
            let tail = session.outbox.tail_in(message.lane(), head_bytes_max, segment_bytes, pool);
            let before = tail.len();
            encode::deliver_head(tail, &deliver, payload.len());
            let head_bytes = tail.len() - before;
            session.outbox.share(message.lane(), payload.clone());
            head_bytes + payload.len()
        }
    }
}

/// What control frames may add to a full outbox.
const CONTROL_SLACK_BYTES: usize = 1 << 20;

/// Drops what waits in less important lanes than the message's, and the oldest of its own lane if `own`.
/// Returns whether the message fits then.
fn make_room(
    session: &mut Session,
    own: bool,
    pool: &mut BufferPool,
    counters: &mut Counters,
    limits: &Limits,
    message: &Message<'_>,
) -> bool {
    let payload_bytes = message.payload.bytes().len();
    while session.outbox.queued_bytes() + payload_bytes > limits.outbox_bytes_max {
        let dropped = session.outbox.drop_oldest(message.lane(), own, pool);
        counters.add(Counter::DropsSlowConsumerOldest, dropped);
        if dropped == 0 {
            counters.add(Counter::DropsSlowConsumerNewest, 1);
            return false;
        }
    }
    true
}
