//! Clients that speak the NATS protocol: what their operations do, and what they are answered.
//!
//! The rules are those of nats-server; `docs/NATS.md` names the differences.

mod answers;
mod commands;
mod publish;
mod receive;

use super::router::subjects::SubjectId;
use core::net::SocketAddr;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::nats::{Connect, ParseLimits};

/// The version of nats-server whose protocol and behaviour this is. Clients decide by it what they use.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// What a connection has that speaks the NATS protocol.
#[derive(Debug)]
pub struct NatsSession {
    /// The number clients and tools know the connection by.
    pub number: u64,
    pub peer: Option<SocketAddr>,
    pub options: Connect,
    pub limits: ParseLimits,
    /// The client's id of a subscription → key in the shard's table.
    pub subscriptions: HashMap<Box<[u8]>, u32, FixedState>,
    /// The subject last published to: most clients stay with one.
    last_subject: SubjectId,
    /// Answers of this connection that wait for other shards; later ones queue behind them.
    answers_waiting: u32,
}

impl NatsSession {
    pub fn new(number: u64, peer: Option<SocketAddr>, limits: ParseLimits, slot: u32) -> NatsSession {
        NatsSession {
            number,
            peer,
            options: Connect::default(),
            limits,
            subscriptions: HashMap::with_hasher(FixedState::with_seed(u64::from(slot))),
            last_subject: SubjectId::default(),
            answers_waiting: 0,
        }
    }
}
