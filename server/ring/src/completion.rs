//! What the ring reports, and how an operation is named in the 64 bits that travel through the kernel.

use crate::Slot;
use crate::buffers::ReceivedBuffer;
use crate::send::Chunk;
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept = 1,
    Receive,
    Send,
    Connect,
    ShutDown,
    Close,
    Doorbell,
    Cancel,
    Install,
}

impl Kind {
    pub(crate) fn token(self, index: u32) -> u64 {
        u64::from(self as u8) << 56 | u64::from(index)
    }

    pub(crate) fn of(token: u64) -> (Kind, u32) {
        let kind = match (token >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Connect,
            5 => Kind::ShutDown,
            6 => Kind::Close,
            7 => Kind::Doorbell,
            8 => Kind::Cancel,
            9 => Kind::Install,
            other => unreachable!("the kernel returned a token that was never issued: kind {other}"),
        };
        (kind, token as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_token_returns_its_kind_and_index() {
        for kind in
            [Kind::Accept, Kind::Receive, Kind::Send, Kind::Connect, Kind::Close, Kind::Cancel, Kind::Install]
        {
            for index in [0, 1, u32::MAX] {
                assert_eq!(Kind::of(kind.token(index)), (kind, index));
            }
        }
    }
}
