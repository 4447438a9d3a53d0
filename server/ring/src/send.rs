//! Sends in flight: the ring owns the bytes until the kernel is done with them.
#![allow(unsafe_code)]

use crate::buffers::LentBuffer;
use crate::slot::Slot;
use crate::token::Kind;
use bytes::Bytes;
use io_uring::{opcode, squeue, types};

/// At most this many chunks leave in one send; the kernel's own limit is `UIO_MAXIOV` = 1024.
pub(crate) const CHUNKS_MAX: usize = 256;

/// Bytes to send.
#[derive(Debug)]
pub enum Chunk {
    /// A buffer of the caller's that comes back for re-use.
    Owned(Vec<u8>),
    /// Bytes shared with other connections.
    Shared(Bytes),
    /// A received buffer, sent from where the kernel wrote it.
    Received(LentBuffer),
}

impl Chunk {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
            Chunk::Received(buffer) => buffer.bytes(),
        }
    }
}

/// One send in flight. Boxed by its owner: the kernel holds pointers into it.
pub(crate) struct SendOperation {
    chunks: Vec<Chunk>,
    vectors: Vec<libc::iovec>,
    message: libc::msghdr,
    total_bytes: usize,
    sent_bytes: usize,
}

// SAFETY: the raw pointers refer only to memory this value owns.
unsafe impl Send for SendOperation {}

impl SendOperation {
    pub(crate) fn new() -> SendOperation {
        SendOperation {
            chunks: Vec::new(),
            vectors: Vec::new(),
            // SAFETY: an all-zero msghdr is a valid empty one.
            message: unsafe { std::mem::zeroed() },
            total_bytes: 0,
            sent_bytes: 0,
        }
    }

    pub(crate) fn load(&mut self, chunks: Vec<Chunk>) {
        assert!(self.chunks.is_empty(), "one send at a time a connection");
        assert!(!chunks.is_empty() && chunks.len() <= CHUNKS_MAX, "1..=256 chunks a send");
        self.total_bytes = chunks.iter().map(|chunk| chunk.bytes().len()).sum();
        self.sent_bytes = 0;
        self.chunks = chunks;
    }

    pub(crate) fn unload(&mut self) -> Vec<Chunk> {
        self.vectors.clear();
        std::mem::take(&mut self.chunks)
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.sent_bytes += bytes;
        assert!(self.sent_bytes <= self.total_bytes, "the kernel sent more than it was given");
    }

    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    pub(crate) fn done(&self) -> bool {
        self.sent_bytes == self.total_bytes
    }

    /// The submission for what is left. The operation must stay where it is until it completes.
    pub(crate) fn entry(&mut self, slot: Slot) -> squeue::Entry {
        // MSG_WAITALL makes the kernel itself go on after a short send.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let mut skip = self.sent_bytes;
        self.vectors.clear();
        for chunk in &self.chunks {
            let bytes = chunk.bytes();
            if skip >= bytes.len() {
                skip -= bytes.len();
                continue;
            }
            let rest = &bytes[skip..];
            skip = 0;
            let iov_base = rest.as_ptr().cast_mut().cast();
            self.vectors.push(libc::iovec { iov_base, iov_len: rest.len() });
        }
        let token = Kind::Send.token(slot.0);
        if let [only] = self.vectors[..] {
            let bytes = u32::try_from(only.iov_len).unwrap_or(u32::MAX);
            let send = opcode::Send::new(types::Fixed(slot.0), only.iov_base.cast(), bytes).flags(flags);
            return send.build().user_data(token);
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = self.vectors.len();
        let message = std::ptr::from_ref(&self.message);
        let send = opcode::SendMsg::new(types::Fixed(slot.0), message).flags(flags as u32);
        send.build().user_data(token)
    }
}
