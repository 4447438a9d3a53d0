//! One shard's thread: completions and mesh batches in, effects out, one submission a turn.
//!
//! A turn handles everything that is there, gathers what it produced in outboxes and links, then sends
//! once a connection and once a link. The loop waits on its own ring only: whatever must wake it
//! arrives there, other threads through the doorbell.

mod completions;
mod effects;
mod endings;
mod obey;
mod orders;
mod rations;
mod receiving;
mod recorded;

pub use orders::{Changed, Inquiry, Orders};

use orders::Obeyed;
use rations::Rations;

use super::connection::{Connections, Listening};
use super::log::Seldom;
use super::metrics::SharedCounters;
use super::platform::{Mesh, Offload, Platform, Ring, WorkKind};
use super::wait::Waiter;
use crate::capture::Recorder;
use crate::config::WaitMode;
use ringbolt_ring::{Chunk, Wait, give_memory_back};
use ringbolt_shard::access::Verdict;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{ConnectionId, Effects, Event, Nanos, Shard, ShardId, TICK_NANOS};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Counters are copied out this often while there is work, and before every sleep.
const PUBLISH_NANOS: u64 = 10_000_000;
const FAILURES_REPORTED_EVERY: Duration = Duration::from_secs(10);
/// Batches taken from one other shard a turn, so that none starves the sockets.
const BATCHES_A_TURN: usize = 64;

/// Less than this is not worth the time it takes to give it back.
const GIVEN_BACK_BYTES_MIN: usize = 4 << 20;

/// Everything a shard's loop is made of.
pub struct ShardLoop<P: Platform> {
    platform: P,
    shard: Shard,
    ring: P::Ring,
    connections: Connections,
    mesh: P::Mesh,
    offload: P::Offload,
    /// Emptied when draining.
    listeners: Vec<Accepting>,
    accept_failures: Seldom,
    /// What is known of the connections of each listener.
    listening: Vec<Listening>,
    orders: Arc<Orders>,
    /// Connections whose proof found no room among those that wait to be checked.
    unproven: Vec<ConnectionId>,
    nats_connections_max: usize,
    /// From accept until the shard admits a connection.
    hello_timeout_nanos: u64,
    shared: Arc<SharedCounters>,
    waiter: Waiter,
    effects: Effects,
    /// Records what the shard is told and answers, if that is wanted.
    capture: Option<Box<Recorder>>,
    /// Connections to send to, links to take from, receives to arm again: at the end of the turn.
    send: VecDeque<ConnectionId>,
    /// What the sends of a turn may take, in steps of the pure half; one more is begun.
    send_steps: i64,
    links: Vec<ShardId>,
    rations: Rations,
    turns: u64,
    /// Connections whose peers are or were looked up, in the order they were accepted, looked at every tick.
    opening: VecDeque<ConnectionId>,
    /// Connections that the kernel holds nothing of any more, which the shard is yet to be told.
    quiet: Vec<ConnectionId>,
    /// Connections that are flushing or lingering, looked at every tick.
    ending: Vec<ConnectionId>,
    idle_chunks: Vec<Vec<Chunk>>,
    segments: Vec<ringbolt_shard::delivery::Segment>,
    /// The most memory that was kept for clients, since some was given back.
    kept_most: usize,
    ticked_at: Nanos,
    published_at: Nanos,
    obeyed: Obeyed,
    drained: bool,
    asleep: bool,
}

/// A listener of this shard.
struct Accepting {
    /// The ring accepts from it now.
    accepting: bool,
}

/// What a loop is started with. The ring knows the listeners by their places in `listening`.
pub struct Parts<P: Platform> {
    pub platform: P,
    pub shard: Shard,
    pub ring: P::Ring,
    pub mesh: P::Mesh,
    pub offload: P::Offload,
    pub listening: Vec<Listening>,
    pub orders: Arc<Orders>,
    pub shared: Arc<SharedCounters>,
    pub wait: WaitMode,
    pub nats_connections_max: usize,
    pub hello_timeout_nanos: u64,
    pub send_steps: i64,
    pub capture: Option<Box<Recorder>>,
}

/// What a loop did last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It looks again at once.
    Awake,
    /// It waited on its ring.
    Slept,
    /// It is over; so many connections were still open.
    Over(usize),
}

impl<P: Platform> ShardLoop<P> {
    pub fn new(parts: Parts<P>) -> io::Result<ShardLoop<P>> {
        let Parts { platform, mut shard, mut ring, mesh, offload, listening, .. } = parts;
        for listener in 0..listening.len() as u32 {
            ring.accept(listener)?;
        }
        shard.counters_mut().set(Counter::ReceiveBuffers, u64::from(ring.buffers_total()));
        Ok(ShardLoop {
            platform,
            shard,
            ring,
            connections: Connections::default(),
            mesh,
            offload,
            listeners: listening.iter().map(|_| Accepting { accepting: true }).collect(),
            listening,
            accept_failures: Seldom::new(FAILURES_REPORTED_EVERY),
            orders: parts.orders,
            unproven: Vec::new(),
            nats_connections_max: parts.nats_connections_max,
            hello_timeout_nanos: parts.hello_timeout_nanos,
            shared: parts.shared,
            waiter: Waiter::new(parts.wait),
            effects: Effects::default(),
            capture: parts.capture,
            send: VecDeque::new(),
            send_steps: parts.send_steps,
            links: Vec::new(),
            rations: Rations::default(),
            turns: 0,
            opening: VecDeque::new(),
            quiet: Vec::new(),
            ending: Vec::new(),
            idle_chunks: Vec::new(),
            segments: Vec::new(),
            kept_most: 0,
            ticked_at: Nanos(0),
            published_at: Nanos(0),
            obeyed: Obeyed::default(),
            drained: false,
            asleep: false,
        })
    }

    /// Runs until drained or told to stop. Returns the connections that were still open then.
    pub fn run(mut self) -> io::Result<usize> {
        loop {
            if let Step::Over(left_open) = self.step()? {
                return Ok(left_open);
            }
        }
    }

    /// One turn, and the wait after it if there was nothing to do.
    pub fn step(&mut self) -> io::Result<Step> {
        if std::mem::take(&mut self.asleep) {
            self.mesh.get_up();
        }
        let started = self.platform.now();
        let worked = self.turn(started)?;
        // A connection that was accepted while its peer is looked up is yet to be told that it came too late.
        let over = self.drained && self.connections.is_empty() && self.links.is_empty();
        if over || self.orders.stop.load(Ordering::Relaxed) {
            self.publish_counters();
            return Ok(Step::Over(self.connections.len()));
        }
        let ended = self.platform.now();
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
            return self.sleep(ended);
        } else {
            self.shard.counters_mut().add(Counter::Spins, 1);
            std::hint::spin_loop();
            self.ring.turn(Wait::Poll)?;
        }
        Ok(Step::Awake)
    }

    /// One turn over everything that is there. Returns whether there was anything.
    fn turn(&mut self, now: Nanos) -> io::Result<bool> {
        self.turns += 1;
        // Orders come before batches: another shard may have taken settings that a batch of its presumes, and
        // they were published before it sent that.
        self.obey(now)?;
        // Those who could not be heard in the last turn come before who speaks in this one.
        let mut worked = self.shard.is_behind() || self.shard.due().is_some_and(|due| due <= now);
        if worked {
            self.handle(now, Event::Continue)?;
        }
        worked |= self.completions(now)?;
        worked |= self.inbound(now)?;
        self.verified(now)?;
        if now.since(self.ticked_at) >= TICK_NANOS {
            self.ticked_at = now;
            self.handle(now, Event::Tick)?;
            self.overdue_openings(now)?;
            self.overdue_endings(now)?;
            self.accept_again()?;
            self.publish_counters();
            self.give_memory_back();
        }
        worked |= self.tell_of_quiet(now)?;
        self.hand_out()?;
        self.send_links(now)?;
        self.send_outboxes(now)?;
        Ok(worked || !self.send.is_empty())
    }

    fn inbound(&mut self, now: Nanos) -> io::Result<bool> {
        let mut worked = false;
        for from in 0..self.mesh.shards() {
            let mut taken = 0;
            // What a turn has no time for waits in the links, and one of each shard is taken in any case.
            while taken < BATCHES_A_TURN
                && (taken == 0 || !self.shard.is_spent())
                && let Some(batch) = self.mesh.receive(from)
            {
                self.handle(now, Event::Mesh(from, &batch))?;
                taken += 1;
            }
            if taken > 0 {
                self.mesh.tell_of_room(from);
                worked = true;
            }
        }
        Ok(worked)
    }

    fn verified(&mut self, now: Nanos) -> io::Result<()> {
        while let Some(id) = self.unproven.pop() {
            self.handle(now, Event::Verified(id, Verdict::Unproven))?;
        }
        if self.offload.is_ready() {
            while let Some((id, verdict)) = self.offload.outcome() {
                self.handle(now, Event::Verified(id, verdict))?;
            }
        }
        Ok(())
    }

    fn sleep(&mut self, now: Nanos) -> io::Result<Step> {
        self.publish_counters();
        let until_tick = TICK_NANOS.saturating_sub(now.since(self.ticked_at));
        let until_due = self.shard.due().map_or(until_tick, |due| due.since(now));
        let until = until_tick.min(until_due).max(1);
        for &shard in &self.links {
            self.mesh.ask_for_room(shard);
        }
        self.mesh.lie_down();
        self.asleep = true;
        if self.has_work() {
            return Ok(Step::Awake);
        }
        self.shard.counters_mut().add(Counter::Waits, 1);
        self.ring.turn(Wait::Block(Some(Duration::from_nanos(until))))?;
        Ok(Step::Slept)
    }

    /// Whether there is work that no completion will tell of: a shard with work must not sleep.
    pub fn has_work(&mut self) -> bool {
        let ordered = self.orders.news_since(&self.obeyed);
        let waits = self.shard.is_behind()
            || self.mesh.has_inbound()
            || self.offload.is_ready()
            || !self.unproven.is_empty()
            || !self.quiet.is_empty()
            || !self.send.is_empty()
            || self.rations.are_asked_for()
            || ordered;
        waits || self.links.iter().any(|&shard| self.mesh.would_move(shard))
    }

    /// The pure half, for the simulator to look at.
    pub fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Connections that are not closed.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Once half of what was kept for clients has gone, the system has it back.
    fn give_memory_back(&mut self) {
        let kept = self.shard.memory_bytes();
        self.kept_most = self.kept_most.max(kept);
        if self.kept_most >= GIVEN_BACK_BYTES_MIN && kept < self.kept_most / 2 {
            give_memory_back();
            self.kept_most = kept;
        }
    }

    fn publish_counters(&mut self) {
        self.shard.refresh_gauges();
        let free = u64::from(self.ring.buffers_free());
        let counters = self.shard.counters_mut();
        counters.set(Counter::ReceiveBuffersFree, free);
        for kind in WorkKind::ALL {
            counters.set(kind.waiting(), self.offload.waiting(kind) as u64);
        }
        if let Some(recorder) = &self.capture {
            counters.set(Counter::Capturing, u64::from(recorder.is_running()));
            counters.set(Counter::CaptureBytes, recorder.bytes());
        }
        self.shared.publish(counters);
    }

    fn accept_again(&mut self) -> io::Result<()> {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            if !listener.accepting {
                self.ring.accept(number as u32)?;
                listener.accepting = true;
            }
        }
        Ok(())
    }
}
