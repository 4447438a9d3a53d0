//! What the sending half of a connection is, whatever it speaks.

use crate::event::Opening;
use crate::identity::{AccountId, ConnectionId, Nanos};
use core::net::SocketAddr;

/// How far a client has come in saying who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Connected; only HELLO, or a CONNECT with credentials, is acceptable.
    AwaitingHello,
    /// What the client claims to be is being verified; what it says meanwhile waits.
    Verifying,
    Ready,
}

#[derive(Debug)]
pub struct Sender {
    pub id: ConnectionId,
    pub stage: Stage,
    pub account: AccountId,
    pub peer: Option<SocketAddr>,
    pub opened_at: Nanos,
    pub received_at: Nanos,
    pub pings_outstanding: u8,
    pub messages_in: u64,
    pub bytes_in: u64,
    /// The beginning of a frame or operation whose rest has not arrived.
    pub partial: Vec<u8>,
}

impl Sender {
    pub fn new(id: ConnectionId, stage: Stage, opening: &Opening, now: Nanos) -> Sender {
        Sender {
            id,
            stage,
            account: AccountId::GLOBAL,
            peer: opening.peer,
            opened_at: now,
            received_at: now,
            pings_outstanding: 0,
            messages_in: 0,
            bytes_in: 0,
            partial: Vec::new(),
        }
    }

    /// Any received byte proves the client alive.
    #[inline]
    pub fn heard(&mut self, now: Nanos) {
        self.received_at = now;
        self.pings_outstanding = 0;
    }

    #[inline]
    pub fn count(&mut self, messages: u64, payload_bytes: usize) {
        self.messages_in += messages;
        self.bytes_in += payload_bytes as u64;
    }
}
