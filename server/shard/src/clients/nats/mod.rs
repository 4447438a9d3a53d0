//! Clients that speak the NATS protocol: what their operations do, and what they are answered.
//!
//! The rules are those of nats-server; `docs/NATS.md` names the differences.

mod access;
mod answers;
mod commands;
mod publish;
mod receive;

use super::sender::{Sender, Stage};
use crate::access::Permissions;
use crate::bus::Bus;
use crate::delivery::receiver::Receiver;
use crate::event::Opening;
use crate::identity::{ConnectionId, Nanos};
use crate::limits::Limits;
use crate::router::subjects::SubjectId;
use ringbolt_protocol::nats::{Connect, ParseLimits};
use std::rc::Rc;

#[derive(Debug)]
pub struct NatsClient {
    pub sender: Sender,
    /// The number clients and tools know the connection by.
    pub number: u64,
    pub options: Connect,
    limits: ParseLimits,
    /// Those an operation was begun under that is still unfinished, if they have changed since.
    begun_under: Option<ParseLimits>,
    /// The subject last published to, and whether it may be: most clients stay with one.
    last_subject: SubjectId,
    last_allowed: bool,
    /// The text of that subject, of a client that may not do everything: its number may be another's by then.
    last_text: Vec<u8>,
    /// For the client to sign, in hexadecimal.
    nonce: u128,
    /// The number of its user, if it had to say who it is.
    user: Option<u32>,
    /// Of the user it is to be, once that is proven.
    claimed: Option<u32>,
    permissions: Option<Rc<Permissions>>,
}

/// What a client takes in the tables that it stands in, both halves of it.
const CONNECTION_BYTES: usize = size_of::<Receiver>() + size_of::<NatsClient>() + 64;

impl NatsClient {
    /// Memory it takes, roughly, that says nothing and is sent nothing.
    pub fn own_bytes(&self) -> usize {
        CONNECTION_BYTES + self.options.own_bytes()
    }

    pub fn new(id: ConnectionId, number: u64, opening: &Opening, bus: &Bus, now: Nanos) -> NatsClient {
        let limits = bus.limits();
        // Who need not say who it is may speak at once.
        let stage = if bus.accounts.access().required() { Stage::AwaitingHello } else { Stage::Ready };
        NatsClient {
            sender: Sender::new(id, stage, opening, now),
            number,
            options: Connect::default(),
            limits: ParseLimits {
                line_bytes_max: limits.control_line_bytes_max,
                payload_bytes_max: limits.payload_bytes_max,
                headers: false,
            },
            begun_under: None,
            last_subject: SubjectId::NONE,
            last_allowed: false,
            last_text: Vec::new(),
            nonce: opening.nonce,
            user: None,
            claimed: None,
            permissions: None,
        }
    }

    /// The number of its user, if it had to say who it is.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// What it is told holds from its next operation on.
    pub fn change_limits(&mut self, limits: &Limits) {
        if self.sender.waits() {
            // What it said is judged by what it was told then; it is asked again when that is done.
            return;
        }
        if !self.sender.partial().is_empty() {
            self.begun_under.get_or_insert(self.limits);
        }
        self.limits.payload_bytes_max = limits.payload_bytes_max;
        self.limits.line_bytes_max = limits.control_line_bytes_max;
    }

    /// Whether it may publish to a subject.
    pub fn may_publish(&self, subject: &str) -> bool {
        self.permissions.as_ref().is_none_or(|permissions| permissions.may_publish(subject))
    }

    fn nonce(&self) -> String {
        format!("{:032x}", self.nonce)
    }
}
