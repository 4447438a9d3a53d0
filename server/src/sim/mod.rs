//! A server without an operating system: shards, links and sockets in simulated time.
//!
//! Everything the edge would do happens here in steps that the caller chooses, in any order a kernel could
//! choose, so that a run can be repeated from its seed.

pub mod edge;
pub mod nats_client;

mod client;

pub use client::{Received, SimClient};

use ringbolt_shard::access::Access;
use ringbolt_shard::delivery::Segment;
use ringbolt_shard::limits::{Limits, Shares, SlowConsumerPolicy};
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{
    Close, CloseReason, ConnectionId, Departure, Effects, Event, Nanos, Opening, Receive, ServerIdentity,
    Shard, ShardId,
};
use std::collections::{BTreeSet, VecDeque};

/// Bytes of a client received at once while everything settles.
const SETTLE_BYTES: usize = 512;

/// Small bounds, so that simulations reach them.
pub fn small_limits(shards: usize) -> Limits {
    Limits {
        shards,
        connections_max: 64,
        nats_connections_max: 64,
        subscriptions_max: 16,
        interned_subjects_max: 8,
        subjects_max: 32,
        payload_bytes_max: 4096,
        control_line_bytes_max: 512,
        outbox_bytes_max: 16 << 10,
        slow_consumer: SlowConsumerPolicy::Disconnect,
        pause_publisher_by_clients: true,
        slow_consumer_by_subject: Vec::new(),
        outbox_segment_bytes: 1024,
        shared_payload_bytes_min: 512,
        mesh_pending_bytes_max: 16 << 10,
        mesh_batch_bytes: 1024,
        mesh_ring_batches: 2,
        receive_buffer_bytes: 4096,
        receive_buffers: 4,
        ring_entries: 64,
        turn_steps: u32::MAX,
        client_steps: u32::MAX,
        piece_steps: u32::MAX,
        hello_timeout_nanos: 5_000_000_000,
        ping_interval_nanos: 30_000_000_000,
        ping_outstanding_max: 2,
        drain_nanos_max: 10_000_000_000,
        lame_duck_grace_nanos: 1_000_000_000,
        lame_duck_nanos: 10_000_000_000,
        send_stall_nanos_max: 10_000_000_000,
        buffer_pool_max: 16,
        lane_shares: Shares::default(),
        work_bytes_max: 1 << 20,
        memory_bytes_max: 1 << 30,
        dead_letters_bytes_max: 1 << 16,
        deferred_bytes_max: 1 << 30,
        gathered_bytes_max: 1 << 30,
        gathered_bytes_min: 1024,
    }
}

/// What turns and clients may take: so little that most wait for a turn, some, or all there is.
pub fn some_steps(seed: u64) -> (u32, u32) {
    [(20, 5), (200, 50), (u32::MAX, u32::MAX)][(seed % 3) as usize]
}

/// What a fan-out may take at once: so little that most go on in later turns, some, or all there is.
pub fn some_pieces(seed: u64) -> u32 {
    [u32::MAX, 4, 8][(seed / 3 % 3) as usize]
}

/// What large messages may take that have begun: so little that only one is gathered at a time, or all.
pub fn some_room(seed: u64) -> usize {
    if seed.is_multiple_of(2) { 1 } else { 1 << 30 }
}

/// What happens to who takes too little, if nothing else was asked for.
pub fn some_policy(seed: u64) -> SlowConsumerPolicy {
    if seed.is_multiple_of(4) { SlowConsumerPolicy::Disconnect } else { SlowConsumerPolicy::Hold }
}

/// A socket's two ends, as the edge sees it.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    shard: ShardId,
    /// Written by the client, not yet received.
    inbound: VecDeque<u8>,
    received_bytes: u64,
    /// Sent, and not finished.
    flight: Vec<Segment>,
    /// The shard announced something to send.
    ready: bool,
    paused: bool,
    closing: Option<Close>,
    /// It was cut in a turn in which so much was heard that had waited that it could not keep up.
    overwhelmed: bool,
    gone: bool,
    /// What it had is gone, too.
    forgotten: bool,
}

/// What a world does wrong on purpose, to see that an oracle notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    LoseABatch,
    SwapTwoBatches,
    DeliverABatchTwice,
}

#[derive(Debug)]
pub struct World {
    limits: Limits,
    pub now: Nanos,
    shards: Vec<Shard>,
    /// Rings between shards, by sender and receiver.
    rings: Vec<Vec<VecDeque<MeshBatch>>>,
    /// Links each shard announced.
    links: Vec<BTreeSet<ShardId>>,
    connections: Vec<Connection>,
    pub clients: Vec<SimClient>,
    drained: Vec<bool>,
    effects: Effects,
    pub sabotage: Option<Sabotage>,
    /// What had waited for the turn that is going on.
    waited_bytes: usize,
}

impl World {
    pub fn new(limits: Limits, seed: u64) -> World {
        let count = limits.shards;
        let identity = ServerIdentity {
            server_id: "0".to_owned(),
            server_name: "simulated".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reply_key: (0, 0),
            unix_epoch_nanos: 0,
            nats: None,
        };
        let shards = (0..count as ShardId)
            .map(|id| {
                Shard::new(id, &limits, &Access::default(), identity.clone(), seed, seed ^ u64::from(id))
            })
            .collect();
        World {
            now: Nanos(1),
            shards,
            rings: (0..count).map(|_| (0..count).map(|_| VecDeque::new()).collect()).collect(),
            links: vec![BTreeSet::new(); count],
            connections: Vec::new(),
            clients: Vec::new(),
            drained: vec![false; count],
            effects: Effects::default(),
            sabotage: None,
            waited_bytes: 0,
            limits,
        }
    }

    /// Opens a connection on a shard. Clients and connections have the same numbers.
    pub fn connect(&mut self, shard: ShardId) -> usize {
        let number = self.connections.len();
        // Slots come back in real life; generations tell the uses apart, and so do these.
        let id = ConnectionId { slot: number as u32, generation: number as u32 + 1 };
        self.connections.push(Connection {
            id,
            shard,
            inbound: VecDeque::new(),
            received_bytes: 0,
            flight: Vec::new(),
            ready: false,
            paused: false,
            closing: None,
            overwhelmed: false,
            gone: false,
            forgotten: false,
        });
        self.clients.push(SimClient::default());
        self.handle(shard, Event::Opened(id, Opening::NATIVE));
        number
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// A client writes what it has gathered.
    pub fn write(&mut self, client: usize) {
        let bytes = self.clients[client].take_written();
        self.connections[client].inbound.extend(bytes);
    }

    /// The shard receives up to `bytes` of what a client wrote. Returns whether there was anything.
    pub fn receive(&mut self, client: usize, bytes: usize) -> bool {
        let connection = &mut self.connections[client];
        if connection.paused || connection.closing.is_some() || connection.gone {
            return false;
        }
        let bytes = bytes.min(connection.inbound.len());
        if bytes == 0 {
            return false;
        }
        let chunk: Vec<u8> = connection.inbound.drain(..bytes).collect();
        connection.received_bytes += bytes as u64;
        let (shard, id) = (connection.shard, connection.id);
        self.handle(shard, Event::Bytes(id, &chunk));
        true
    }

    /// The edge takes what is announced for a client and begins to send it.
    pub fn begin_send(&mut self, client: usize) -> bool {
        let connection = &mut self.connections[client];
        if !connection.ready || !connection.flight.is_empty() || connection.gone {
            return false;
        }
        connection.ready = false;
        let (shard, id) = (usize::from(connection.shard), connection.id);
        let taken = self.shards[shard].take_segments(self.now, id, &mut connection.flight);
        taken > 0
    }

    /// A send ends: the client has the bytes.
    pub fn end_send(&mut self, client: usize) -> bool {
        let connection = &mut self.connections[client];
        if connection.flight.is_empty() || connection.gone {
            return false;
        }
        let (shard, id) = (connection.shard, connection.id);
        for segment in std::mem::take(&mut connection.flight) {
            self.clients[client].read(segment.bytes());
            self.shards[usize::from(shard)].recycle(segment);
        }
        self.handle(shard, Event::Sent(id));
        true
    }

    /// A batch goes into the ring between two shards, if there is room.
    pub fn send_batch(&mut self, from: ShardId, to: ShardId) -> bool {
        let ring = &mut self.rings[usize::from(from)][usize::from(to)];
        if !self.links[usize::from(from)].contains(&to) || ring.len() >= self.limits.mesh_ring_batches {
            return false;
        }
        match self.shards[usize::from(from)].take_batch(to) {
            Some(batch) => ring.push_back(batch),
            None => {
                self.links[usize::from(from)].remove(&to);
                self.handle(from, Event::MeshRoom(to));
            }
        }
        true
    }

    /// A batch comes out at the other end.
    pub fn receive_batch(&mut self, from: ShardId, to: ShardId) -> bool {
        let ring = &mut self.rings[usize::from(from)][usize::from(to)];
        match self.sabotage {
            Some(Sabotage::LoseABatch) if ring.front().is_some_and(|batch| batch.messages() > 0) => {
                ring.pop_front();
                self.sabotage = None;
            }
            Some(Sabotage::SwapTwoBatches)
                if ring.iter().filter(|batch| batch.messages() > 0).count() > 1 =>
            {
                ring.swap(0, 1);
                self.sabotage = None;
            }
            _ => {}
        }
        let Some(batch) = ring.pop_front() else { return false };
        self.handle(to, Event::Mesh(from, &batch));
        if self.sabotage == Some(Sabotage::DeliverABatchTwice) && batch.messages() > 0 {
            self.sabotage = None;
            self.handle(to, Event::Mesh(from, &batch));
        }
        true
    }

    /// A turn begins on a shard where somebody waits for it.
    pub fn go_on(&mut self, shard: ShardId) -> bool {
        let own = &self.shards[usize::from(shard)];
        let behind = own.is_behind() || own.due().is_some_and(|due| due <= self.now);
        if behind {
            let own = |&client: &usize| self.connections[client].shard == shard;
            let waits = |client| self.deferred_bytes(client);
            self.waited_bytes = (0..self.connections.len()).filter(own).map(waits).sum();
            self.handle(shard, Event::Continue);
            self.waited_bytes = 0;
        }
        behind
    }

    /// Bytes of a client that the shard has and has not heard yet.
    fn deferred_bytes(&self, client: usize) -> usize {
        let connection = &self.connections[client];
        self.shards[usize::from(connection.shard)].deferred_bytes(connection.id)
    }

    /// Finishes an ending that the shard asked for, or that has nothing left to send.
    pub fn finish_ending(&mut self, client: usize) -> bool {
        let connection = &self.connections[client];
        let shard = &self.shards[usize::from(connection.shard)];
        let over = match connection.closing {
            Some(Close::Now) => true,
            Some(Close::Flush) => connection.flight.is_empty() && shard.is_flushed(connection.id),
            None => false,
        };
        if over && !connection.gone {
            self.end(client, Departure::Ordinary);
            return true;
        }
        false
    }

    /// A client is gone, and with it what was under way.
    pub fn crash(&mut self, client: usize) {
        if !self.connections[client].gone {
            self.end(client, Departure::Failed);
        }
    }

    fn end(&mut self, client: usize, departure: Departure) {
        let handled = self.received_bytes(client);
        let connection = &mut self.connections[client];
        connection.received_bytes = handled;
        connection.gone = true;
        connection.inbound.clear();
        connection.flight.clear();
        let (shard, id) = (connection.shard, connection.id);
        self.handle(shard, Event::Closed(id, departure));
    }

    pub fn tick(&mut self, nanos: u64) {
        self.now = Nanos(self.now.0 + nanos);
        for shard in 0..self.shards.len() as ShardId {
            self.handle(shard, Event::Tick);
        }
    }

    pub fn lame_duck(&mut self) {
        for shard in 0..self.shards.len() as ShardId {
            self.handle(shard, Event::LameDuck);
        }
    }

    pub fn drain(&mut self) {
        for shard in 0..self.shards.len() as ShardId {
            self.handle(shard, Event::Drain);
        }
    }

    /// Takes every step there is, except for the sends of `stalled` clients, until none is left. Whoever
    /// takes what is sent to it does so at once, so that nobody else's bytes overwhelm it.
    pub fn settle(&mut self, stalled: &BTreeSet<usize>) {
        let count = self.shards.len() as ShardId;
        loop {
            let mut moved = false;
            for client in 0..self.connections.len() {
                moved |= self.receive(client, SETTLE_BYTES);
                moved |= self.send_all(stalled);
                moved |= self.finish_ending(client);
            }
            for shard in 0..count {
                moved |= self.go_on(shard);
            }
            for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
                moved |= self.send_batch(from, to);
                moved |= self.receive_batch(from, to);
                moved |= self.send_all(stalled);
            }
            if !moved {
                // Who is held back briefly is let go.
                let Some(due) = self.shards.iter().filter_map(Shard::due).min() else { return };
                self.now = due.max(self.now);
            }
        }
    }

    fn send_all(&mut self, stalled: &BTreeSet<usize>) -> bool {
        let mut moved = false;
        for client in (0..self.connections.len()).filter(|client| !stalled.contains(client)) {
            moved |= self.begin_send(client);
            moved |= self.end_send(client);
        }
        moved
    }

    /// Whether its place may be another's.
    pub fn is_forgotten(&self, client: usize) -> bool {
        self.connections[client].forgotten
    }

    /// Whether it was cut in a turn that brought more than an outbox takes.
    pub fn is_overwhelmed(&self, client: usize) -> bool {
        self.connections[client].overwhelmed
    }

    pub fn is_gone(&self, client: usize) -> bool {
        self.connections[client].gone || self.connections[client].closing.is_some()
    }

    /// Bytes a client wrote that its shard has not received.
    pub fn unreceived(&self, client: usize) -> usize {
        self.connections[client].inbound.len()
    }

    /// Bytes of a client that its shard has received, and not put off to a later turn.
    pub fn received_bytes(&self, client: usize) -> u64 {
        let connection = &self.connections[client];
        let deferred = self.shards[usize::from(connection.shard)].deferred_bytes(connection.id);
        connection.received_bytes - deferred as u64
    }

    pub fn is_paused(&self, client: usize) -> bool {
        self.connections[client].paused
    }

    /// Memory that a client's outbox takes.
    pub fn held_bytes(&self, client: usize) -> usize {
        let connection = &self.connections[client];
        self.shards[usize::from(connection.shard)].held_bytes(connection.id)
    }

    pub fn queued_bytes(&self, client: usize) -> usize {
        let connection = &self.connections[client];
        self.shards[usize::from(connection.shard)].queued_bytes(connection.id)
    }

    pub fn is_drained(&self) -> bool {
        self.drained.iter().all(|&drained| drained)
    }

    /// A counter or gauge, summed over the shards.
    pub fn count(&mut self, counter: Counter) -> u64 {
        self.shards.iter_mut().for_each(Shard::refresh_gauges);
        self.shards.iter().map(|shard| shard.counters().get(counter)).sum()
    }

    fn handle(&mut self, shard: ShardId, event: Event<'_>) {
        self.shards[usize::from(shard)].handle(self.now, event, &mut self.effects);
        self.shards[usize::from(shard)].check();
        let find = |connections: &[Connection], id: ConnectionId| {
            let place = id.slot as usize;
            assert_eq!(connections[place].shard, shard, "a shard asks for its own connections only");
            place
        };
        for id in self.effects.send.drain(..) {
            let place = find(&self.connections, id);
            self.connections[place].ready = true;
        }
        for (id, receive) in self.effects.receive.drain(..) {
            let place = find(&self.connections, id);
            self.connections[place].paused = receive == Receive::Pause;
        }
        for (id, close, reason) in self.effects.close.drain(..) {
            let place = find(&self.connections, id);
            self.connections[place].closing = Some(close);
            // It may have several subscriptions to the same.
            let burst = self.waited_bytes > self.limits.outbox_bytes_max / 8;
            self.connections[place].overwhelmed |= burst && reason == CloseReason::SlowConsumer;
        }
        for id in self.effects.forgotten.drain(..) {
            let place = find(&self.connections, id);
            assert!(self.connections[place].gone, "nothing is left of it when it is forgotten");
            self.connections[place].forgotten = true;
        }
        self.links[usize::from(shard)].extend(self.effects.mesh.drain(..));
        self.drained[usize::from(shard)] |= std::mem::take(&mut self.effects.drained);
    }
}
