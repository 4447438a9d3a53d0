//! What the ring reports.

use crate::buffers::ReceivedBuffer;
use crate::send::Chunk;
use crate::slot::Slot;
use std::io;
use std::net::SocketAddr;

/// One finished step of an operation; `B` is what received bytes lie in.
#[derive(Debug)]
pub enum Completion<B = ReceivedBuffer> {
    /// A listener has a new connection, or stopped accepting; not `armed`, it has to be told to accept again.
    Accepted {
        listener: u32,
        outcome: AcceptOutcome,
        armed: bool,
    },
    /// Bytes arrived, or the receive ended and may have to be armed again.
    Received {
        slot: Slot,
        outcome: ReceiveOutcome<B>,
    },
    /// All chunks left, or the connection failed; the chunks come back for re-use.
    Sent {
        slot: Slot,
        bytes: usize,
        error: Option<io::Error>,
        chunks: Vec<Chunk>,
    },
    Connected {
        slot: Slot,
        error: Option<io::Error>,
    },
    ShutDown {
        slot: Slot,
    },
    /// The slot is free again.
    Closed {
        slot: Slot,
    },
    /// The answer to [`crate::Ring::look_up_peer`]; none if it has no address, or the kernel cannot tell.
    Peer {
        slot: Slot,
        address: Option<SocketAddr>,
    },
    /// Another thread rang.
    Doorbell,
}

#[derive(Debug)]
pub enum AcceptOutcome {
    Connection(Slot),
    /// Not accepting any more: cancelled, or an error such as a full descriptor table.
    Ended(io::Error),
}

#[derive(Debug)]
pub enum ReceiveOutcome<B = ReceivedBuffer> {
    /// Bytes; `armed` says whether the receive goes on by itself.
    Data {
        buffer: B,
        armed: bool,
    },
    /// The peer sends no more.
    EndOfStream,
    /// The buffers ran out: nothing is lost, arm again when some are back.
    BuffersExhausted,
    Cancelled,
    Failed(io::Error),
}
