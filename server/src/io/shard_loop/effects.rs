//! What the shard decided, done.

use super::super::connection::{Ending, Receiving};
use super::ShardLoop;
use super::recorded::decide;
use crate::io::platform::{Mesh, Offload, Platform, Ring, WorkKind};
use ringbolt_ring::{Chunk, Slot};
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{Close, ConnectionId, Event, Nanos, Receive};
use std::io;
use std::time::Duration;

/// Steps that a send takes beside its bytes, and bytes that are sent in a step.
const SEND_STEPS: i64 = 40;
const SENT_BYTES_A_STEP: usize = 1024;

impl<P: Platform> ShardLoop<P> {
    pub(super) fn handle(&mut self, now: Nanos, event: Event<'_>) -> io::Result<()> {
        decide(&mut self.shard, &mut self.capture, now, event, &mut self.effects);
        self.apply(now)
    }

    /// Applies the effects in full and empties them.
    pub(super) fn apply(&mut self, now: Nanos) -> io::Result<()> {
        self.send.extend(self.effects.send.drain(..));
        self.links.append(&mut self.effects.mesh);
        self.drained |= std::mem::take(&mut self.effects.drained);
        if self.effects.is_empty() {
            return Ok(());
        }
        for place in 0..self.effects.receive.len() {
            match self.effects.receive[place] {
                (id, Receive::Pause) => self.pause(id)?,
                (id, Receive::Resume) => self.resume(id)?,
            }
        }
        for place in 0..self.effects.close.len() {
            let (id, close, reason) = self.effects.close[place];
            let (shard, reason) = (self.shard.id(), reason.name());
            tracing::debug!(shard, slot = id.slot, reason, "connection ends");
            match close {
                Close::Flush => self.flush_then_close(now, id)?,
                Close::Now => self.cut(now, id)?,
            }
        }
        for place in 0..self.effects.forgotten.len() {
            self.close_forgotten(self.effects.forgotten[place])?;
        }
        for (id, verification) in self.effects.verify.drain(..) {
            let kind = WorkKind::of(&verification);
            let patience = Duration::from_nanos(self.hello_timeout_nanos);
            if !self.offload.ask(id, verification, patience) {
                self.shard.counters_mut().add(kind.refused(), 1);
                self.unproven.push(id);
            }
        }
        self.effects.clear();
        Ok(())
    }

    pub(super) fn send_links(&mut self, now: Nanos) -> io::Result<()> {
        if self.links.is_empty() {
            return Ok(());
        }
        for shard in std::mem::take(&mut self.links) {
            let mut sent = self.mesh.send_stuck(shard);
            while self.mesh.has_room(shard) {
                let batch = self.shard.take_batch(shard);
                if let Some(recorder) = &mut self.capture {
                    recorder.batch(now, shard, batch.as_ref());
                }
                let Some(batch) = batch else { break };
                self.mesh.send(shard, batch);
                sent = true;
            }
            if sent && self.mesh.wake(shard) {
                self.shard.counters_mut().add(Counter::Doorbells, 1);
            }
            if self.mesh.has_room(shard) {
                self.handle(now, Event::MeshRoom(shard))?;
            } else {
                // Full: tried again next turn, and before this shard sleeps it asks to be told of room.
                self.links.push(shard);
            }
        }
        Ok(())
    }

    pub(super) fn send_outboxes(&mut self, now: Nanos) -> io::Result<()> {
        // Of very many, those announced last wait for the next turn: a send takes the kernel microseconds.
        let mut left = self.send_steps;
        while left > 0
            && let Some(id) = self.send.pop_front()
        {
            left -= send_steps(self.send_outbox(now, id)?);
        }
        Ok(())
    }

    /// Begins the next send of a connection. Returns its bytes.
    #[inline]
    fn send_outbox(&mut self, now: Nanos, id: ConnectionId) -> io::Result<usize> {
        let Some(connection) = self.connections.get(id) else { return Ok(0) };
        if connection.sending
            || matches!(connection.ending, Ending::ShutDown | Ending::Forgetting | Ending::Closing)
        {
            return Ok(0);
        }
        let bytes = self.shard.take_segments(now, id, &mut self.segments);
        if let Some(recorder) = &mut self.capture {
            recorder.taken(now, id, &self.segments);
        }
        if bytes == 0 {
            return Ok(0);
        }
        connection.sending = true;
        let mut chunks = self.idle_chunks.pop().unwrap_or_default();
        chunks.extend(self.segments.drain(..).map(|segment| match segment {
            Segment::Copied(bytes) => Chunk::Owned(bytes),
            Segment::Common(bytes) | Segment::Shared(bytes) => Chunk::Shared(bytes),
        }));
        self.shard.counters_mut().add(Counter::BytesOut, bytes as u64);
        self.ring.send(Slot(id.slot), chunks)?;
        Ok(bytes)
    }

    fn resume(&mut self, id: ConnectionId) -> io::Result<()> {
        let Some(connection) = self.connections.get(id) else { return Ok(()) };
        connection.wanted = true;
        self.arm(Slot(id.slot))
    }

    fn pause(&mut self, id: ConnectionId) -> io::Result<()> {
        let Some(connection) = self.connections.get(id) else { return Ok(()) };
        connection.wanted = false;
        if connection.receiving == Receiving::Armed && connection.is_open() {
            connection.receiving = Receiving::Cancelling;
            self.ring.cancel_receive(Slot(id.slot))?;
        }
        Ok(())
    }
}

/// Steps that it takes to send so many bytes: most of it is the kernel's way, whatever their number.
fn send_steps(bytes: usize) -> i64 {
    if bytes == 0 { 1 } else { SEND_STEPS + (bytes / SENT_BYTES_A_STEP) as i64 }
}
