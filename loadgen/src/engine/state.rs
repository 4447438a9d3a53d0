//! Everything a driver knows apart from its ring: connections, streams, what was measured.

use super::connection::{Connection, Stage};
use super::names::Names;
use super::recorder::{Recorder, Window};
use super::roles::{Next, Role};
use super::shared::Shared;
use crate::dialect::{Dialect, Incoming, Message, Outgoing};
use crate::payload::{Pattern, Stamp};
use crate::sequence::Spread;
use crate::workload::{self, Kind, Workload};
use ringbolt_protocol::command::{Flags, Priority, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The next of a series of random numbers: its upper half, which is the random one.
#[inline]
pub(super) fn next_random(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *random >> 32
}

/// The least a parse of an unfinished beginning is given more to go on.
const PARTIAL_STEP_BYTES: usize = 512;

pub struct State {
    pub workload: Arc<Workload>,
    pub names: Arc<Names>,
    pub shared: Arc<Shared>,
    pattern: Arc<Pattern>,
    pub(super) dialect: Dialect,
    receivers: Vec<u32>,
    ranks: usize,
    pub connections: Vec<Connection>,
    pub recorder: Recorder,
    /// Queue groups: by subject, then rank.
    pub spreads: Vec<Spread>,
    /// Connections with bytes to send.
    pub dirty: Vec<u32>,
    /// Members that work on something.
    pub working: Vec<u32>,
    /// Connections that stop reading now.
    pub stalling: Vec<u32>,
    /// Churners that are done with their message.
    pub finished: Vec<u32>,
    /// Bytes gathered and not handed to the kernel.
    pub backlog_bytes: usize,
    pub ready: usize,
    pub failure: Option<String>,
    pub(super) random: u64,
    /// Deliveries of one publisher not told to it yet.
    told: (u16, u64),
    pub(super) unix_epoch_nanos: u64,
}

impl State {
    pub fn new(
        workload: Arc<Workload>,
        names: Arc<Names>,
        pattern: Arc<Pattern>,
        shared: Arc<Shared>,
        roles: Vec<workload::Role>,
        window: Window,
    ) -> State {
        let ranks = workload.ranks() as usize;
        // Subscribers deal subjects out in turn: neighbours in a subscriber's list lie this far apart.
        let stride = workload.subscribers.min(workload.subjects) as usize;
        let role = |role| Connection::new(Role::new(role, ranks, stride));
        let connections = roles.into_iter().map(role).collect();
        let spread = workload.kind == Kind::Queue;
        State {
            dialect: workload.dialect,
            receivers: workload.receivers(),
            ranks,
            connections,
            recorder: Recorder::new(window),
            spreads: vec![Spread::default(); if spread { workload.subjects as usize * ranks } else { 0 }],
            dirty: Vec::new(),
            working: Vec::new(),
            stalling: Vec::new(),
            finished: Vec::new(),
            backlog_bytes: 0,
            ready: 0,
            failure: None,
            random: 0x1234_5678_9abc_def1,
            told: (0, 0),
            unix_epoch_nanos: 0,
            workload,
            names,
            pattern,
            shared,
        }
    }

    pub fn set_epoch(&mut self, unix_nanos: u64) {
        self.unix_epoch_nanos = unix_nanos;
    }

    /// The first bytes of a connection: greeting, subjects, subscriptions, barrier.
    pub fn greet(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.stage = Stage::Preparing;
        let out = &mut connection.outbound;
        if self.dialect == Dialect::Raw {
            connection.role.hello().put(out);
        }
        self.dialect.greet(out);
        connection.role.greet(self.dialect, &self.names, out);
        if !connection.role.is_churner() {
            self.dialect.barrier(out);
        }
        self.backlog_bytes += connection.outbound.len();
        self.mark(index);
    }

    /// Gathers the next message of a sender. `now` is when it is handed over.
    #[inline]
    pub fn publish(&mut self, index: u32, intended: u64, now: u64) {
        let connection = &mut self.connections[index as usize];
        let Next { publisher, subject, introduced, sequence, asks } = match &mut connection.role {
            Role::Publisher(publisher) => publisher.next(),
            Role::Requester(requester) => requester.next(),
            Role::Churner(churner) => churner.next(),
            Role::Subscriber(_) | Role::Responder(_) => unreachable!("receivers send nothing"),
        };
        let reply = asks.then(|| self.names.inboxes[usize::from(publisher)].as_str());
        let payload_bytes = self.workload.payload.choose(next_random(&mut self.random));
        let out = &mut connection.outbound;
        let before = out.len();
        let outgoing = Outgoing {
            number: introduced,
            subject: &self.names.subjects[subject as usize],
            reply,
            correlation_id: if asks { u64::from(sequence) + 1 } else { 0 },
            timestamp_nanos: self.unix_epoch_nanos + now,
            payload_bytes,
            priority: self.workload.lane(subject),
            key: self.workload.members.key_of(sequence),
        };
        self.dialect.publish_head(&outgoing, out);
        let stamp = Stamp { intended, lateness: now.saturating_sub(intended), sequence, publisher };
        stamp.write(subject, payload_bytes, &self.pattern, out);
        self.dialect.finish(out);
        self.backlog_bytes += out.len() - before;
        let deliveries = u64::from(self.receivers.get(subject as usize).copied().unwrap_or(1));
        connection.role.expect(deliveries);
        self.recorder.sent(now, deliveries);
        if !self.workload.lanes.is_empty() {
            self.recorder.lanes[self.workload.lane(subject) as usize].expected += deliveries;
        }
        self.mark(index);
    }

    /// Gathers the next messages of a sender, at most `most`: one, or what goes into a batch. Returns how
    /// many.
    #[inline]
    pub fn publish_some(&mut self, index: u32, most: u64, now: u64) -> u64 {
        if self.workload.batch == 1 {
            self.publish(index, now, now);
            return 1;
        }
        let count = most.min(u64::from(self.workload.batch));
        self.publish_batch(index, count, now);
        count
    }

    fn publish_batch(&mut self, index: u32, count: u64, now: u64) {
        let connection = &mut self.connections[index as usize];
        let Role::Publisher(sender) = &mut connection.role else { return };
        let place = sender.advance();
        let (publisher, subject) = (sender.number, sender.subject_at(place));
        let out = &mut connection.outbound;
        let before = out.len();
        let name = SubjectRef::Interned(place as u32 + 1);
        let batch = BatchWriter::publish(out, Flags::default(), self.unix_epoch_nanos + now, 0, name);
        for _ in 0..count {
            let sequence = sender.sequence(place);
            let payload_bytes = self.workload.payload.choose(next_random(&mut self.random));
            batch.message_head(payload_bytes, out);
            let stamp = Stamp { intended: now, lateness: 0, sequence, publisher };
            stamp.write(subject, payload_bytes, &self.pattern, out);
        }
        batch.finish(out);
        self.backlog_bytes += out.len() - before;
        let deliveries = u64::from(self.receivers[subject as usize]);
        sender.expected += deliveries * count;
        for _ in 0..count {
            self.recorder.sent(now, deliveries);
        }
        self.mark(index);
    }

    /// Deliveries still awaited of a sender's messages.
    #[inline]
    pub fn outstanding(&self, index: u32) -> u64 {
        let (number, expected) = match &self.connections[index as usize].role {
            Role::Publisher(publisher) => (publisher.number, publisher.expected),
            Role::Requester(requester) => (requester.number, requester.expected),
            _ => return 0,
        };
        let delivered = self.shared.delivered_of[usize::from(number)].load(Ordering::Relaxed);
        expected.saturating_sub(delivered)
    }

    /// Deliveries one message of a sender causes.
    pub fn receivers_of(&self, index: u32) -> u64 {
        let subject = match &self.connections[index as usize].role {
            Role::Publisher(publisher) => publisher.subject(),
            Role::Requester(requester) => requester.subject,
            _ => return 1,
        };
        u64::from(self.receivers[subject as usize])
    }

    /// Takes received bytes, cut anywhere.
    #[inline]
    pub fn receive(&mut self, index: u32, bytes: &[u8], now: u64) {
        let mut rest = bytes;
        if !self.connections[index as usize].partial.is_empty() {
            match self.finish_partial(index, rest, now) {
                Some(behind) => rest = behind,
                None => return,
            }
        }
        while !rest.is_empty() {
            match self.dialect.parse(rest) {
                Ok(Some((incoming, consumed))) => {
                    self.incoming(index, &incoming, now);
                    rest = &rest[consumed..];
                }
                Ok(None) => {
                    self.connections[index as usize].partial.extend_from_slice(rest);
                    break;
                }
                Err(error) => return self.fail(format!("the server's bytes make no sense: {error}")),
            }
        }
        self.recorder.settle(now);
        self.tell();
    }

    /// Completes what an earlier buffer began; only its own bytes are copied. `None`: all is used up.
    fn finish_partial<'b>(&mut self, index: u32, bytes: &'b [u8], now: u64) -> Option<&'b [u8]> {
        let mut partial = std::mem::take(&mut self.connections[index as usize].partial);
        let before = partial.len();
        let mut step = PARTIAL_STEP_BYTES;
        let mut taken = 0;
        loop {
            let more = &bytes[taken..bytes.len().min(taken + step)];
            if more.is_empty() {
                self.connections[index as usize].partial = partial;
                return None;
            }
            partial.extend_from_slice(more);
            taken += more.len();
            step *= 2;
            match self.dialect.parse(&partial) {
                Ok(Some((incoming, consumed))) => {
                    self.incoming(index, &incoming, now);
                    partial.clear();
                    self.connections[index as usize].partial = partial;
                    return Some(&bytes[consumed - before..]);
                }
                Ok(None) => {}
                Err(error) => {
                    self.fail(format!("the server's bytes make no sense: {error}"));
                    return None;
                }
            }
        }
    }

    #[inline]
    fn incoming(&mut self, index: u32, incoming: &Incoming<'_>, now: u64) {
        match incoming {
            Incoming::Message(message) => self.message(index, message, now),
            Incoming::Batch(subscription, messages) => {
                for payload in messages.payloads() {
                    let message =
                        Message { subscription: *subscription, reply: None, correlation_id: 0, payload };
                    self.message(index, &message, now);
                }
            }
            Incoming::InForce => {
                let connection = &mut self.connections[index as usize];
                if connection.stage == Stage::Preparing && !connection.role.is_churner() {
                    connection.stage = Stage::Ready;
                    self.ready += 1;
                    if connection.role.is_stalled() {
                        self.stalling.push(index);
                    }
                } else if let Role::Publisher(publisher) = &mut connection.role
                    && let Some((messages, intended)) = publisher.barriers.pop_front()
                {
                    let number = publisher.number;
                    self.taken(number, messages, intended, now);
                }
            }
            Incoming::Ping => {
                let out = &mut self.connections[index as usize].outbound;
                let before = out.len();
                self.dialect.pong(out);
                self.backlog_bytes += out.len() - before;
                self.mark(index);
            }
            Incoming::Refused(text) => {
                self.recorder.refused += 1;
                self.remember(text);
            }
            Incoming::Closing(text) => self.remember(text),
            Incoming::Other => {}
        }
    }

    #[inline]
    fn message(&mut self, index: u32, message: &Message<'_>, now: u64) {
        let place = index as usize;
        let subject = match &self.connections[place].role {
            // What came before it stopped reading is not awaited either.
            Role::Subscriber(subscriber) if subscriber.stalled => return,
            Role::Subscriber(_) => message.subscription.wrapping_sub(1),
            Role::Requester(requester) => requester.subject,
            Role::Churner(churner) => churner.subject(),
            Role::Responder(_) => return self.respond(index, message, now),
            Role::Publisher(_) => return self.corrupted(),
        };
        let Some(stamp) = Stamp::read(message.payload, subject, &self.pattern) else {
            return self.corrupted();
        };
        let rank = self.workload.rank(stamp.publisher) as usize;
        let faults = &mut self.recorder.faults;
        let taken = match &mut self.connections[place].role {
            Role::Subscriber(subscriber) if subscriber.member.is_some() => {
                let spread = self.spreads.get_mut(subject as usize * self.ranks + rank);
                spread.map(|spread| spread.take(stamp.sequence, faults))
            }
            Role::Subscriber(subscriber) => subscriber.take(subject, rank, stamp.sequence, faults),
            Role::Requester(requester) => Some(requester.stream.take(stamp.sequence, faults)),
            Role::Churner(_) => {
                self.finished.push(index);
                Some(true)
            }
            Role::Publisher(_) | Role::Responder(_) => None,
        };
        let Some(fresh) = taken else { return self.corrupted() };
        if let Some(key) = self.workload.members.key_of(stamp.sequence) {
            self.recorder.members.hold(key, index);
        }
        if let Some(reply) = message.reply
            && self.workload.members.group.contains(';')
        {
            self.begin_work(index, reply, (subject, stamp.intended), now);
        }
        if fresh {
            if !self.workload.lanes.is_empty() {
                self.recorder.lane(self.workload.lane(subject), stamp.intended, now);
            }
            self.recorder.latency(stamp.intended, stamp.lateness, now);
            self.recorder.received(now, 1, message.payload.len() as u64);
            if self.told.0 != stamp.publisher {
                self.tell();
                self.told.0 = stamp.publisher;
            }
            self.told.1 += 1;
        }
    }

    /// A barrier behind the messages a publisher gathered; its answer says that the server took them.
    pub fn barrier(&mut self, index: u32, messages: u64, intended: u64) {
        let connection = &mut self.connections[index as usize];
        let Role::Publisher(publisher) = &mut connection.role else { return };
        publisher.barriers.push_back((messages, intended));
        let before = connection.outbound.len();
        self.dialect.barrier(&mut connection.outbound);
        self.backlog_bytes += connection.outbound.len() - before;
        self.mark(index);
    }

    fn taken(&mut self, publisher: u16, messages: u64, intended: u64, now: u64) {
        self.recorder.latency(intended, 0, now);
        self.recorder.received(now, messages, messages * self.workload.payload.largest() as u64);
        self.shared.delivered_of[usize::from(publisher)].fetch_add(messages, Ordering::Relaxed);
    }

    /// A responder returns the payload as it came.
    fn respond(&mut self, index: u32, message: &Message<'_>, now: u64) {
        let Some(reply) = message.reply.and_then(|reply| std::str::from_utf8(reply).ok()) else {
            return self.corrupted();
        };
        let outgoing = Outgoing {
            number: 0,
            subject: reply,
            reply: None,
            correlation_id: message.correlation_id,
            timestamp_nanos: self.unix_epoch_nanos + now,
            payload_bytes: message.payload.len(),
            priority: Priority::Normal,
            key: None,
        };
        let out = &mut self.connections[index as usize].outbound;
        let before = out.len();
        self.dialect.publish_head(&outgoing, out);
        out.extend_from_slice(message.payload);
        self.dialect.finish(out);
        self.backlog_bytes += out.len() - before;
        self.mark(index);
    }

    fn tell(&mut self) {
        let publisher = self.told.0;
        let count = std::mem::take(&mut self.told.1);
        if count > 0
            && let Some(delivered) = self.shared.delivered_of.get(usize::from(publisher))
        {
            delivered.fetch_add(count, Ordering::Relaxed);
        }
    }

    #[cold]
    fn corrupted(&mut self) {
        self.recorder.faults.corrupted += 1;
    }

    pub fn remember(&mut self, words: &str) {
        if self.recorder.last_words.is_none() {
            self.recorder.last_words = Some(words.to_owned());
        }
    }

    pub fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    #[inline]
    pub fn mark(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }
}
