//! Clients that speak the NATS protocol: what their operations do, and what they are answered.
//!
//! The rules are those of nats-server; `docs/NATS.md` names the differences.

mod access;
mod answers;
mod commands;
mod publish;
mod receive;
mod run;

use super::event::Opening;
use super::router::subjects::SubjectId;
use super::table::Key;
use crate::HashSeed;
use crate::access::Permissions;
use access::Replies;
use core::net::SocketAddr;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::nats::{Connect, ParseLimits};
use std::rc::Rc;

/// What a connection has that speaks the NATS protocol.
#[derive(Debug)]
pub struct NatsSession {
    /// The number clients and tools know the connection by.
    pub number: u64,
    pub peer: Option<SocketAddr>,
    pub options: Connect,
    pub limits: ParseLimits,
    /// Those an operation was begun under that is still unfinished, if they have changed since.
    pub begun_under: Option<ParseLimits>,
    /// The client's id of a subscription → key in the shard's table.
    pub subscriptions: HashMap<Box<[u8]>, Key, FixedState>,
    /// The subject last published to, and whether it may be: most clients stay with one.
    last_subject: SubjectId,
    last_allowed: bool,
    /// For the client to sign, in hexadecimal.
    nonce: u128,
    /// The number of its user, if it had to say who it is.
    user: Option<u32>,
    permissions: Option<Rc<Permissions>>,
    /// Reply subjects it may publish to once or a few times.
    replies: Replies,
    /// Answers of this connection that wait for other shards; later ones queue behind them.
    answers_waiting: u32,
}

impl NatsSession {
    /// The number of its user, if it had to say who it is.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    fn nonce(&self) -> String {
        format!("{:032x}", self.nonce)
    }

    pub fn new(number: u64, opening: &Opening, limits: ParseLimits, hash_seed: HashSeed) -> NatsSession {
        NatsSession {
            number,
            peer: opening.peer,
            nonce: opening.nonce,
            user: None,
            permissions: None,
            replies: Replies::new(hash_seed),
            last_allowed: true,
            options: Connect::default(),
            limits,
            begun_under: None,
            subscriptions: HashMap::with_hasher(hash_seed.table()),
            last_subject: SubjectId::default(),
            answers_waiting: 0,
        }
    }
}
