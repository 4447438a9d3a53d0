//! What a connection does, each role with what it keeps for it.

mod churner;
mod next;
mod publisher;
mod requester;
mod responder;
mod subscriber;

pub use next::Next;
pub use subscriber::Job;

use super::names::Names;
use crate::dialect::Dialect;
use crate::dialect::raw::Hello;
use crate::workload;
use churner::Churner;
use publisher::Publisher;
use requester::Requester;
use responder::Responder;
use subscriber::Subscriber;

#[derive(Debug)]
pub enum Role {
    Publisher(Publisher),
    Subscriber(Subscriber),
    Requester(Requester),
    Responder(Responder),
    Churner(Churner),
}

impl Role {
    /// `ranks`: publishers of a subject at most. `stride`: how far apart a subscriber's subjects lie.
    pub fn new(role: workload::Role, ranks: usize, stride: usize) -> Role {
        match role {
            workload::Role::Publisher { number, subjects } => {
                Role::Publisher(Publisher::new(number, subjects))
            }
            workload::Role::Subscriber { subjects, wildcard, member: true, .. } => {
                Role::Subscriber(Subscriber::member(subjects, wildcard))
            }
            workload::Role::Subscriber { subjects, wildcard, member: false, stalled } => {
                Role::Subscriber(Subscriber::new(subjects, wildcard, stalled, ranks, stride))
            }
            workload::Role::Requester { number, subject } => Role::Requester(Requester::new(number, subject)),
            workload::Role::Responder { subjects } => Role::Responder(Responder::new(subjects)),
            workload::Role::Churner { number } => Role::Churner(Churner::new(number)),
        }
    }

    /// What a connection takes and gives, where channels stand for subjects.
    pub fn hello(&self) -> Hello {
        match self {
            Role::Publisher(publisher) => publisher.hello(),
            Role::Subscriber(subscriber) => subscriber.hello(),
            Role::Requester(requester) => requester.hello(),
            Role::Responder(responder) => responder.hello(),
            Role::Churner(churner) => churner.hello(),
        }
    }

    /// Introduces and subscribes to what the role needs.
    pub fn greet(&self, dialect: Dialect, names: &Names, out: &mut Vec<u8>) {
        match self {
            Role::Publisher(publisher) => publisher.greet(dialect, names, out),
            Role::Subscriber(subscriber) => subscriber.greet(dialect, names, out),
            Role::Requester(requester) => requester.greet(dialect, names, out),
            Role::Responder(responder) => responder.greet(dialect, names, out),
            Role::Churner(churner) => churner.greet(dialect, names, out),
        }
    }

    /// So many deliveries more are to come of what it sent.
    #[inline]
    pub fn expect(&mut self, deliveries: u64) {
        match self {
            Role::Publisher(publisher) => publisher.expected += deliveries,
            Role::Requester(requester) => requester.expected += deliveries,
            Role::Subscriber(_) | Role::Responder(_) | Role::Churner(_) => {}
        }
    }

    pub fn sends(&self) -> bool {
        !matches!(self, Role::Subscriber(_) | Role::Responder(_))
    }

    pub fn is_churner(&self) -> bool {
        matches!(self, Role::Churner(_))
    }

    /// Whether it subscribes, and never reads what it gets.
    pub fn is_stalled(&self) -> bool {
        matches!(self, Role::Subscriber(subscriber) if subscriber.stalled)
    }
}
