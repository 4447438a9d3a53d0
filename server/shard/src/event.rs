//! All that can happen to a shard, and all it can ask of its edge.

use super::identity::{ConnectionId, ShardId};
use super::mesh::MeshBatch;
use crate::access::{Access, Verdict, Verification};
use crate::closing::CloseReason;
use crate::limits::Limits;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// The only way in. Events are plain data, so that they can be recorded and replayed; what an event is
/// answered is in the [`Effects`].
#[derive(Debug)]
pub enum Event<'a> {
    /// The edge accepted a connection.
    Opened(ConnectionId, Opening),
    /// Bytes of a connection, in order, cut anywhere.
    Bytes(ConnectionId, &'a [u8]),
    /// The outcome of a verification that was asked for.
    Verified(ConnectionId, Verdict),
    /// The segments last taken from this connection's outbox have left.
    Sent(ConnectionId),
    /// The edge has let go of the connection; its slot may come back under a new generation.
    Closed(ConnectionId, Departure),
    /// A batch from another shard. Batches of one shard arrive in the order they were taken.
    Mesh(ShardId, &'a MeshBatch),
    /// The batch last taken for this shard is on its way: there is room for the next.
    MeshRoom(ShardId),
    /// A turn of the edge begins, and somebody waited for it. Wanted while [`super::Shard::is_behind`].
    Continue,
    /// Time passed. Wanted about every [`super::TICK_NANOS`].
    Tick,
    /// Who may connect from now on, and the limits; clients that no longer may are closed. Only those of
    /// [`Limits::take_over`] change.
    Settings(&'a Access, &'a Limits),
    /// Publish dead letters anew as they were, the one of that number or all. [`Effects::letters`] counts
    /// those that were taken.
    ReplayLetters(Option<u64>),
    /// Forget dead letters likewise. [`Effects::letters`] counts those that were there.
    PurgeLetters(Option<u64>),
    /// Tell the clients to leave, close them little by little, and stop when all are gone.
    LameDuck,
    /// Refuse new work, deliver what was accepted, then close.
    Drain,
}

/// What a connection speaks; its listener says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Dialect {
    Native,
    Nats,
}

/// What carries the bytes of a connection; its listener says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Transport {
    Tcp,
    /// A socket of this host; it has no address.
    Unix,
}

/// What is known of a connection from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opening {
    pub dialect: Dialect,
    pub transport: Transport,
    /// Where it comes from, if the edge could tell.
    pub peer: Option<SocketAddr>,
    /// How long ago it was accepted: the time to be admitted in is counted from then on.
    pub age_nanos: u64,
    /// What nobody can guess, for a client to sign.
    pub nonce: u128,
    pub room: Room,
}

/// Whether the server as a whole can hold one more connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Room {
    Free,
    Full,
}

impl Opening {
    pub const NATIVE: Opening = Opening {
        dialect: Dialect::Native,
        transport: Transport::Tcp,
        peer: None,
        age_nanos: 0,
        nonce: 0,
        room: Room::Free,
    };
}

/// Who ended a connection, as the edge saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Departure {
    /// The peer closed, or the shard had asked for it.
    Ordinary,
    /// The socket failed.
    Failed,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// Stop receiving, send what the outbox holds, then close.
    Flush,
    /// Drop what is queued.
    Now,
}

/// Whether the edge is to receive from a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receive {
    /// Its publisher is held back.
    Pause,
    Resume,
}

/// What the edge must do, in full, before the next event. The order within each list is kept.
#[derive(Debug, Default)]
pub struct Effects {
    /// Outboxes that turned from idle to ready: send at the end of the turn.
    pub send: Vec<ConnectionId>,
    /// From whom to receive no more, and from whom again: of a connection the last counts.
    pub receive: Vec<(ConnectionId, Receive)>,
    /// Which to end, how, and why.
    pub close: Vec<(ConnectionId, Close, CloseReason)>,
    /// Proofs to check on another thread; each is answered by [`Event::Verified`].
    pub verify: Vec<(ConnectionId, Verification)>,
    /// Links that turned from idle to ready: take a batch at the end of the turn.
    pub mesh: Vec<ShardId>,
    /// Connections that the edge has nothing of any more and that are forgotten: their places may be others'.
    pub forgotten: Vec<ConnectionId>,
    /// Dead letters that were replayed or purged, if the event asked for that.
    pub letters: Option<u64>,
    /// Every connection is gone and nothing more can arrive: the shard may stop.
    pub drained: bool,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.receive.is_empty()
            && self.close.is_empty()
            && self.verify.is_empty()
            && self.mesh.is_empty()
            && self.forgotten.is_empty()
            && self.letters.is_none()
            && !self.drained
    }

    pub fn clear(&mut self) {
        self.send.clear();
        self.receive.clear();
        self.close.clear();
        self.verify.clear();
        self.mesh.clear();
        self.forgotten.clear();
        self.letters = None;
        self.drained = false;
    }
}
