//! Threads and their life: one pinned glommio executor a shard, the admin thread, signals, and the
//! orderly stop.

use super::admin::{self, AdminState};
use super::listener;
use super::mesh::{self, MeshEnds};
use super::metrics::SharedCounters;
use super::shard_loop::{Orders, Parts, ShardLoop};
use super::verifier::{self, Verifier};
use crate::access::Access;
use crate::config::{Config, WaitMode};
use crate::limits::Limits;
use crate::shard::{Dialect, ServerIdentity, Shard, ShardId};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use ringbolt_ring::{BufferRingConfig, RegionBacking, Ring, RingConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A data shard keeps nothing in its executor's own rings.
const EXECUTOR_IO_MEMORY_BYTES: usize = 64 << 10;
/// Slots beyond `connections_max`, so that one too many can be told so.
const SLOTS_SPARE: u32 = 64;
/// How long after the drain limit a shard may take to notice that it must stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// Why the server could not start or go on.
#[derive(Debug)]
pub struct RunError(String);

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

fn failed(what: &str, error: &dyn fmt::Display) -> RunError {
    RunError(format!("{what}: {error}"))
}

type ShardThread = ExecutorJoinHandle<io::Result<usize>>;

/// What a shard's thread says once it serves, or cannot.
type Report = (ShardId, Result<(RegionBacking, bool), String>);

/// Runs the server until it is told to stop.
pub fn run(config: &Config, limits: &Limits) -> Result<(), RunError> {
    // Before any thread: they inherit the handlers, and this thread reads them.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| failed("signals", &error))?;
    let _ = ringbolt_ring::raise_descriptor_limit();
    let (listeners, bound) = bind(config, limits.shards)?;
    let orders = Arc::new(Orders::default());
    let counters: Vec<Arc<SharedCounters>> = (0..limits.shards).map(|_| Arc::default()).collect();
    let admin_state = Arc::new(AdminState::new(counters.clone()));
    let admin = match config.admin {
        None => None,
        Some(address) => Some(
            admin::spawn(address, Arc::clone(&admin_state))
                .map_err(|error| failed(&format!("admin address {address}"), &error))?,
        ),
    };
    let ends = mesh::connect(limits).map_err(|error| failed("mesh", &error))?;
    let sleepers = Arc::clone(&ends[0].sleepers);
    let verifiers = verifier::start(&sleepers).map_err(|error| failed("verifier", &error))?;
    let (report, reports) = mpsc::channel();
    let seeds = Seeds::new();
    let mut shards = Vec::new();
    let parts = ends.into_iter().zip(listeners).zip(verifiers).zip(&counters);
    for (id, (((end, listeners), verifier), shared)) in parts.enumerate() {
        let seat = Seat {
            id: id as ShardId,
            mesh: end,
            listeners,
            verifier,
            shared: Arc::clone(shared),
            orders: Arc::clone(&orders),
            report: report.clone(),
            wait: config.wait,
            huge_pages: config.huge_pages,
            limits: limits.clone(),
            access: config.access.clone(),
            identity: identity(config, &seeds, bound.nats),
            hash_seed: seeds.hash,
            random_seed: seeds.random(id),
        };
        shards.push(spawn_shard(config.cores[id], seat)?);
    }
    drop(report);
    let wake_all = || sleepers.iter().for_each(|sleeper| sleeper.doorbell.ring());
    let started = await_shards(&reports, limits.shards, config.huge_pages);
    if let Err(error) = started {
        orders.stop.store(true, Ordering::Relaxed);
        wake_all();
        shards.into_iter().for_each(|shard| drop(shard.join()));
        return Err(error);
    }
    admin_state.ready.store(true, Ordering::Relaxed);
    announce(config, &bound, admin.as_ref().map(|admin| admin.address))?;

    let signal = signals.forever().next();
    let name = if signal == Some(SIGINT) { "SIGINT" } else { "SIGTERM" };
    tracing::info!("{name}: draining, for at most {:?}", Duration::from_nanos(limits.drain_nanos_max));
    admin_state.draining.store(true, Ordering::Relaxed);
    orders.drain.store(true, Ordering::Relaxed);
    wake_all();
    let left_open = await_end(shards, &mut signals, &orders, limits, wake_all)?;
    if let Some(admin) = admin {
        admin.stop();
    }
    for file in [&config.pid_file, &config.ports_file, &config.native_unix].into_iter().flatten() {
        // Ours to remove, and not worth failing an orderly stop for.
        let _ = std::fs::remove_file(file);
    }
    tracing::info!("stopped; {left_open} connections were cut");
    Ok(())
}

/// Where clients connect, as it was bound.
struct Bound {
    native: SocketAddr,
    nats: Option<SocketAddr>,
}

type Listeners = Vec<(Dialect, OwnedFd)>;

/// Listeners by shard, and the addresses that were bound.
fn bind(config: &Config, shards: usize) -> Result<(Vec<Listeners>, Bound), RunError> {
    let mut listeners: Vec<Listeners> = (0..shards).map(|_| Vec::new()).collect();
    let mut bind_tcp = |dialect: Dialect, address: SocketAddr| {
        let listening = |error: io::Error| failed(&format!("listening on {address}"), &error);
        let tcp = listener::bind_shared(address, shards).map_err(listening)?;
        let bound = tcp[0].local_addr().map_err(listening)?;
        for (listeners, listener) in listeners.iter_mut().zip(tcp) {
            listeners.push((dialect, listener.into()));
        }
        Ok(bound)
    };
    let native = bind_tcp(Dialect::Native, config.native)?;
    let nats = config.nats.map(|address| bind_tcp(Dialect::Nats, address)).transpose()?;
    if let Some(path) = &config.native_unix {
        let unix = listener::bind_unix(path, shards)
            .map_err(|error| failed(&format!("listening on {}", path.display()), &error))?;
        for (listeners, listener) in listeners.iter_mut().zip(unix) {
            listeners.push((Dialect::Native, listener));
        }
    }
    Ok((listeners, Bound { native, nats }))
}

/// Waits for the shards to drain; past the limit, or at a second signal, tells them to stop.
fn await_end(
    shards: Vec<ShardThread>,
    signals: &mut Signals,
    orders: &Orders,
    limits: &Limits,
    wake_all: impl Fn(),
) -> Result<usize, RunError> {
    let (ended, ends) = mpsc::channel();
    let count = shards.len();
    for shard in shards {
        let ended = ended.clone();
        std::thread::spawn(move || ended.send(shard.join()));
    }
    let limit = Instant::now() + Duration::from_nanos(limits.drain_nanos_max);
    let mut left_open = 0;
    let mut done = 0;
    while done < count {
        let stopping = orders.stop.load(Ordering::Relaxed);
        match ends.recv_timeout(Duration::from_millis(20)) {
            Ok(Ok(result)) => {
                left_open += result.map_err(|error| failed("a shard failed", &error))?;
                done += 1;
            }
            Ok(Err(error)) => return Err(failed("a shard's executor failed", &error)),
            Err(_) if stopping && Instant::now() > limit + STOP_TIME_MAX => {
                tracing::warn!("{} shards do not stop: leaving them", count - done);
                break;
            }
            Err(_) if !stopping && (Instant::now() > limit || signals.pending().next().is_some()) => {
                tracing::warn!("not drained in time: cutting what is left");
                orders.stop.store(true, Ordering::Relaxed);
                wake_all();
            }
            Err(_) => {}
        }
    }
    Ok(left_open)
}

/// Everything one shard's thread is given.
struct Seat {
    id: ShardId,
    mesh: MeshEnds,
    listeners: Listeners,
    verifier: Verifier,
    shared: Arc<SharedCounters>,
    orders: Arc<Orders>,
    report: mpsc::Sender<Report>,
    wait: WaitMode,
    huge_pages: bool,
    limits: Limits,
    access: Access,
    identity: ServerIdentity,
    hash_seed: u64,
    random_seed: u64,
}

fn spawn_shard(core: usize, seat: Seat) -> Result<ShardThread, RunError> {
    let name = format!("shard-{}", seat.id);
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&name)
        .io_memory(EXECUTOR_IO_MEMORY_BYTES)
        .ring_depth(16)
        .spawn(move || async move {
            // The loop waits on its own ring and never on the executor's: the executor gives the
            // shard its thread, pinned to its core (docs/decisions/0002).
            let guard = AbortOnPanic(seat.id);
            let id = seat.id;
            let result = serve(seat);
            std::mem::forget(guard);
            if let Err(error) = &result {
                // Its clients hang and the other shards count on it: better to be started anew.
                tracing::error!("shard {id} failed ({error}): the server ends");
                std::process::exit(1);
            }
            result
        })
        .map_err(|error| failed(&format!("starting {name} on core {core}"), &error))
}

fn serve(seat: Seat) -> io::Result<usize> {
    let Seat { id, limits, report, .. } = seat;
    let shard = Shard::new(id, &limits, &seat.access, seat.identity, seat.hash_seed, seat.random_seed);
    // Made here, on the pinned thread: its memory is touched first, and so placed, by this core.
    let built = build_ring(&limits, seat.huge_pages).and_then(|ring| {
        let memory = (ring.buffers_backing(), ring.buffers_locked());
        let (mesh, listeners, orders, shared) = (seat.mesh, seat.listeners, seat.orders, seat.shared);
        let verifier = seat.verifier;
        let parts = Parts { shard, ring, mesh, listeners, orders, verifier, shared, wait: seat.wait };
        Ok((ShardLoop::new(parts)?, memory))
    });
    match built {
        Ok((shard_loop, memory)) => {
            let _ = report.send((id, Ok(memory)));
            drop(report);
            shard_loop.run()
        }
        Err(error) => {
            let _ = report.send((id, Err(error.to_string())));
            Ok(0)
        }
    }
}

fn build_ring(limits: &Limits, huge_pages: bool) -> io::Result<Ring> {
    let wanted = limits.connections_max as u32 + SLOTS_SPARE;
    let slots = wanted.min(ringbolt_ring::descriptor_limit());
    Ring::new(RingConfig {
        entries: limits.ring_entries,
        completion_entries: limits.ring_entries * 8,
        slots,
        buffers: BufferRingConfig {
            buffer_bytes: limits.receive_buffer_bytes,
            buffers: limits.receive_buffers,
            huge_pages,
        },
    })
}

fn await_shards(reports: &mpsc::Receiver<Report>, count: usize, huge_pages: bool) -> Result<(), RunError> {
    for _ in 0..count {
        let gone = |_| RunError("a shard's thread ended before it served".to_owned());
        let (id, result) = reports.recv().map_err(gone)?;
        let (backing, locked) = result.map_err(|error| failed(&format!("shard {id}"), &error))?;
        if huge_pages && backing == RegionBacking::Pages {
            tracing::info!(
                shard = id,
                "no reserved huge pages: receive buffers lie in ordinary ones (sysctl vm.nr_hugepages)"
            );
        }
        if !locked {
            tracing::info!(shard = id, "receive buffers are not locked: raise the locked-memory limit");
        }
    }
    Ok(())
}

fn announce(config: &Config, bound: &Bound, admin: Option<SocketAddr>) -> Result<(), RunError> {
    let pid = std::process::id();
    if let Some(path) = &config.pid_file {
        std::fs::write(path, format!("{pid}\n"))
            .map_err(|error| failed(&format!("pid_file {}", path.display()), &error))?;
    }
    if let Some(path) = &config.ports_file {
        let quoted = |address: Option<SocketAddr>| match address {
            Some(address) => format!("\"{address}\""),
            None => "null".to_owned(),
        };
        let (native, nats, admin) = (bound.native, quoted(bound.nats), quoted(admin));
        let text =
            format!("{{\"native\": \"{native}\", \"nats\": {nats}, \"admin\": {admin}, \"pid\": {pid}}}\n");
        // Renamed into place: whoever waits for the file reads it whole.
        let partial = path.with_extension("partial");
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(|error| failed(&format!("ports_file {}", path.display()), &error))?;
    }
    let or_off = |address: Option<SocketAddr>| address.map_or("off".to_owned(), |found| found.to_string());
    let (native, nats, admin, cores) = (bound.native, or_off(bound.nats), or_off(admin), &config.cores);
    tracing::info!(%native, %nats, %admin, ?cores, wait = ?config.wait, "ready");
    Ok(())
}

fn identity(config: &Config, seeds: &Seeds, nats: Option<SocketAddr>) -> ServerIdentity {
    ServerIdentity {
        server_id: format!("{:016X}{:016X}", seeds.hash, seeds.random(usize::MAX)),
        server_name: config.server_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nats,
    }
}

/// Randomness of this process: clients must not be able to choose colliding subjects.
struct Seeds {
    state: RandomState,
    hash: u64,
}

impl Seeds {
    fn new() -> Seeds {
        let state = RandomState::new();
        Seeds { hash: state.hash_one("hash"), state }
    }

    fn random(&self, number: usize) -> u64 {
        self.state.hash_one(number)
    }
}

/// A shard that panics has a bug; the other shards must not go on without it.
struct AbortOnPanic(ShardId);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        tracing::error!("shard {} panicked: the server ends", self.0);
        std::process::abort();
    }
}
