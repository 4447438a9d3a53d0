//! Messages to very many receivers are delivered in pieces, a few thousand a turn: nobody waits for all of
//! them but their publisher, which says no more until then, so that what it says stays in order.
//!
//! What another shard's publisher says is kept behind such a message of its, in order, and its own shard is
//! told to hold it back. Few are begun at a time: each has a list of its receivers.

use crate::identity::{AccountId, ConnectionId, PublisherId};
use crate::message::{Marks, Message, Payload, Publication};
use crate::router::{Route, Target};
use bytes::Bytes;
use ringbolt_protocol::command::Flags;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Messages that are begun at a time.
const BEGUN_MAX: usize = 8;

/// What a message takes here beside its texts and payload.
const PART_BYTES: usize = size_of::<Part>() + 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Wide {
    /// What each publisher has said, in order; of those that are begun, the first.
    of: BTreeMap<PublisherId, VecDeque<Part>>,
    /// Publishers whose first message is begun, in turn, and behind them those that wait for that.
    begun: VecDeque<PublisherId>,
    line: VecDeque<PublisherId>,
    /// Pieces delivered so far: they come from either in turn.
    pieces: u64,
}

/// Whom a message is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum To {
    /// All plain subscriptions here but those of one connection, and one member of every group, wherever.
    Everyone(Option<ConnectionId>),
    /// What another shard says of it.
    OfShard { plain: bool, group: Option<Box<str>>, hops: u8 },
}

/// A message that is not delivered whole.
#[derive(Debug)]
pub struct Part {
    pub publisher: PublisherId,
    pub account: AccountId,
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subject: Box<str>,
    pub subject_hash: u64,
    pub reply: Option<Box<[u8]>>,
    /// The reply subject is beyond what native clients are promised.
    pub foreign: bool,
    pub header_bytes: u32,
    pub deliveries: u16,
    pub payload: Bytes,
    pub to: To,
    /// Subscriptions made here before it was published: later ones do not get it.
    pub made: u64,
    pub rest: Option<Rest>,
}

/// Who is yet to get a message that is begun.
#[derive(Debug)]
pub struct Rest {
    pub targets: Box<[Target]>,
    pub next_target: usize,
    pub groups: Box<[Rc<str>]>,
    pub next_group: usize,
}

impl Wide {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether what that publisher says waits for what it said.
    #[cold]
    #[inline(never)]
    pub fn concerns(&self, publisher: PublisherId) -> bool {
        self.of.contains_key(&publisher)
    }

    /// Who is next; it has no place until a piece of what it said is delivered.
    pub fn next(&mut self) -> Option<PublisherId> {
        self.pieces += 1;
        let may_begin =
            self.begun.len() < BEGUN_MAX && (self.pieces.is_multiple_of(2) || self.begun.is_empty());
        let fresh = if may_begin { self.line.pop_front() } else { None };
        fresh.or_else(|| self.begun.pop_front())
    }

    /// A message waits. Returns whether it is the only one of its publisher.
    pub fn push(&mut self, part: Part) -> bool {
        let publisher = part.publisher;
        let parts = self.of.entry(publisher).or_default();
        parts.push_back(part);
        let is_only = parts.len() == 1;
        if is_only {
            self.line.push_back(publisher);
        }
        is_only
    }

    /// A publisher gives its place up: all it said is delivered now.
    pub fn leave_line(&mut self, publisher: PublisherId) {
        let lines = [&mut self.begun, &mut self.line];
        lines.into_iter().for_each(|line| line.retain(|other| *other != publisher));
    }

    /// The first message of a publisher that has no place, to go on with.
    pub fn take(&mut self, publisher: PublisherId) -> Option<Part> {
        self.of.get_mut(&publisher)?.pop_front()
    }

    /// It is begun, and goes on later.
    pub fn give_back(&mut self, part: Part) {
        debug_assert!(part.rest.is_some(), "it is begun");
        self.begun.push_back(part.publisher);
        self.of.entry(part.publisher).or_default().push_front(part);
    }

    /// It was delivered. Returns whether its publisher has said no more.
    pub fn finish(&mut self, publisher: PublisherId) -> bool {
        let over = self.of.get(&publisher).is_none_or(VecDeque::is_empty);
        if over {
            self.of.remove(&publisher);
        } else {
            self.line.push_back(publisher);
        }
        over
    }

    /// Memory that all of it takes.
    fn bytes(&self) -> usize {
        self.of.values().flatten().map(Part::bytes).sum()
    }

    /// Recounts who waits. Returns the memory that it takes.
    pub fn check(&self) -> usize {
        let mut waiting: Vec<PublisherId> = self.begun.iter().chain(&self.line).copied().collect();
        waiting.sort_unstable();
        assert!(waiting.iter().eq(self.of.keys()), "every publisher that waits has one place");
        assert!(self.of.values().all(|parts| !parts.is_empty()), "who has said all is forgotten");
        let begun =
            |publisher| self.of[publisher].iter().map(|part| usize::from(part.rest.is_some())).sum::<usize>();
        assert!(self.begun.iter().all(|publisher| begun(publisher) == 1), "one at a time is begun");
        assert!(self.line.iter().all(|publisher| begun(publisher) == 0), "and of the others none");
        self.bytes()
    }
}

impl Part {
    pub fn of(message: &Message<'_>, subject_hash: u64, to: To, made: u64) -> Part {
        let publication = message.publication;
        let payload = match publication.payload {
            Payload::Copied(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Shared(bytes) => bytes.clone(),
        };
        Part {
            publisher: publication.publisher,
            account: publication.account,
            flags: publication.flags,
            timestamp_nanos: publication.timestamp_nanos,
            correlation_id: publication.correlation_id,
            subject: message.subject.into(),
            subject_hash,
            reply: publication.reply.map(Into::into),
            foreign: publication.foreign,
            header_bytes: publication.header_bytes,
            deliveries: publication.deliveries,
            payload,
            to,
            made,
            rest: None,
        }
    }

    pub fn publication<'p>(&'p self, marks: &'p Marks<'p>, shared_bytes_min: usize) -> Publication<'p> {
        let payload = if self.payload.len() >= shared_bytes_min {
            Payload::Shared(&self.payload)
        } else {
            Payload::Copied(&self.payload)
        };
        Publication {
            publisher: self.publisher,
            account: self.account,
            flags: self.flags,
            timestamp_nanos: self.timestamp_nanos,
            correlation_id: self.correlation_id,
            reply: self.reply.as_deref(),
            foreign: self.foreign,
            marks,
            header_bytes: self.header_bytes,
            deliveries: self.deliveries,
            payload,
            ..Publication::EMPTY
        }
    }

    pub fn hops(&self) -> u8 {
        match self.to {
            To::Everyone(_) => 0,
            To::OfShard { hops, .. } => hops,
        }
    }

    /// Lists who gets it.
    pub fn begin(&self, route: &Route) -> Rest {
        let (plain, groups) = match &self.to {
            To::Everyone(_) => (true, route.groups.iter().map(|group| Rc::clone(&group.name)).collect()),
            To::OfShard { plain, group, .. } => {
                (*plain, group.iter().map(|name| Rc::from(&**name)).collect())
            }
        };
        let targets = if plain { route.plain.to_vec().into_boxed_slice() } else { Box::default() };
        Rest { targets, next_target: 0, groups, next_group: 0 }
    }

    pub fn bytes(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |reply| reply.len());
        PART_BYTES
            + self.subject.len()
            + reply
            + self.payload.len()
            + self.rest.as_ref().map_or(0, Rest::bytes)
    }
}

impl Rest {
    fn bytes(&self) -> usize {
        self.targets.len() * size_of::<Target>() + self.groups.len() * size_of::<Rc<str>>()
    }

    pub fn is_over(&self) -> bool {
        self.next_target == self.targets.len() && self.next_group == self.groups.len()
    }
}
