//! What the kernel finished, told to the shard.

use super::super::connection::{Ending, Listening, Receiving};
use super::ShardLoop;
use super::recorded::decide;
use crate::io::platform::{Platform, Ring};
use ringbolt_ring::{AcceptOutcome, Chunk, Completion, ReceiveOutcome, Slot};
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{Departure, Dialect, Event, Nanos, Opening, Room, Transport};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Vectors of chunks kept for the next sends.
const IDLE_CHUNKS_MAX: usize = 256;

impl<P: Platform> ShardLoop<P> {
    pub(super) fn completions(&mut self, now: Nanos) -> io::Result<bool> {
        let mut worked = false;
        while let Some(completion) = self.ring.next() {
            worked = true;
            match completion {
                Completion::Received { slot, outcome } => self.received(now, slot, outcome)?,
                Completion::Sent { slot, error, chunks, .. } => self.sent(now, slot, error, chunks)?,
                Completion::Accepted { listener, outcome, armed } => {
                    if let Some(listener) = self.listeners.get_mut(listener as usize) {
                        listener.accepting = armed;
                    }
                    self.accepted(now, listener, outcome)?;
                }
                Completion::Peer { slot, address } => self.looked_up(now, slot, address)?,
                Completion::Closed { slot } => self.closed(slot),
                // The reason for ringing is found where it was put; a shut-down socket reports the
                // end of its receive by itself.
                Completion::Doorbell | Completion::ShutDown { .. } => {}
                Completion::Connected { .. } => unreachable!("the server connects to nobody"),
            }
        }
        Ok(worked)
    }

    fn accepted(&mut self, now: Nanos, listener: u32, outcome: AcceptOutcome) -> io::Result<()> {
        match outcome {
            AcceptOutcome::Connection(slot) => {
                // The kernel may give a slot out again before it reports that the close is done.
                self.closed(slot);
                let listening = self.listening[listener as usize];
                let connection = self.connections.open(slot, listening, now);
                match listening.transport {
                    Transport::Tcp => {
                        connection.looking_up = true;
                        self.opening.push_back(connection.id);
                        self.ring.look_up_peer(slot)
                    }
                    // It has no address.
                    Transport::Unix => self.announce(now, slot, None),
                }
            }
            AcceptOutcome::Ended(error) => {
                if !self.listeners.is_empty() {
                    // Out of descriptors or slots: the next tick tries again.
                    self.shard.counters_mut().add(Counter::ConnectionsRefused, 1);
                    if let Some(times) = self.accept_failures.happened(Duration::from_nanos(now.0)) {
                        tracing::warn!(%error, times, "accepting paused until the next tick");
                    }
                }
                Ok(())
            }
        }
    }

    fn looked_up(&mut self, now: Nanos, slot: Slot, peer: Option<SocketAddr>) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        connection.looking_up = false;
        if connection.is_open() { self.announce(now, slot, peer) } else { self.advance_ending(now, slot) }
    }

    /// Makes a connection known to the shard.
    fn announce(&mut self, now: Nanos, slot: Slot, peer: Option<SocketAddr>) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        let (id, age_nanos) = (connection.id, now.since(connection.accepted));
        let Listening { dialect, transport } = connection.listening;
        let nonce = self.platform.nonce();
        let counted = dialect == Dialect::Nats && self.count_in();
        let room = if dialect == Dialect::Nats && !counted { Room::Full } else { Room::Free };
        if let Some(connection) = self.connections.at(slot) {
            (connection.announced, connection.counted) = (true, counted);
        }
        let opening = Opening { dialect, transport, peer, age_nanos, nonce, room };
        self.handle(now, Event::Opened(id, opening))?;
        self.arm(slot)
    }

    /// Connections that the shard does not know of yet, although their time to be admitted in is over.
    pub(super) fn overdue_openings(&mut self, now: Nanos) -> io::Result<()> {
        while let Some(&id) = self.opening.front() {
            let waiting = self.connections.get(id).filter(|connection| connection.looking_up);
            let accepted = waiting.map(|connection| connection.accepted);
            if accepted.is_some_and(|accepted| now.since(accepted) <= self.hello_timeout_nanos) {
                return Ok(());
            }
            self.opening.pop_front();
            if accepted.is_some() {
                let slot = Slot(id.slot);
                self.shard.counters_mut().add(Counter::ConnectionsRefused, 1);
                self.ring.cancel_look_up(slot)?;
                self.shut_down(now, slot)?;
            }
        }
        Ok(())
    }

    /// Counts a NATS client. Returns whether there was room for it.
    fn count_in(&self) -> bool {
        let before = self.orders.nats_connections.fetch_add(1, Ordering::Relaxed);
        let room = before < self.nats_connections_max;
        if !room {
            // Who is refused takes nobody's place until it has read so.
            self.orders.nats_connections.fetch_sub(1, Ordering::Relaxed);
        }
        room
    }

    fn received(
        &mut self,
        now: Nanos,
        slot: Slot,
        outcome: ReceiveOutcome<<P::Ring as Ring>::Buffer>,
    ) -> io::Result<()> {
        match outcome {
            ReceiveOutcome::Data { buffer, armed } => self.data(now, slot, buffer, armed),
            ReceiveOutcome::BuffersExhausted => {
                self.starve(slot)?;
                // It may have been the last the kernel held of one that ends.
                self.advance_ending(now, slot)
            }
            ReceiveOutcome::Cancelled => {
                if let Some(connection) = self.connections.at(slot) {
                    connection.receiving = Receiving::Idle;
                }
                self.arm(slot)?;
                self.advance_ending(now, slot)
            }
            ReceiveOutcome::EndOfStream => self.receive_ended(now, slot, Departure::Ordinary),
            ReceiveOutcome::Failed(_) => self.receive_ended(now, slot, Departure::Failed),
        }
    }

    #[inline]
    fn data(
        &mut self,
        now: Nanos,
        slot: Slot,
        buffer: <P::Ring as Ring>::Buffer,
        armed: bool,
    ) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else {
            self.ring.recycle(buffer);
            return Ok(());
        };
        connection.fed_in = self.turns;
        if !armed {
            connection.receiving = Receiving::Idle;
        }
        if connection.is_open() {
            let id = connection.id;
            let bytes = self.ring.bytes(&buffer);
            let (shard, effects) = (&mut self.shard, &mut self.effects);
            decide(shard, &mut self.capture, now, Event::Bytes(id, bytes), effects);
            self.ring.recycle(buffer);
            self.apply(now)?;
        } else {
            self.ring.recycle(buffer);
        }
        if !armed {
            self.arm(slot)?;
            self.advance_ending(now, slot)?;
        } else if self.is_rationed() {
            self.end_multishot(slot)?;
        }
        Ok(())
    }

    fn receive_ended(&mut self, now: Nanos, slot: Slot, departure: Departure) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        connection.receiving = Receiving::Idle;
        if connection.is_open() {
            if departure == Departure::Failed {
                connection.departure = departure;
            }
            if self.shard.has_more_of(connection.id) {
                // What came before its end is handled first: received from again, it ends again.
                return Ok(());
            }
        }
        match connection.ending {
            // Both ways are over: a peer that has shut its side reads no answer we would queue.
            Ending::No | Ending::Flushing { .. } | Ending::Lingering { .. } => self.shut_down(now, slot),
            Ending::ShutDown | Ending::Forgetting | Ending::Closing => self.advance_ending(now, slot),
        }
    }

    fn sent(
        &mut self,
        now: Nanos,
        slot: Slot,
        error: Option<io::Error>,
        mut chunks: Vec<Chunk>,
    ) -> io::Result<()> {
        for chunk in chunks.drain(..) {
            self.shard.recycle(match chunk {
                Chunk::Owned(bytes) => Segment::Copied(bytes),
                Chunk::Shared(bytes) => Segment::Shared(bytes),
                Chunk::Received(_) => unreachable!("received buffers go back in the turn they came"),
            });
        }
        if self.idle_chunks.len() < IDLE_CHUNKS_MAX {
            self.idle_chunks.push(chunks);
        }
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        connection.sending = false;
        let id = connection.id;
        if error.is_some() {
            if connection.is_open() {
                connection.departure = Departure::Failed;
            }
            return self.shut_down(now, slot);
        }
        self.handle(now, Event::Sent(id))?;
        self.advance_ending(now, slot)
    }

    fn closed(&mut self, slot: Slot) {
        if self.connections.at(slot).is_none_or(|connection| connection.ending != Ending::Closing) {
            return;
        }
        let Some(connection) = self.connections.remove(slot) else { return };
        if connection.counted {
            self.orders.nats_connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
