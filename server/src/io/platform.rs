//! What a shard's loop stands on: a ring of operations on sockets, the mesh to the other shards, a place for
//! slow work, a clock. The loop is compiled for each platform: for Linux here, for the simulator in `sim`.

use ringbolt_ring::{Chunk, Completion, Slot, Wait};
use ringbolt_shard::access::{Verdict, Verification};
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Nanos, ShardId};
use std::io;
use std::time::Duration;

pub trait Platform {
    type Ring: Ring;
    type Mesh: Mesh;
    type Offload: Offload;

    /// Monotonic time; it never goes back.
    fn now(&self) -> Nanos;

    /// A number nobody can guess.
    fn nonce(&mut self) -> u128;
}

/// Operations on sockets, by slot, and on listeners, by number. What they did is told by [`Ring::next`].
pub trait Ring {
    /// Bytes that were received; they are given back in the turn they came.
    type Buffer;

    /// Submits what was asked for, waits as told, and reports whether completions are there.
    fn turn(&mut self, wait: Wait) -> io::Result<bool>;
    fn next(&mut self) -> Option<Completion<Self::Buffer>>;

    fn bytes<'b>(&'b self, buffer: &'b Self::Buffer) -> &'b [u8];
    fn recycle(&mut self, buffer: Self::Buffer);
    fn buffers_total(&self) -> u16;
    fn buffers_free(&self) -> u16;

    fn accept(&mut self, listener: u32) -> io::Result<()>;
    /// Refuses what waits to be accepted and everything after it.
    fn close_listener(&mut self, listener: u32) -> io::Result<()>;
    /// Answered by [`Completion::Peer`], also when it is cancelled.
    fn look_up_peer(&mut self, slot: Slot) -> io::Result<()>;
    fn cancel_look_up(&mut self, slot: Slot) -> io::Result<()>;
    /// Receives until the end, an error, a cancellation or lack of buffers.
    fn receive(&mut self, slot: Slot) -> io::Result<()>;
    /// Likewise, into one buffer.
    fn receive_once(&mut self, slot: Slot) -> io::Result<()>;
    fn cancel_receive(&mut self, slot: Slot) -> io::Result<()>;
    /// One send at a time a slot.
    fn send(&mut self, slot: Slot, chunks: Vec<Chunk>) -> io::Result<()>;
    fn shut_down(&mut self, slot: Slot) -> io::Result<()>;
    fn shut_down_writes(&mut self, slot: Slot) -> io::Result<()>;
    fn close(&mut self, slot: Slot) -> io::Result<()>;
}

/// One shard's ends of the links to the others.
pub trait Mesh {
    /// Sends what an earlier [`Mesh::send`] found no room for. Returns whether it did so.
    fn send_stuck(&mut self, shard: ShardId) -> bool;

    /// Whether the link takes a batch: nothing is stuck.
    fn has_room(&self, shard: ShardId) -> bool;

    /// Sends a batch; one that finds no room is stuck.
    fn send(&mut self, shard: ShardId, batch: MeshBatch);

    /// Whether what is stuck, or the next batch, would find room now.
    fn would_move(&self, shard: ShardId) -> bool;

    /// The next batch of another shard.
    fn receive(&mut self, from: ShardId) -> Option<MeshBatch>;
    fn has_inbound(&self) -> bool;
    fn shards(&self) -> ShardId;

    /// Wakes a shard if it sleeps. Returns whether it had to be.
    fn wake(&self, shard: ShardId) -> bool;

    /// Asks `shard` to wake this one once it has taken batches off a link that has no room.
    fn ask_for_room(&self, shard: ShardId);

    /// Batches of `from` were taken: if it asked for room, it is woken.
    fn tell_of_room(&self, from: ShardId);

    /// Announces that this shard is about to sleep. The caller looks once more at everything that could
    /// wake it.
    fn lie_down(&self);
    fn get_up(&self);
}

/// Kinds of slow work; none waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkKind {
    /// Milliseconds each, by design.
    PasswordHash,
    /// Microseconds each.
    Signature,
}

impl WorkKind {
    pub const ALL: [WorkKind; 2] = [WorkKind::PasswordHash, WorkKind::Signature];

    pub fn of(verification: &Verification) -> WorkKind {
        match verification {
            Verification::Bcrypt { .. } => WorkKind::PasswordHash,
            Verification::Signature { .. } => WorkKind::Signature,
        }
    }

    /// What counts those that wait.
    pub fn waiting(self) -> Counter {
        match self {
            WorkKind::PasswordHash => Counter::OffloadWaitingPasswordHash,
            WorkKind::Signature => Counter::OffloadWaitingSignature,
        }
    }

    /// What counts those that found no room.
    pub fn refused(self) -> Counter {
        match self {
            WorkKind::PasswordHash => Counter::OffloadRefusedPasswordHash,
            WorkKind::Signature => Counter::OffloadRefusedSignature,
        }
    }
}

/// One shard's end of slow work that is done elsewhere; the shard is woken when an outcome is there.
pub trait Offload {
    /// Hands a proof over, which nobody waits for any more after `patience`. Returns whether there was room
    /// for it among those of its kind.
    fn ask(&mut self, id: ConnectionId, verification: Verification, patience: Duration) -> bool;
    /// Proofs of this shard that nobody has begun to check.
    fn waiting(&self, kind: WorkKind) -> usize;
    /// Whether outcomes may be there.
    fn is_ready(&self) -> bool;
    /// Taken until there is none.
    fn outcome(&mut self) -> Option<(ConnectionId, Verdict)>;
}
