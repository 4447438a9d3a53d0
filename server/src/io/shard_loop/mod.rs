//! One shard's thread: completions and mesh batches in, effects out, one submission a turn.
//!
//! A turn handles everything that is there, gathers what it produced in outboxes and links, then sends
//! once a connection and once a link. The loop waits on its own ring only: whatever must wake it
//! arrives there, other threads through the doorbell.

mod completions;
mod effects;
mod endings;
mod orders;

pub use orders::{Changed, Inquiry, Orders};

use orders::Obeyed;

use super::clock::Clock;
use super::connection::Connections;
use super::mesh::MeshEnds;
use super::metrics::SharedCounters;
use super::verifier::Verifier;
use super::wait::Waiter;
use crate::config::WaitMode;
use crate::shard::metrics::Counter;
use crate::shard::{ConnectionId, Dialect, Effects, Event, Nanos, Shard, ShardId, TICK_NANOS};
use ringbolt_ring::{Chunk, RegionBacking, Ring, Slot, Wait};
use std::hash::RandomState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Counters are copied out this often while there is work, and before every sleep.
const PUBLISH_NANOS: u64 = 10_000_000;
/// Batches taken from one other shard a turn, so that none starves the sockets.
const BATCHES_A_TURN: usize = 64;

/// Everything a shard's loop is made of.
pub struct ShardLoop {
    shard: Shard,
    ring: Ring,
    connections: Connections,
    mesh: MeshEnds,
    /// Emptied when draining.
    listeners: Vec<Accepting>,
    /// What the connections of each listener speak.
    dialects: Vec<Dialect>,
    orders: Arc<Orders>,
    verifier: Verifier,
    /// Connections whose proof nobody had time for.
    unproven: Vec<ConnectionId>,
    nonce_key: RandomState,
    nonces: u64,
    nats_connections_max: usize,
    shared: Arc<SharedCounters>,
    clock: Clock,
    waiter: Waiter,
    effects: Effects,
    /// Connections to send to, links to take from, receives to arm again: at the end of the turn.
    send: Vec<ConnectionId>,
    links: Vec<ShardId>,
    starved: Vec<Slot>,
    /// Connections that are flushing or lingering, looked at every tick.
    ending: Vec<ConnectionId>,
    idle_chunks: Vec<Vec<Chunk>>,
    segments: Vec<crate::shard::delivery::Segment>,
    ticked_at: Nanos,
    published_at: Nanos,
    obeyed: Obeyed,
    drained: bool,
}

/// A listener of this shard.
struct Accepting {
    listener: OwnedFd,
    /// The ring accepts from it now.
    accepting: bool,
}

/// What a loop is started with.
pub struct Parts {
    pub shard: Shard,
    pub ring: Ring,
    pub mesh: MeshEnds,
    pub listeners: Vec<(Dialect, OwnedFd)>,
    pub orders: Arc<Orders>,
    pub verifier: Verifier,
    pub shared: Arc<SharedCounters>,
    pub wait: WaitMode,
    pub nats_connections_max: usize,
    pub clock: Clock,
}

impl ShardLoop {
    pub fn new(parts: Parts) -> io::Result<ShardLoop> {
        let Parts {
            mut shard,
            mut ring,
            mesh,
            listeners,
            orders,
            verifier,
            shared,
            wait,
            nats_connections_max,
            clock,
        } = parts;
        ring.listen_to(&mesh.sleepers[usize::from(shard.id())].doorbell)?;
        for (number, (_, listener)) in listeners.iter().enumerate() {
            ring.accept(number as u32, listener.as_fd())?;
        }
        let counters = shard.counters_mut();
        counters.set(Counter::ReceiveBuffers, u64::from(ring.buffers_total()));
        let huge = ring.buffers_backing() == RegionBacking::HugePages;
        counters.set(Counter::MemoryHugePages, u64::from(huge));
        Ok(ShardLoop {
            shard,
            ring,
            connections: Connections::default(),
            mesh,
            dialects: listeners.iter().map(|&(dialect, _)| dialect).collect(),
            listeners: listeners
                .into_iter()
                .map(|(_, listener)| Accepting { listener, accepting: true })
                .collect(),
            orders,
            verifier,
            unproven: Vec::new(),
            nonce_key: RandomState::new(),
            nonces: 0,
            nats_connections_max,
            shared,
            clock,
            waiter: Waiter::new(wait),
            effects: Effects::default(),
            send: Vec::new(),
            links: Vec::new(),
            starved: Vec::new(),
            ending: Vec::new(),
            idle_chunks: Vec::new(),
            segments: Vec::new(),
            ticked_at: Nanos(0),
            published_at: Nanos(0),
            obeyed: Obeyed::default(),
            drained: false,
        })
    }

    /// Runs until drained or told to stop. Returns the connections that were still open then.
    pub fn run(mut self) -> io::Result<usize> {
        loop {
            let started = self.clock.now();
            let worked = self.turn(started)?;
            if self.drained || self.orders.stop.load(Ordering::Relaxed) {
                self.publish_counters();
                return Ok(self.connections.len());
            }
            let ended = self.clock.now();
            if worked {
                self.waiter.worked();
                let counters = self.shard.counters_mut();
                counters.observe_turn(ended.since(started));
                counters.add(Counter::Turns, 1);
                if ended.since(self.published_at) >= PUBLISH_NANOS {
                    self.published_at = ended;
                    self.publish_counters();
                }
                self.ring.turn(Wait::Poll)?;
            } else if self.waiter.should_sleep(ended) {
                self.sleep(ended)?;
            } else {
                self.shard.counters_mut().add(Counter::Spins, 1);
                std::hint::spin_loop();
                self.ring.turn(Wait::Poll)?;
            }
        }
    }

    /// One turn over everything that is there. Returns whether there was anything.
    fn turn(&mut self, now: Nanos) -> io::Result<bool> {
        let mut worked = self.completions(now)?;
        worked |= self.inbound(now)?;
        self.verified(now)?;
        if now.since(self.ticked_at) >= TICK_NANOS {
            self.ticked_at = now;
            self.handle(now, Event::Tick)?;
            self.overdue_endings(now)?;
            self.accept_again()?;
            self.publish_counters();
        }
        self.obey(now)?;
        self.rearm_starved()?;
        self.send_links(now)?;
        self.send_outboxes(now)?;
        Ok(worked)
    }

    fn inbound(&mut self, now: Nanos) -> io::Result<bool> {
        let mut worked = false;
        for from in 0..self.mesh.shards() {
            for _ in 0..BATCHES_A_TURN {
                let Some(batch) = self.mesh.receive(from) else { break };
                self.handle(now, Event::Mesh(from, &batch))?;
                worked = true;
            }
        }
        Ok(worked)
    }

    fn verified(&mut self, now: Nanos) -> io::Result<()> {
        while let Some(id) = self.unproven.pop() {
            self.handle(now, Event::Verified(id, false))?;
        }
        if self.verifier.is_ready() {
            while let Some((id, proven)) = self.verifier.outcome() {
                self.handle(now, Event::Verified(id, proven))?;
            }
        }
        Ok(())
    }

    fn sleep(&mut self, now: Nanos) -> io::Result<()> {
        self.publish_counters();
        let until_tick = TICK_NANOS.saturating_sub(now.since(self.ticked_at)).max(1);
        let own = usize::from(self.shard.id());
        self.mesh.sleepers[own].lie_down();
        let ordered = self.orders.news_since(&self.obeyed);
        if self.mesh.has_inbound() || self.verifier.is_ready() || ordered {
            self.mesh.sleepers[own].get_up();
            return Ok(());
        }
        self.shard.counters_mut().add(Counter::Waits, 1);
        self.ring.turn(Wait::Block(Some(Duration::from_nanos(until_tick))))?;
        self.mesh.sleepers[own].get_up();
        Ok(())
    }

    fn publish_counters(&mut self) {
        self.shard.refresh_gauges();
        let free = u64::from(self.ring.buffers_free());
        let counters = self.shard.counters_mut();
        counters.set(Counter::ReceiveBuffersFree, free);
        self.shared.publish(counters);
    }

    fn accept_again(&mut self) -> io::Result<()> {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            if !listener.accepting {
                self.ring.accept(number as u32, listener.listener.as_fd())?;
                listener.accepting = true;
            }
        }
        Ok(())
    }
}
