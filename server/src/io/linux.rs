//! The platform that serves: io_uring, lock-free rings between threads, the system's clock.

use super::platform::{Platform, Ring};
use crate::io::clock::Clock;
use crate::io::mesh::MeshEnds;
use crate::io::offload::OffloadEnd;
use ringbolt_ring::{Chunk, Completion, Doorbell, ReceivedBuffer, Slot, Wait};
use ringbolt_shard::Nanos;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

#[derive(Debug)]
pub struct Linux {
    clock: Clock,
    nonce_key: RandomState,
    nonces: u64,
}

impl Linux {
    pub fn new(clock: Clock) -> Linux {
        Linux { clock, nonce_key: RandomState::new(), nonces: 0 }
    }
}

impl Platform for Linux {
    type Ring = LinuxRing;
    type Mesh = MeshEnds<Doorbell>;
    type Offload = OffloadEnd;

    #[inline]
    fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Two keyed hashes (SipHash) of a count.
    fn nonce(&mut self) -> u128 {
        self.nonces += 1;
        let half = |side: u8| u128::from(self.nonce_key.hash_one((self.nonces, side)));
        half(0) << 64 | half(1)
    }
}

/// A ring and the listeners it accepts from.
#[derive(Debug)]
pub struct LinuxRing {
    ring: ringbolt_ring::Ring,
    /// By number; closed ones are none.
    listeners: Vec<Option<OwnedFd>>,
}

impl LinuxRing {
    pub fn new(ring: ringbolt_ring::Ring, listeners: Vec<OwnedFd>) -> LinuxRing {
        LinuxRing { ring, listeners: listeners.into_iter().map(Some).collect() }
    }
}

impl Ring for LinuxRing {
    type Buffer = ReceivedBuffer;

    #[inline]
    fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        self.ring.turn(wait)
    }

    #[inline]
    fn next(&mut self) -> Option<Completion> {
        self.ring.next()
    }

    #[inline]
    fn bytes<'b>(&'b self, buffer: &'b ReceivedBuffer) -> &'b [u8] {
        self.ring.bytes(buffer)
    }

    #[inline]
    fn recycle(&mut self, buffer: ReceivedBuffer) {
        self.ring.recycle(buffer);
    }

    fn buffers_total(&self) -> u16 {
        self.ring.buffers_total()
    }

    fn buffers_free(&self) -> u16 {
        self.ring.buffers_free()
    }

    fn accept(&mut self, listener: u32) -> io::Result<()> {
        match &self.listeners[listener as usize] {
            Some(descriptor) => self.ring.accept(listener, descriptor.as_fd()),
            None => Ok(()),
        }
    }

    fn close_listener(&mut self, listener: u32) -> io::Result<()> {
        // Closing refuses what waits in the backlog; the accept under way holds the socket until it is
        // cancelled.
        self.listeners[listener as usize] = None;
        self.ring.cancel_accept(listener)
    }

    fn look_up_peer(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.look_up_peer(slot)
    }

    fn cancel_look_up(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.cancel_look_up(slot)
    }

    #[inline]
    fn receive(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.receive(slot)
    }

    fn receive_once(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.receive_once(slot)
    }

    fn cancel_receive(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.cancel_receive(slot)
    }

    #[inline]
    fn send(&mut self, slot: Slot, chunks: Vec<Chunk>) -> io::Result<()> {
        self.ring.send(slot, chunks)
    }

    fn shut_down(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.shut_down(slot)
    }

    fn shut_down_writes(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.shut_down_writes(slot)
    }

    fn close(&mut self, slot: Slot) -> io::Result<()> {
        self.ring.close(slot)
    }
}
