//! A whole server in simulated time: the loops that serve, over a kernel whose every step is chosen by the
//! caller.
//!
//! Operations complete in any order and any portions, buffers run out, accepts fail, slots come back, shards
//! sleep and are woken; a run is repeated from its seed.

mod network;
mod platform;

pub use network::{Kernel, Move, Network, Whim, Wire};
pub use platform::{Sabotage, SimBell, SimMesh, SimOffload, SimRing, Simulated};

use crate::capture::{Header, Payloads, Recorder, Refused, Sink};
use crate::config::WaitMode;
use crate::io::mesh::{self, Beds};
use crate::io::platform::WorkKind;
use crate::io::{Changed, Listening, Orders, Parts, ShardLoop, Step};
use ringbolt_shard::access::{Access, Verdict, Verification};
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{Dialect, Nanos, ServerIdentity, ShardId, Transport};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const NATIVE: Listening = Listening { dialect: Dialect::Native, transport: Transport::Tcp };
pub const NATS: Listening = Listening { dialect: Dialect::Nats, transport: Transport::Tcp };
pub const NATIVE_UNIX: Listening = Listening { dialect: Dialect::Native, transport: Transport::Unix };
/// By number.
pub const LISTENERS: [Listening; 3] = [NATIVE, NATS, NATIVE_UNIX];

/// A capture in memory.
#[derive(Clone, Debug, Default)]
pub struct File(pub Rc<RefCell<Vec<u8>>>);

impl Sink for File {
    fn put(&mut self, bytes: Vec<u8>) -> Result<(), Refused> {
        self.0.borrow_mut().extend(bytes);
        Ok(())
    }

    fn finish(&mut self, bytes: Vec<u8>) {
        self.0.borrow_mut().extend(bytes);
    }
}

/// Shape of a simulated server.
#[derive(Clone, Debug)]
pub struct Shape {
    pub limits: Limits,
    pub access: Access,
    pub wait: WaitMode,
    /// Sockets a shard may have.
    pub slots: usize,
    /// Proofs of one kind that may wait on a shard.
    pub proofs_waiting_max: usize,
    pub seed: u64,
}

struct Seat {
    /// None once it is over.
    shard_loop: Option<ShardLoop<Simulated>>,
    offload: SimOffload,
    left_open: usize,
}

pub struct Server {
    pub network: Rc<RefCell<Network>>,
    seats: Vec<Seat>,
    beds: Beds<SimBell>,
    orders: Arc<Orders>,
    sabotage: Rc<Cell<Option<Sabotage>>>,
}

impl Server {
    pub fn new(shape: &Shape) -> Server {
        Server::with_captures(shape, |_| None)
    }

    /// Shards that record themselves to files in memory.
    pub fn captured(shape: &Shape, payloads: Payloads, bytes_max: u64) -> (Server, Vec<File>) {
        let files: Vec<File> = (0..shape.limits.shards).map(|_| File::default()).collect();
        let server = Server::with_captures(shape, |header| {
            let file = files[usize::from(header.shard)].clone();
            Some(Box::new(Recorder::new(Header { payloads, ..header }, bytes_max, Box::new(file))))
        });
        (server, files)
    }

    fn with_captures(shape: &Shape, capture: impl Fn(Header) -> Option<Box<Recorder>>) -> Server {
        let Shape { limits, access, wait, slots, proofs_waiting_max, seed } = shape;
        let bell = || Ok(SimBell::default());
        let ends = mesh::connect(limits, bell).expect("nothing of the system's is asked for");
        let beds = Arc::clone(&ends[0].beds);
        let buffer_bytes = limits.receive_buffer_bytes as usize;
        let kernel = || Kernel::new(*slots, LISTENERS.len(), limits.receive_buffers, buffer_bytes);
        let kernels = (0..limits.shards).map(|_| kernel()).collect();
        let network = Network { now: Nanos(1), wires: Vec::new(), kernels, holds_look_ups: false };
        let network = Rc::new(RefCell::new(network));
        let sabotage = Rc::new(Cell::new(None));
        let orders = Arc::new(Orders::default());
        let identity = ServerIdentity {
            server_id: "0".to_owned(),
            server_name: "simulated".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reply_key: (seed ^ 1, seed ^ 2),
            unix_epoch_nanos: 0,
            nats: None,
        };
        let seats = ends.into_iter().enumerate().map(|(id, ends)| {
            let offload =
                SimOffload { waiting: Rc::default(), outcomes: Rc::default(), room: *proofs_waiting_max };
            let header = Header {
                version: identity.version.clone(),
                shard: id as ShardId,
                payloads: Payloads::Lengths,
                limits: limits.clone(),
                access: access.clone(),
                identity: identity.clone(),
                hash_seed: *seed,
                random_seed: seed ^ id as u64,
            };
            let parts = Parts {
                platform: Simulated { network: Rc::clone(&network), nonces: 0 },
                shard: header.shard(),
                ring: SimRing { network: Rc::clone(&network), shard: id },
                mesh: SimMesh { ends, sabotage: Rc::clone(&sabotage), kept: VecDeque::new() },
                offload: offload.clone(),
                listening: LISTENERS.to_vec(),
                orders: Arc::clone(&orders),
                shared: Arc::default(),
                wait: *wait,
                nats_connections_max: limits.nats_connections_max,
                hello_timeout_nanos: limits.hello_timeout_nanos,
                send_steps: limits.turn_steps.into(),
                capture: capture(header),
            };
            let shard_loop = Some(ShardLoop::new(parts).expect("a simulated ring takes everything"));
            Seat { shard_loop, offload, left_open: 0 }
        });
        let seats = seats.collect();
        Server { network, seats, beds, orders, sabotage }
    }

    pub fn shards(&self) -> usize {
        self.seats.len()
    }

    /// A client connects to a listener of a shard. Returns its wire.
    pub fn connect(&mut self, shard: ShardId, listening: Listening) -> usize {
        let listener = LISTENERS.iter().position(|&other| other == listening).expect("one of them");
        self.network.borrow_mut().connect(shard, listener as u32)
    }

    /// Does something wrong the next time there is an occasion.
    pub fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage.set(Some(sabotage));
    }

    /// Whether the shard would go on by itself.
    pub fn is_awake(&self, shard: usize) -> bool {
        let network = self.network.borrow();
        self.seats[shard].shard_loop.is_some() && network.kernels[shard].is_awake(network.now)
    }

    /// The shard's loop goes one step, if it is awake. Returns whether it did.
    pub fn run(&mut self, shard: usize) -> bool {
        if !self.is_awake(shard) {
            return false;
        }
        self.network.borrow_mut().kernels[shard].asleep_until = None;
        let seat = &mut self.seats[shard];
        let Some(shard_loop) = &mut seat.shard_loop else { return false };
        let step = shard_loop.step().expect("a simulated ring does not fail");
        shard_loop.shard_mut().check();
        match step {
            Step::Over(left_open) => {
                seat.left_open = left_open;
                seat.shard_loop = None;
            }
            Step::Awake | Step::Slept => {}
        }
        true
    }

    /// The doorbell of a shard is heard. Returns whether it had been rung.
    pub fn hear_bell(&mut self, shard: usize) -> bool {
        let bell = &self.beds[shard].doorbell;
        let rung = bell.is_rung();
        if rung {
            bell.silence();
            let kernel = &mut self.network.borrow_mut().kernels[shard];
            kernel.completions.push_back(ringbolt_ring::Completion::Doorbell);
        }
        rung
    }

    /// What the kernel of a shard could do next.
    pub fn moves(&self, shard: usize) -> Vec<Move> {
        self.network.borrow().moves(shard)
    }

    pub fn take(&mut self, shard: usize, taken: Move, whim: Whim) {
        self.network.borrow_mut().take(shard, taken, whim);
    }

    /// One proof of a shard's and of that kind is decided. Returns whether there was one.
    pub fn verify(&mut self, shard: usize, kind: WorkKind, judge: impl Fn(&Verification) -> Verdict) -> bool {
        let offload = &self.seats[shard].offload;
        let next = offload.waiting.borrow_mut()[kind as usize].pop_front();
        let Some((id, verification)) = next else { return false };
        offload.outcomes.borrow_mut().push_back((id, judge(&verification)));
        self.beds[shard].wake();
        true
    }

    pub fn pass(&mut self, nanos: u64) {
        let mut network = self.network.borrow_mut();
        network.now = Nanos(network.now.0 + nanos);
    }

    /// Publishes new settings; each shard takes them when it goes on.
    pub fn change(&mut self, access: Access, limits: Limits) {
        self.orders.change(Changed { access, limits });
        self.ring_all();
    }

    pub fn lame_duck(&mut self) {
        self.orders.lame_duck.store(true, Ordering::Relaxed);
        self.ring_all();
    }

    pub fn drain(&mut self) {
        self.orders.drain.store(true, Ordering::Relaxed);
        self.ring_all();
    }

    fn ring_all(&self) {
        use crate::io::mesh::Bell;
        self.beds.iter().for_each(|bed| bed.doorbell.ring());
    }

    /// A shard that sleeps although there is work that nothing will wake it for.
    pub fn sleeps_on_work(&mut self) -> Option<usize> {
        (0..self.seats.len()).find(|&shard| {
            let asleep = !self.is_awake(shard) && !self.beds[shard].doorbell.is_rung();
            let shard_loop = self.seats[shard].shard_loop.as_mut();
            asleep && shard_loop.is_some_and(|shard_loop| shard_loop.has_work())
        })
    }

    /// Shards whose loops are over, and the connections they cut then.
    pub fn over(&self) -> (usize, usize) {
        let over = self.seats.iter().filter(|seat| seat.shard_loop.is_none());
        (over.count(), self.seats.iter().map(|seat| seat.left_open).sum())
    }

    /// A counter or gauge, summed over the shards that are not over.
    pub fn count(&mut self, counter: Counter) -> u64 {
        let loops = self.seats.iter_mut().filter_map(|seat| seat.shard_loop.as_mut());
        loops
            .map(|shard_loop| {
                shard_loop.shard_mut().refresh_gauges();
                shard_loop.shard_mut().counters().get(counter)
            })
            .sum()
    }

    /// Connections that the loops know, whatever their shards do.
    pub fn connections(&self) -> usize {
        self.seats.iter().filter_map(|seat| seat.shard_loop.as_ref()).map(ShardLoop::connections).sum()
    }
}
