//! One driver: a pinned thread that spins on its own ring, sends what is due and checks what comes.

use super::connection::Stage;
use super::drain::{Drain, Waiting};
use super::pacer::Pacer;
use super::roles::Role;
use super::shared::Shared;
use super::state::State;
use crate::histogram::quantile;
use crate::workload::{Kind, Pacing};
use ringbolt_ring::{
    Address, BufferRingConfig, Chunk, Completion, ReceiveOutcome, Ring, RingConfig, Slot, Wait,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connects under way at once: a listener's backlog is bounded.
const CONNECTS_MAX: usize = 128;
/// Bytes gathered for a connection before a closed loop sends them off.
const GATHER_BYTES: usize = 128 << 10;
/// Bytes an open loop may hold back when the server takes none.
const BACKLOG_BYTES_MAX: usize = 512 << 20;
/// Barriers that share a window, so that a publisher need not stop for one.
const SINK_BARRIERS: u64 = 8;
/// Messages generated before time is read again.
const MESSAGES_A_LOOK: u32 = 32;
/// After the end, how long an open loop goes on sending what was due before it.
const OVERTIME_NANOS_MAX: u64 = 1_000_000_000;
const PROGRESS_NANOS: u64 = 500_000;
/// Longest sleep of a driver that waits for the last deliveries.
const DRAIN_SLEEP_MAX: Duration = Duration::from_millis(1);
const PREPARE_TIME_MAX: Duration = Duration::from_secs(60);
const IDLE_BUFFERS_MAX: usize = 256;

pub struct Driver {
    number: usize,
    /// Of the server.
    address: Address,
    ring: Ring,
    state: State,
    shared: Arc<Shared>,
    senders: Vec<u32>,
    turn: usize,
    pacer: Option<Pacer>,
    window: u64,
    /// Messages this driver may still send.
    budget: u64,
    epoch: Instant,
    idle_buffers: Vec<Vec<u8>>,
    idle_chunks: Vec<Vec<Chunk>>,
    starved: Vec<u32>,
    connecting: usize,
    next_connect: usize,
    measuring: bool,
    looked_at: u64,
    told_at: u64,
    slice: usize,
}

impl Driver {
    /// Made on the driver's own thread: its ring stays there.
    pub fn new(
        number: usize,
        address: Address,
        state: State,
        pacer: Option<Pacer>,
        budget: u64,
    ) -> io::Result<Driver> {
        let slots = state.connections.len() as u32 + 16;
        let buffers = BufferRingConfig { buffer_bytes: 64 << 10, buffers: 64, huge_pages: true };
        let ring = Ring::new(RingConfig { entries: 1024, completion_entries: 16_384, slots, buffers })?;
        let senders = (0..state.connections.len() as u32)
            .filter(|&index| state.connections[index as usize].role.sends())
            .collect();
        let window = match state.workload.pacing {
            Pacing::Closed { window } => u64::from(window),
            Pacing::Open { .. } => 0,
        };
        Ok(Driver {
            number,
            address,
            ring,
            shared: Arc::clone(&state.shared),
            state,
            senders,
            turn: 0,
            pacer,
            window,
            budget,
            epoch: Instant::now(),
            idle_buffers: Vec::new(),
            idle_chunks: Vec::new(),
            starved: Vec::new(),
            connecting: 0,
            next_connect: 0,
            measuring: false,
            looked_at: 0,
            told_at: 0,
            slice: 0,
        })
    }

    /// Connects everything and runs the workload; returns what was measured.
    pub fn run(mut self) -> Result<State, String> {
        let prepared = self.prepare();
        if let Err(error) = &prepared {
            self.state.fail(error.clone());
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        // Every thread passes both barriers even if one failed: none may wait for ever.
        self.shared.prepared.wait();
        self.shared.prepared.wait();
        prepared?;
        let &(epoch, unix_nanos) = self.shared.epoch.get().ok_or("the run was given up")?;
        self.epoch = epoch;
        self.state.set_epoch(unix_nanos);
        self.measuring = true;
        self.generate_and_check()?;
        match self.state.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(self.state),
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn prepare(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let churn = self.state.workload.kind == Kind::Churn;
        let wanted = if churn { 0 } else { self.state.connections.len() };
        while self.state.ready < wanted {
            while self.connecting < CONNECTS_MAX && self.next_connect < wanted {
                let index = self.next_connect as u32;
                self.open(index).map_err(|error| format!("cannot open connection {index}: {error}"))?;
                self.next_connect += 1;
            }
            let wait = Wait::Block(Some(Duration::from_millis(10)));
            self.ring.turn(wait).map_err(|error| format!("io_uring: {error}"))?;
            self.collect(0)?;
            self.flush()?;
            self.progress().ready.store(self.state.ready as u64, Ordering::Relaxed);
            if let Some(failure) = self.state.failure.take() {
                return Err(failure);
            }
            crate::interrupts::check()?;
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err("another driver failed".to_owned());
            }
            if started.elapsed() > PREPARE_TIME_MAX {
                let ready = self.state.ready;
                return Err(format!("only {ready} of {wanted} connections were ready after a minute"));
            }
        }
        Ok(())
    }

    fn generate_and_check(&mut self) -> Result<(), String> {
        let stop = self.state.recorder.window().stop;
        let (mut drain, mut wait) = (Drain::default(), Wait::Poll);
        loop {
            self.ring.turn(wait).map_err(|error| format!("io_uring: {error}"))?;
            let now = self.now();
            let mut worked = self.collect(now)?;
            let sending =
                self.is_due_before(stop, now) && self.budget > 0 && !self.shared.stop.load(Ordering::Relaxed);
            if sending {
                worked |= self.generate(now, stop);
            }
            worked |= self.state.finish_work(now);
            self.flush()?;
            // A sleep of its own choice is no gap.
            let watched = if matches!(wait, Wait::Poll) { now - self.looked_at } else { 0 };
            self.state.recorder.turn(now, watched, worked);
            if worked {
                self.told(now);
            } else {
                std::hint::spin_loop();
            }
            self.looked_at = now;
            if let Some(failure) = self.state.failure.take() {
                self.shared.stop.store(true, Ordering::Relaxed);
                return Err(failure);
            }
            if now - self.told_at > PROGRESS_NANOS {
                self.tell_progress(now);
                if !sending {
                    wait = match self.waiting(now, &mut drain) {
                        Waiting::Spinning => Wait::Poll,
                        Waiting::Sleeping => Wait::Block(Some(DRAIN_SLEEP_MAX)),
                        Waiting::Over => return Ok(()),
                    };
                }
            }
        }
    }

    /// Whether anything is to be sent yet. What was due in time is sent even if it is late, or a stall at
    /// the end would hide itself.
    fn is_due_before(&self, stop: u64, now: u64) -> bool {
        match &self.pacer {
            Some(pacer) if !self.senders.is_empty() => pacer.next() < stop && now < stop + OVERTIME_NANOS_MAX,
            _ => now < stop,
        }
    }

    fn waiting(&self, now: u64, drain: &mut Drain) -> Waiting {
        let sum =
            |field: fn(&super::shared::Progress) -> u64| self.shared.drivers.iter().map(field).sum::<u64>();
        let delivered = sum(|driver| driver.delivered.load(Ordering::Relaxed));
        let expected = sum(|driver| driver.expected.load(Ordering::Relaxed));
        drain.look(delivered, expected, now)
    }

    fn collect(&mut self, now: u64) -> Result<bool, String> {
        let mut worked = false;
        while let Some(completion) = self.ring.next() {
            worked = true;
            self.complete(completion, now).map_err(|error| format!("io_uring: {error}"))?;
        }
        while let Some(index) = self.starved.pop() {
            self.ring.receive(Slot(index)).map_err(|error| format!("io_uring: {error}"))?;
        }
        while let Some(index) = self.state.stalling.pop() {
            self.ring.cancel_receive(Slot(index)).map_err(|error| format!("io_uring: {error}"))?;
        }
        while let Some(index) = self.state.finished.pop() {
            let connection = &mut self.state.connections[index as usize];
            if connection.stage == Stage::Preparing {
                connection.stage = Stage::Gone;
                self.ring.shut_down(Slot(index)).map_err(|error| format!("io_uring: {error}"))?;
            }
        }
        Ok(worked)
    }

    fn complete(&mut self, completion: Completion, now: u64) -> io::Result<()> {
        match completion {
            Completion::Received { slot, outcome: ReceiveOutcome::Data { buffer, armed } } => {
                self.state.receive(slot.0, self.ring.bytes(&buffer), now);
                self.ring.recycle(buffer);
                if !armed && !self.has_stalled(slot) {
                    self.ring.receive(slot)?;
                }
            }
            Completion::Received { slot, outcome: ReceiveOutcome::BuffersExhausted } => {
                if !self.has_stalled(slot) {
                    self.starved.push(slot.0);
                }
            }
            Completion::Received { slot, outcome } => {
                self.state.connections[slot.0 as usize].receiving = false;
                if self.has_stalled(slot) {
                    return Ok(());
                }
                let error = match outcome {
                    ReceiveOutcome::Failed(error) => Some(error),
                    _ => None,
                };
                self.lost(slot, error)?;
            }
            Completion::Sent { slot, error, chunks, .. } => self.sent(slot, error, chunks)?,
            Completion::Connected { slot, error: None } => {
                self.connecting = self.connecting.saturating_sub(1);
                self.state.connections[slot.0 as usize].receiving = true;
                self.ring.receive(slot)?;
                self.state.greet(slot.0);
                if let Role::Churner(churner) = &self.state.connections[slot.0 as usize].role {
                    let intended = churner.intended;
                    self.state.publish(slot.0, intended, now);
                }
            }
            Completion::Connected { slot, error: Some(error) } => {
                let address = &self.address;
                let churn = self.state.workload.kind == Kind::Churn;
                if churn && self.measuring {
                    self.lost(slot, Some(error))?;
                } else {
                    self.state
                        .fail(format!("cannot connect to {address} ({error}): is the server running there?"));
                }
            }
            Completion::Closed { slot } => {
                // Only churners are closed: the slot waits for its next turn.
                let connection = &mut self.state.connections[slot.0 as usize];
                connection.stage = Stage::Connecting;
                connection.partial.clear();
                if let Role::Churner(churner) = &mut connection.role {
                    churner.intended = 0;
                }
            }
            Completion::Accepted { .. }
            | Completion::ShutDown { .. }
            | Completion::Peer { .. }
            | Completion::Doorbell => {}
        }
        Ok(())
    }

    /// Whether a connection has stopped reading, as it was asked to.
    fn has_stalled(&self, slot: Slot) -> bool {
        let connection = &self.state.connections[slot.0 as usize];
        connection.role.is_stalled() && connection.stage == Stage::Ready
    }

    fn sent(&mut self, slot: Slot, error: Option<io::Error>, mut chunks: Vec<Chunk>) -> io::Result<()> {
        for chunk in chunks.drain(..) {
            if let (Chunk::Owned(buffer), true) = (chunk, self.idle_buffers.len() < IDLE_BUFFERS_MAX) {
                self.idle_buffers.push(buffer);
            }
        }
        self.idle_chunks.push(chunks);
        let connection = &mut self.state.connections[slot.0 as usize];
        connection.sending = false;
        if error.is_some() || connection.stage == Stage::Gone {
            self.lost(slot, error)?;
        } else if !connection.outbound.is_empty() {
            self.state.mark(slot.0);
        }
        Ok(())
    }

    /// A connection ended; a churner's by intent, any other is a fault.
    fn lost(&mut self, slot: Slot, error: Option<io::Error>) -> io::Result<()> {
        let connection = &mut self.state.connections[slot.0 as usize];
        let quiet = !connection.receiving && !connection.sending;
        let intended = connection.stage == Stage::Gone;
        if !intended {
            connection.stage = Stage::Gone;
            self.state.backlog_bytes -= connection.outbound.len();
            connection.outbound.clear();
            let words = error.map_or("closed by the server".to_owned(), |error| error.to_string());
            if !self.measuring {
                let said = self.state.recorder.last_words.take().unwrap_or(words);
                self.state.fail(format!("a connection ended before the run: {said}"));
                return Ok(());
            }
            self.state.recorder.disconnects += 1;
            self.state.remember(&words);
            self.ring.shut_down(slot)?;
        }
        if quiet && self.state.connections[slot.0 as usize].role.is_churner() {
            self.ring.close(slot)?;
        }
        Ok(())
    }

    fn generate(&mut self, mut now: u64, stop: u64) -> bool {
        if self.senders.is_empty() {
            return false;
        }
        match self.pacer.take() {
            None => self.generate_closed(now),
            Some(mut pacer) => {
                let mut looked = 0;
                let mut worked = false;
                while pacer.next() <= now.min(stop - 1) && self.budget > 0 {
                    let intended = pacer.next();
                    let Some(sender) = self.free_sender() else { break };
                    if pacer.advance() {
                        worked = true;
                        self.budget -= 1;
                        self.start_message(sender, intended, now);
                    }
                    looked += 1;
                    if looked % MESSAGES_A_LOOK == 0 {
                        now = self.now();
                    }
                    if looked >= 64 * MESSAGES_A_LOOK {
                        break;
                    }
                }
                if self.state.backlog_bytes > BACKLOG_BYTES_MAX {
                    let bound = BACKLOG_BYTES_MAX >> 20;
                    self.state
                        .fail(format!("the server takes bytes too slowly: {bound} MiB wait to be sent"));
                }
                self.pacer = Some(pacer);
                worked
            }
        }
    }

    fn generate_closed(&mut self, now: u64) -> bool {
        let mut worked = false;
        let sink = self.state.workload.kind == Kind::Sink;
        for _ in 0..self.senders.len() {
            let Some(sender) = self.free_sender() else { return worked };
            if self.state.workload.kind == Kind::Churn {
                worked = true;
                self.start_message(sender, now, now);
                continue;
            }
            // The window is counted once a turn: what comes meanwhile opens it in the next.
            let receivers = self.state.receivers_of(sender);
            let outstanding = self.state.outstanding(sender) / receivers.max(1);
            let mut room = self.window.saturating_sub(outstanding).min(self.budget);
            if sink && room < self.window.div_ceil(SINK_BARRIERS).min(self.budget) {
                continue;
            }
            let before = room;
            while room > 0 && self.state.connections[sender as usize].outbound.len() < GATHER_BYTES {
                let count = self.state.publish_some(sender, room, now);
                self.budget -= count;
                room -= count;
                worked = true;
            }
            if sink && room < before {
                self.state.barrier(sender, before - room, now);
            }
        }
        worked
    }

    /// The sender whose turn it is; of churners the next that is not busy.
    fn free_sender(&mut self) -> Option<u32> {
        for _ in 0..self.senders.len() {
            let sender = self.senders[self.turn];
            self.turn = if self.turn + 1 == self.senders.len() { 0 } else { self.turn + 1 };
            let connection = &self.state.connections[sender as usize];
            let free = match &connection.role {
                Role::Churner(churner) => connection.stage == Stage::Connecting && churner.intended == 0,
                _ => connection.stage == Stage::Ready,
            };
            if free {
                return Some(sender);
            }
        }
        None
    }

    fn start_message(&mut self, sender: u32, intended: u64, now: u64) {
        if let Role::Churner(churner) = &mut self.state.connections[sender as usize].role {
            churner.intended = intended.max(1);
            if let Err(error) = self.open(sender) {
                self.state.fail(format!("cannot open a connection: {error}"));
            }
        } else {
            self.state.publish(sender, intended, now);
        }
    }

    fn open(&mut self, index: u32) -> io::Result<()> {
        let address = &self.address;
        let socket = match address {
            Address::Inet(inet) => {
                let socket = Socket::new(Domain::for_address(*inet), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_tcp_nodelay(true)?;
                socket
            }
            Address::Unix(_) => Socket::new(Domain::UNIX, Type::STREAM, None)?,
        };
        if self.state.workload.kind == Kind::Churn {
            // Closing resets: a port in TIME_WAIT for every connection would run out of ports.
            socket.set_linger(Some(Duration::ZERO))?;
        }
        self.ring.install(Slot(index), socket.into())?;
        self.connecting += 1;
        self.ring.connect(Slot(index), address)
    }

    fn flush(&mut self) -> Result<(), String> {
        for place in 0..self.state.dirty.len() {
            let index = self.state.dirty[place];
            let connection = &mut self.state.connections[index as usize];
            connection.dirty = false;
            if connection.sending || connection.outbound.is_empty() || connection.stage == Stage::Gone {
                continue;
            }
            let fresh = self.idle_buffers.pop().map(|mut buffer| {
                buffer.clear();
                buffer
            });
            let bytes = std::mem::replace(&mut connection.outbound, fresh.unwrap_or_default());
            connection.sending = true;
            self.state.backlog_bytes -= bytes.len();
            let mut chunks = self.idle_chunks.pop().unwrap_or_default();
            chunks.push(Chunk::Owned(bytes));
            self.ring.send(Slot(index), chunks).map_err(|error| format!("io_uring: {error}"))?;
        }
        self.state.dirty.clear();
        Ok(())
    }

    fn told(&mut self, now: u64) {
        // Live percentiles of the interval that just ended; looking costs some microseconds.
        let window = self.state.recorder.window();
        let slice = (now.saturating_sub(window.start) / window.interval) as usize;
        if now < window.start || slice == self.slice {
            return;
        }
        if let Some(ended) = self.state.recorder.slices.get(self.slice) {
            let progress = self.progress();
            progress.p50.store(quantile(&ended.response, 0.5).unwrap_or(0), Ordering::Relaxed);
            progress.p99.store(quantile(&ended.response, 0.99).unwrap_or(0), Ordering::Relaxed);
        }
        self.slice = slice;
    }

    fn tell_progress(&mut self, now: u64) {
        self.told_at = now;
        let (recorder, progress) = (&self.state.recorder, self.progress());
        progress.sent.store(recorder.sent, Ordering::Relaxed);
        progress.expected.store(recorder.expected, Ordering::Relaxed);
        progress.delivered.store(recorder.delivered, Ordering::Relaxed);
    }

    fn progress(&self) -> &super::shared::Progress {
        &self.shared.drivers[self.number]
    }
}
