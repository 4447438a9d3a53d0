//! How a connection ends: flushed and lingering so that the peer reads our last words, or at once.

use super::super::connection::{Ending, FLUSH_TIME_MAX, LINGER_TIME_MAX};
use super::ShardLoop;
use crate::io::platform::{Platform, Ring};
use ringbolt_ring::Slot;
use ringbolt_shard::{ConnectionId, Event, Nanos};
use std::io;

impl<P: Platform> ShardLoop<P> {
    pub(super) fn flush_then_close(&mut self, now: Nanos, id: ConnectionId) -> io::Result<()> {
        let Some(connection) = self.connections.get(id) else { return Ok(()) };
        if connection.ending != Ending::No {
            return Ok(());
        }
        connection.ending = Ending::Flushing { until: Nanos(now.0 + FLUSH_TIME_MAX.as_nanos() as u64) };
        self.ending.push(id);
        let slot = Slot(id.slot);
        self.arm(slot)?;
        self.advance_ending(now, slot)
    }

    pub(super) fn cut(&mut self, now: Nanos, id: ConnectionId) -> io::Result<()> {
        if self.connections.get(id).is_none() {
            return Ok(());
        }
        self.shut_down(now, Slot(id.slot))
    }

    /// Shuts both sides; what the kernel holds ends soon, and then the socket is closed.
    pub(super) fn shut_down(&mut self, now: Nanos, slot: Slot) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        if matches!(connection.ending, Ending::ShutDown | Ending::Forgetting | Ending::Closing) {
            return self.advance_ending(now, slot);
        }
        connection.ending = Ending::ShutDown;
        if !connection.is_quiet() {
            self.ring.shut_down(slot)?;
        }
        self.advance_ending(now, slot)
    }

    /// Takes the next step of an ending whose turn has come.
    pub(super) fn advance_ending(&mut self, now: Nanos, slot: Slot) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        match connection.ending {
            Ending::Flushing { .. } if !connection.sending && self.shard.is_flushed(connection.id) => {
                connection.ending =
                    Ending::Lingering { until: Nanos(now.0 + LINGER_TIME_MAX.as_nanos() as u64) };
                self.ring.shut_down_writes(slot)
            }
            Ending::ShutDown if connection.is_quiet() && connection.announced => {
                connection.ending = Ending::Forgetting;
                self.quiet.push(connection.id);
                Ok(())
            }
            Ending::ShutDown if connection.is_quiet() => {
                connection.ending = Ending::Closing;
                self.ring.close(slot)
            }
            _ => Ok(()),
        }
    }

    /// Tells the shard of connections that the kernel holds nothing of any more. Returns whether there were
    /// some.
    pub(super) fn tell_of_quiet(&mut self, now: Nanos) -> io::Result<bool> {
        let some = !self.quiet.is_empty();
        while let Some(id) = self.quiet.pop() {
            let Some(connection) = self.connections.get(id) else { continue };
            let departure = connection.departure;
            self.handle(now, Event::Closed(id, departure))?;
        }
        Ok(some)
    }

    /// The shard has forgotten a connection: its slot may be another's.
    pub(super) fn close_forgotten(&mut self, id: ConnectionId) -> io::Result<()> {
        let Some(connection) = self.connections.get(id) else { return Ok(()) };
        debug_assert_eq!(connection.ending, Ending::Forgetting, "it was told that nothing is left");
        connection.ending = Ending::Closing;
        self.ring.close(Slot(id.slot))
    }

    pub(super) fn overdue_endings(&mut self, now: Nanos) -> io::Result<()> {
        for id in std::mem::take(&mut self.ending) {
            let Some(connection) = self.connections.get(id) else { continue };
            if connection.overdue(now) {
                self.shut_down(now, Slot(id.slot))?;
            } else {
                self.ending.push(id);
            }
        }
        Ok(())
    }
}
