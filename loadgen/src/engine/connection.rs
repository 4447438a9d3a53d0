//! One connection of a driver: its bytes on the way out, its unfinished bytes on the way in.

use crate::sequence::Stream;
use crate::workload::Role;
use ringbolt_protocol::command::Priority;
use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Connecting,
    /// Greeted and subscribed; the answer to the barrier is awaited.
    Preparing,
    Ready,
    Gone,
}

/// A message that a member works on.
#[derive(Debug)]
pub struct Job {
    /// When it is done, and when it was due to be sent.
    pub done: u64,
    pub intended: u64,
    pub lane: Priority,
    /// Where it is acknowledged.
    pub reply: String,
}

#[derive(Debug)]
pub struct Connection {
    pub role: Role,
    pub stage: Stage,
    pub outbound: Vec<u8>,
    pub sending: bool,
    pub receiving: bool,
    /// Listed for the flush at the end of the turn.
    pub dirty: bool,
    /// The beginning of something whose end has not arrived.
    pub partial: Vec<u8>,
    /// A receiver's streams: by its own subjects, then by rank of the publisher.
    pub streams: Vec<Stream>,
    /// A sender's next sequence, by its own subjects.
    pub sequences: Vec<u32>,
    /// The subject of the sender's next message, as an index into its own.
    pub turn: usize,
    /// Deliveries a sender's messages should cause, for the window of a closed loop.
    pub expected: u64,
    /// Messages before each barrier that is not answered, and when the last of them was due.
    pub barriers: VecDeque<(u64, u64)>,
    /// What a member works on.
    pub work: VecDeque<Job>,
    /// A churner's intended and actual connect time.
    pub intended: u64,
}

impl Connection {
    pub fn is_stalled(&self) -> bool {
        matches!(self.role, Role::Subscriber { stalled: true, .. })
    }

    pub fn new(role: Role, ranks: usize) -> Connection {
        let (streams, sequences) = match &role {
            Role::Publisher { subjects, .. } => (0, subjects.len()),
            Role::Subscriber { subjects, member, .. } => {
                (if *member { 0 } else { subjects.len() * ranks }, 0)
            }
            Role::Requester { .. } => (1, 1),
            Role::Responder { .. } => (0, 0),
            Role::Churner { .. } => (0, 1),
        };
        Connection {
            role,
            stage: Stage::Connecting,
            outbound: Vec::new(),
            sending: false,
            receiving: false,
            dirty: false,
            partial: Vec::new(),
            streams: vec![Stream::default(); streams],
            sequences: vec![0; sequences],
            turn: 0,
            expected: 0,
            barriers: VecDeque::new(),
            work: VecDeque::new(),
            intended: 0,
        }
    }
}
