//! A message on its way to being acknowledged.

use super::wheel::Timer;
use crate::identity::{AccountId, ConnectionId, Nanos, PublisherId, ShardId};
use crate::lanes::Lane;
use crate::message::{Marks, Message, Payload, Publication};
use crate::router::subjects::SubjectId;
use crate::table::Key;
use bytes::Bytes;
use ringbolt_protocol::command::Flags;
use ringbolt_protocol::subject::Subject;
use smallvec::SmallVec;

/// What a message takes in the tables that it stands in, beside its texts.
const TASK_BYTES: usize = size_of::<Task>() + 90;

/// Counted up, never used again: an acknowledgement of a message that is done finds nothing.
pub type TaskId = u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Waits for a free member.
    Waiting,
    /// Was not acknowledged, and waits before it may be delivered again.
    Resting(Timer),
    /// Another shard was asked to take it over, and has not answered.
    Offered(ShardId),
    /// A member has it, for a time; without a timer that is over.
    InFlight { member: Key, connection: ConnectionId, timer: Option<Timer> },
}

/// What decides who may have a message.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'m> {
    pub subject: &'m str,
    pub foreign: bool,
    pub publisher: PublisherId,
}

impl<'m> Envelope<'m> {
    /// Not `may_be_foreign`: its subject is known to be within what native clients are promised.
    pub fn of(message: &Message<'m>, may_be_foreign: bool) -> Envelope<'m> {
        let Message { subject, publication } = *message;
        let foreign = may_be_foreign && Subject::new(subject.as_bytes()).is_err();
        Envelope { subject, foreign, publisher: publication.publisher }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Task {
    /// Key of its group.
    pub group: Key,
    pub state: State,
    /// Deliveries so far.
    pub attempts: u16,
    /// Connections that were given it.
    pub tried: SmallVec<[ConnectionId; 2]>,
    /// When this shard accepted it, and when it was last given to someone.
    pub accepted: Nanos,
    pub delivered: Nanos,
    pub deadline: Option<Nanos>,
    /// Shards that have nobody who may have it, as of the group's so many changes elsewhere.
    pub declined: SmallVec<[ShardId; 2]>,
    pub declined_at: u64,
    /// What the last member that failed it said.
    pub error: Option<Box<str>>,
    /// That member said nothing, or asked for a delay.
    pub overload: bool,
    pub publisher: PublisherId,
    pub account: AccountId,
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    /// Lane, compression and correlation id as its headers give them.
    said: (Flags, u64),
    pub subject: Box<str>,
    /// The subject is beyond what native clients are promised: they are not given it.
    pub foreign: bool,
    pub reply: Option<Box<[u8]>>,
    pub header_bytes: u32,
    pub payload: Bytes,
}

impl Task {
    pub fn of(message: &Message<'_>, group: Key, now: Nanos) -> Task {
        let publication = message.publication;
        let payload = match publication.payload {
            Payload::Copied(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Shared(bytes) => bytes.clone(),
        };
        debug_assert!(publication.header_bytes as usize <= payload.len(), "headers are part of the payload");
        Task {
            group,
            state: State::Waiting,
            attempts: publication.deliveries,
            tried: SmallVec::new(),
            accepted: now,
            delivered: now,
            deadline: publication.marks.deadline,
            declined: SmallVec::new(),
            declined_at: 0,
            error: None,
            overload: false,
            publisher: publication.publisher,
            account: publication.account,
            flags: publication.flags,
            timestamp_nanos: publication.timestamp_nanos,
            correlation_id: publication.correlation_id,
            said: (publication.marks.flags, publication.marks.correlation_id),
            subject: message.subject.into(),
            foreign: Subject::new(message.subject.as_bytes()).is_err(),
            reply: publication.reply.map(Into::into),
            header_bytes: publication.header_bytes,
            payload,
        }
    }

    pub fn envelope(&self) -> Envelope<'_> {
        Envelope { subject: &self.subject, foreign: self.foreign, publisher: self.publisher }
    }

    /// Bytes it is counted with.
    pub fn weight(&self) -> usize {
        let reply_bytes = self.reply.as_ref().map_or(0, |reply| reply.len());
        TASK_BYTES + self.payload.len() + self.subject.len() + reply_bytes
    }

    pub fn lane(&self) -> Lane {
        Lane::of(self.flags)
    }

    /// The headers and the rest of the payload.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.payload.split_at(self.header_bytes as usize)
    }

    /// What its headers ask for wherever it is delivered.
    pub fn marks(&self) -> Marks<'static> {
        let (flags, correlation_id) = self.said;
        Marks { flags, correlation_id, deadline: self.deadline, ..Marks::PLAIN }
    }

    /// The message as it was published, but for its payload.
    pub fn publication<'m>(
        &'m self,
        marks: &'m Marks<'m>,
        payload: Payload<'m>,
        header_bytes: u32,
    ) -> Publication<'m> {
        Publication {
            publisher: self.publisher,
            account: self.account,
            flags: self.flags,
            timestamp_nanos: self.timestamp_nanos,
            correlation_id: self.correlation_id,
            subject: SubjectId::NONE,
            reply: self.reply.as_deref(),
            foreign: self.foreign,
            marks,
            header_bytes,
            deliveries: 0,
            payload,
            backing: None,
        }
    }
}
