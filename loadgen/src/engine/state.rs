//! Everything a driver knows apart from its ring: connections, streams, what was measured.

use super::connection::{Connection, Stage};
use super::recorder::{Recorder, Window};
use super::shared::Shared;
use crate::dialect::raw::Hello;
use crate::dialect::{Dialect, Incoming, Message, Outgoing};
use crate::payload::{Pattern, Stamp};
use crate::sequence::Spread;
use crate::workload::{Kind, Role, Workload};
use ringbolt_protocol::command::{Flags, Priority, SubjectRef};
use ringbolt_protocol::native::batch::BatchWriter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Texts that every driver of a run shares.
#[derive(Debug)]
pub struct Names {
    pub subjects: Vec<String>,
    pub wildcards: Vec<String>,
    pub inboxes: Vec<String>,
}

impl Names {
    pub fn of(workload: &Workload) -> Names {
        // A churner has a subject of its own.
        let count = workload.subjects.max(workload.publishers);
        Names {
            subjects: (0..count).map(|number| workload.subject(number)).collect(),
            wildcards: (0..count).map(|number| workload.wildcard(number)).collect(),
            inboxes: (0..workload.publishers).map(|number| workload.inbox(number)).collect(),
        }
    }
}

/// The next of a series of random numbers: its upper half, which is the random one.
#[inline]
pub(super) fn next_random(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *random >> 32
}

/// What a connection takes and gives, where channels stand for subjects.
fn hello(role: &Role) -> Hello {
    let inbox = |subject: u32| INBOX + subject + 1;
    let (takes, gives) = match role {
        Role::Publisher { subjects, .. } => (0, subjects[0] + 1),
        Role::Subscriber { subjects, .. } => (subjects[0] + 1, 0),
        Role::Requester { subject, .. } => (inbox(*subject), subject + 1),
        Role::Responder { subjects } => (subjects[0] + 1, inbox(subjects[0])),
        Role::Churner { number } => (u32::from(*number) + 1, u32::from(*number) + 1),
    };
    Hello { takes, gives }
}

/// Subscription number of a requester's inbox, outside those of subjects.
const INBOX: u32 = 1 << 24;

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
        roles: Vec<Role>,
        window: Window,
    ) -> State {
        let ranks = workload.ranks() as usize;
        let connections = roles.into_iter().map(|role| Connection::new(role, ranks)).collect();
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
        let (dialect, names) = (self.dialect, &self.names);
        if dialect == Dialect::Raw {
            hello(&connection.role).put(out);
        }
        dialect.greet(out);
        match &connection.role {
            Role::Publisher { subjects, .. } => {
                for (place, &subject) in subjects.iter().enumerate() {
                    dialect.introduce(place as u32 + 1, &names.subjects[subject as usize], out);
                }
            }
            Role::Subscriber { subjects, wildcard, member, .. } => {
                let group = member.then_some(self.workload.members.group.as_str());
                let texts = if *wildcard { &names.wildcards } else { &names.subjects };
                for &subject in subjects {
                    dialect.subscribe(subject + 1, &texts[subject as usize], group, out);
                }
            }
            Role::Responder { subjects } => {
                for &subject in subjects {
                    let text = &names.subjects[subject as usize];
                    dialect.subscribe(subject + 1, text, Some(crate::workload::GROUP), out);
                }
            }
            Role::Requester { number, subject } => {
                dialect.introduce(1, &names.subjects[*subject as usize], out);
                dialect.subscribe(INBOX, &names.inboxes[usize::from(*number)], None, out);
            }
            Role::Churner { number } => {
                let text = &names.subjects[usize::from(*number)];
                dialect.subscribe(u32::from(*number) + 1, text, None, out);
            }
        }
        if !matches!(connection.role, Role::Churner { .. }) {
            dialect.barrier(out);
        }
        self.backlog_bytes += connection.outbound.len();
        self.mark(index);
    }

    /// Gathers the next message of a sender. `now` is when it is handed over.
    #[inline]
    pub fn publish(&mut self, index: u32, intended: u64, now: u64) {
        let connection = &mut self.connections[index as usize];
        let turn = connection.turn;
        let (number, subject, reply, introduced) = match &connection.role {
            Role::Publisher { number, subjects } => {
                connection.turn = if turn + 1 == subjects.len() { 0 } else { turn + 1 };
                (*number, subjects[turn], None, turn as u32 + 1)
            }
            Role::Requester { number, subject } => {
                (*number, *subject, Some(self.names.inboxes[usize::from(*number)].as_str()), 1)
            }
            Role::Churner { number } => (*number, u32::from(*number), None, 0),
            Role::Subscriber { .. } | Role::Responder { .. } => unreachable!("receivers send nothing"),
        };
        let sequence = connection.sequences[turn];
        connection.sequences[turn] = sequence.wrapping_add(1);
        let payload_bytes = self.workload.payload.choose(next_random(&mut self.random));
        let out = &mut connection.outbound;
        let before = out.len();
        let outgoing = Outgoing {
            number: introduced,
            subject: &self.names.subjects[subject as usize],
            reply,
            correlation_id: if reply.is_some() { u64::from(sequence) + 1 } else { 0 },
            timestamp_nanos: self.unix_epoch_nanos + now,
            payload_bytes,
            priority: self.workload.lane(subject),
            key: self.workload.members.key_of(sequence),
        };
        self.dialect.publish_head(&outgoing, out);
        let stamp = Stamp { intended, lateness: now.saturating_sub(intended), sequence, publisher: number };
        stamp.write(subject, payload_bytes, &self.pattern, out);
        self.dialect.finish(out);
        self.backlog_bytes += out.len() - before;
        let deliveries = u64::from(self.receivers.get(subject as usize).copied().unwrap_or(1));
        connection.expected += deliveries;
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
        let turn = connection.turn;
        let Role::Publisher { number, subjects } = &connection.role else { return };
        let (publisher, subject) = (*number, subjects[turn]);
        connection.turn = if turn + 1 == subjects.len() { 0 } else { turn + 1 };
        let out = &mut connection.outbound;
        let before = out.len();
        let name = SubjectRef::Interned(turn as u32 + 1);
        let batch = BatchWriter::publish(out, Flags::default(), self.unix_epoch_nanos + now, 0, name);
        for _ in 0..count {
            let sequence = connection.sequences[turn];
            connection.sequences[turn] = sequence.wrapping_add(1);
            let payload_bytes = self.workload.payload.choose(next_random(&mut self.random));
            batch.message_head(payload_bytes, out);
            let stamp = Stamp { intended: now, lateness: 0, sequence, publisher };
            stamp.write(subject, payload_bytes, &self.pattern, out);
        }
        batch.finish(out);
        self.backlog_bytes += out.len() - before;
        let deliveries = u64::from(self.receivers[subject as usize]);
        connection.expected += deliveries * count;
        for _ in 0..count {
            self.recorder.sent(now, deliveries);
        }
        self.mark(index);
    }

    /// Deliveries still awaited of a sender's messages.
    #[inline]
    pub fn outstanding(&self, index: u32) -> u64 {
        let connection = &self.connections[index as usize];
        let (Role::Publisher { number, .. } | Role::Requester { number, .. }) = connection.role else {
            return 0;
        };
        let delivered = self.shared.delivered_of[usize::from(number)].load(Ordering::Relaxed);
        connection.expected.saturating_sub(delivered)
    }

    /// Deliveries one message of a sender causes.
    pub fn receivers_of(&self, index: u32) -> u64 {
        let connection = &self.connections[index as usize];
        let subject = match &connection.role {
            Role::Publisher { subjects, .. } => subjects[connection.turn],
            Role::Requester { subject, .. } => *subject,
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
                let churner = matches!(connection.role, Role::Churner { .. });
                if connection.stage == Stage::Preparing && !churner {
                    connection.stage = Stage::Ready;
                    self.ready += 1;
                    if connection.is_stalled() {
                        self.stalling.push(index);
                    }
                } else if let Some((messages, intended)) = connection.barriers.pop_front() {
                    self.taken(index, messages, intended, now);
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
            Role::Subscriber { stalled: true, .. } => return,
            Role::Subscriber { .. } => message.subscription.wrapping_sub(1),
            Role::Requester { subject, .. } => *subject,
            Role::Churner { number } => u32::from(*number),
            Role::Responder { .. } => return self.respond(index, message, now),
            Role::Publisher { .. } => return self.corrupted(),
        };
        let Some(stamp) = Stamp::read(message.payload, subject, &self.pattern) else {
            return self.corrupted();
        };
        let rank = self.workload.rank(stamp.publisher) as usize;
        let stride = self.stride();
        let connection = &mut self.connections[place];
        let faults = &mut self.recorder.faults;
        let fresh = match &connection.role {
            Role::Subscriber { member: true, .. } => {
                match self.spreads.get_mut(subject as usize * self.ranks + rank) {
                    Some(spread) => spread.take(stamp.sequence, faults),
                    None => return self.corrupted(),
                }
            }
            Role::Subscriber { subjects, .. } => {
                let own = if subjects.len() == 1 { 0 } else { subject as usize / stride };
                match connection.streams.get_mut(own * self.ranks + rank) {
                    Some(stream) => stream.take(stamp.sequence, faults),
                    None => return self.corrupted(),
                }
            }
            Role::Churner { .. } => {
                self.finished.push(index);
                true
            }
            _ => connection.streams[0].take(stamp.sequence, faults),
        };
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
        let before = connection.outbound.len();
        self.dialect.barrier(&mut connection.outbound);
        connection.barriers.push_back((messages, intended));
        self.backlog_bytes += connection.outbound.len() - before;
        self.mark(index);
    }

    fn taken(&mut self, index: u32, messages: u64, intended: u64, now: u64) {
        let Role::Publisher { number, .. } = self.connections[index as usize].role else { return };
        self.recorder.latency(intended, 0, now);
        self.recorder.received(now, messages, messages * self.workload.payload.largest() as u64);
        self.shared.delivered_of[usize::from(number)].fetch_add(messages, Ordering::Relaxed);
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

    /// Subscribers deal subjects out in turn: neighbours in a subscriber's list lie this far apart.
    fn stride(&self) -> usize {
        self.workload.subscribers.min(self.workload.subjects) as usize
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
