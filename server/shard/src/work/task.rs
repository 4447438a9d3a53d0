//! A message on its way to being acknowledged.

use super::wheel::Timer;
use crate::delivery::{Message, deadline};
use crate::identity::{AccountId, ConnectionId, Nanos, PublisherId};
use crate::lanes::Lane;
use crate::mesh::batch::MeshPayload;
use crate::router::subjects::SubjectId;
use crate::table::Key;
use bytes::Bytes;
use ringbolt_protocol::command::Flags;
use ringbolt_protocol::subject::Subject;
use smallvec::SmallVec;

/// Counted up, never used again: an acknowledgement of a message that is done finds nothing.
pub type TaskId = u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Waits for a free member.
    Waiting,
    /// Was not acknowledged, and waits before it may be delivered again.
    Resting(Timer),
    /// A member has it, for a time; without a timer that is over.
    InFlight { subscription: Key, connection: ConnectionId, timer: Option<Timer> },
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
    /// What the last member that failed it said.
    pub error: Option<Box<str>>,
    /// That member said nothing, or asked for a delay.
    pub overload: bool,
    pub publisher: PublisherId,
    pub account: AccountId,
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subject: Box<str>,
    /// The subject is beyond what native clients are promised: they are not given it.
    pub foreign: bool,
    pub reply: Option<Box<[u8]>>,
    pub header_bytes: u32,
    pub payload: Bytes,
}

impl Task {
    /// `unix_epoch_nanos`: the Unix time of the clock's beginning.
    pub fn of(message: &Message<'_>, group: Key, now: Nanos, unix_epoch_nanos: u64) -> Task {
        let payload = match message.payload {
            MeshPayload::Copied(bytes) => Bytes::copy_from_slice(bytes),
            MeshPayload::Shared(bytes) => bytes.clone(),
        };
        let block = &payload[..message.header_bytes as usize];
        Task {
            group,
            state: State::Waiting,
            attempts: message.deliveries,
            tried: SmallVec::new(),
            accepted: now,
            delivered: now,
            deadline: deadline(block, unix_epoch_nanos),
            error: None,
            overload: false,
            publisher: message.publisher,
            account: message.account,
            flags: message.flags,
            timestamp_nanos: message.timestamp_nanos,
            correlation_id: message.correlation_id,
            subject: message.subject.into(),
            foreign: Subject::new(message.subject.as_bytes()).is_err(),
            reply: message.reply.map(Into::into),
            header_bytes: message.header_bytes,
            payload,
        }
    }

    pub fn lane(&self) -> Lane {
        Lane::of(self.flags)
    }

    /// The headers and the rest of the payload.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.payload.split_at(self.header_bytes as usize)
    }

    /// The message as it was published, but for its payload.
    pub fn message<'m>(&'m self, payload: MeshPayload<'m>, header_bytes: u32) -> Message<'m> {
        Message {
            publisher: self.publisher,
            account: self.account,
            flags: self.flags,
            timestamp_nanos: self.timestamp_nanos,
            correlation_id: self.correlation_id,
            subject: &self.subject,
            subject_id: SubjectId::NONE,
            reply: self.reply.as_deref(),
            header_bytes,
            deliveries: 0,
            payload,
        }
    }
}
