//! A connection as the edge sees it: which operations the kernel holds, and how far its end has come.

use ringbolt_ring::Slot;
use ringbolt_shard::{ConnectionId, Departure, Dialect, Nanos, Transport};
use std::time::Duration;

/// A peer gets this long to read what its outbox still held.
pub const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);
/// A peer gets this long to close its side after ours. Closing with bytes unread would reset the
/// connection, and the peer could lose the frame that tells it why.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// What is known of a connection by its listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    pub dialect: Dialect,
    pub transport: Transport,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiving {
    Idle,
    Armed,
    /// A cancel is on its way to an armed receive.
    Cancelling,
}

/// The end of a connection, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    No,
    /// Close when the outbox is empty.
    Flushing {
        until: Nanos,
    },
    /// Our side is shut; the peer's end of stream is awaited, so that it reads our last bytes.
    Lingering {
        until: Nanos,
    },
    /// Both sides are shut; when no operation is left in the kernel, the shard is told.
    ShutDown,
    /// The shard gives back what the connection had; closed when it has forgotten it, so that nobody else
    /// gets its slot before.
    Forgetting,
    /// The close itself is in the kernel.
    Closing,
}

#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub listening: Listening,
    pub accepted: Nanos,
    /// The kernel looks its peer up; the shard does not know of it yet.
    pub looking_up: bool,
    /// The shard knows of it.
    pub announced: bool,
    pub receiving: Receiving,
    /// The shard wants bytes; false while it holds the publisher back.
    pub wanted: bool,
    pub sending: bool,
    pub ending: Ending,
    pub departure: Departure,
    /// The turn in which it last received something.
    pub fed_in: u64,
    /// It waits to be received from.
    pub queued: bool,
    /// It is among the NATS clients of all shards.
    pub counted: bool,
}

impl Connection {
    pub fn new(id: ConnectionId, listening: Listening, accepted: Nanos) -> Connection {
        Connection {
            id,
            listening,
            accepted,
            looking_up: false,
            announced: false,
            receiving: Receiving::Idle,
            wanted: true,
            sending: false,
            ending: Ending::No,
            departure: Departure::Ordinary,
            fed_in: 0,
            queued: false,
            counted: false,
        }
    }

    /// Whether received bytes still concern the shard.
    pub fn is_open(&self) -> bool {
        self.ending == Ending::No
    }

    /// Whether more is to be received, be it to be discarded.
    pub fn wants_more(&self) -> bool {
        let discarding = matches!(self.ending, Ending::Flushing { .. } | Ending::Lingering { .. });
        (self.is_open() && self.wanted) || discarding
    }

    /// Whether the kernel holds nothing of this connection.
    pub fn is_quiet(&self) -> bool {
        self.receiving == Receiving::Idle && !self.sending && !self.looking_up
    }

    pub fn overdue(&self, now: Nanos) -> bool {
        match self.ending {
            Ending::Flushing { until } | Ending::Lingering { until } => now >= until,
            _ => false,
        }
    }
}

/// All connections of a shard's edge, by slot.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<Connection>>,
    generation: u32,
    count: usize,
}

impl Connections {
    pub fn open(&mut self, slot: Slot, listening: Listening, now: Nanos) -> &mut Connection {
        let index = slot.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        assert!(self.slots[index].is_none(), "the kernel gave out a slot that is in use");
        self.generation = self.generation.wrapping_add(1);
        let id = ConnectionId { slot: slot.0, generation: self.generation };
        self.count += 1;
        self.slots[index].insert(Connection::new(id, listening, now))
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Connection> {
        let connection = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.count -= 1;
        Some(connection)
    }

    #[inline]
    pub fn at(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    #[inline]
    pub fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.at(Slot(id.slot)).filter(|connection| connection.id == id)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
