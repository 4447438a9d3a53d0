//! Who is received from, and how much at once.
//!
//! A receive goes on by itself, and may take every buffer there is. When they run out, or what was received
//! takes much memory already, there are rations for a while.

use super::super::connection::{Ending, Receiving};
use super::ShardLoop;
use crate::io::platform::{Platform, Ring};
use ringbolt_ring::Slot;
use ringbolt_shard::metrics::Counter;
use std::io;

impl<P: Platform> ShardLoop<P> {
    /// Arms the receive of a connection unless it is armed, held back or ending; where there are rations, in
    /// its turn.
    pub(super) fn arm(&mut self, slot: Slot) -> io::Result<()> {
        let rationed = self.is_rationed();
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        if !connection.wants_more() || connection.receiving != Receiving::Idle {
            return Ok(());
        }
        if !rationed {
            connection.receiving = Receiving::Armed;
            return self.ring.receive(slot);
        }
        if !std::mem::replace(&mut connection.queued, true) {
            self.rations.ask(connection.id, connection.fed_in == self.turns);
        }
        Ok(())
    }

    /// A receive found no buffer.
    pub(super) fn starve(&mut self, slot: Slot) -> io::Result<()> {
        self.shard.counters_mut().add(Counter::ReceiveBufferExhausted, 1);
        self.rations.begin(self.turns);
        if let Some(connection) = self.connections.at(slot) {
            connection.receiving = Receiving::Idle;
        }
        self.arm(slot)
    }

    pub(super) fn is_rationed(&self) -> bool {
        self.rations.are_on(self.turns)
    }

    /// One that has been received goes on by itself: it is asked for one buffer at a time from now on.
    pub(super) fn end_multishot(&mut self, slot: Slot) -> io::Result<()> {
        let Some(connection) = self.connections.at(slot) else { return Ok(()) };
        if connection.receiving == Receiving::Armed && connection.ending == Ending::No {
            connection.receiving = Receiving::Cancelling;
            return self.ring.cancel_receive(slot);
        }
        Ok(())
    }

    /// Receives from those whose turn it is; all buffers of this turn are back by now.
    pub(super) fn hand_out(&mut self) -> io::Result<()> {
        if self.shard.is_short_of_room() {
            self.rations.begin(self.turns);
        }
        self.rations.end_turn();
        let mut free = self.ring.buffers_free();
        while free > 0
            && let Some(id) = self.rations.next()
        {
            let rationed = self.is_rationed();
            let Some(connection) = self.connections.get(id) else { continue };
            connection.queued = false;
            if connection.wants_more() && connection.receiving == Receiving::Idle {
                connection.receiving = Receiving::Armed;
                free -= 1;
                match rationed {
                    true => self.ring.receive_once(Slot(id.slot))?,
                    false => self.ring.receive(Slot(id.slot))?,
                }
            }
        }
        Ok(())
    }
}
