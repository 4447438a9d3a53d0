//! Threads and their life: one pinned glommio executor a shard, the admin thread, signals, and the
//! orderly stop.

pub use super::run_error::RunError;

use super::admin::{self, AdminState, Hosts, Inquire, ServerFacts};
use super::announce::{self, Bound};
use super::capture_file::CaptureFile;
use super::clock::{Clock, unix_nanos};
use super::connection::Listening;
use super::ending::{Ending, Reload, SIGNALS, ShardThread};
use super::linux::{Linux, LinuxRing};
use super::listener;
use super::log;
use super::mesh::{self, Beds, MeshEnds};
use super::metrics::SharedCounters;
use super::offload::{self, OffloadEnd};
use super::run_error::failed;
use super::shard_loop::{Inquiry, Orders, Parts, ShardLoop};
use super::verifier::is_proven;
use crate::capture::{Header, Payloads, Recorder};
use crate::config::{Config, WaitMode};
use glommio::{LocalExecutorBuilder, Placement};
use ringbolt_ring::{BufferRingConfig, Doorbell, RegionBacking, Ring, RingConfig};
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use ringbolt_shard::metrics::Counter;
use ringbolt_shard::{Dialect, ServerIdentity, ShardId, Transport};
use signal_hook::iterator::Signals;
use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

/// A data shard keeps nothing in its executor's own rings.
const EXECUTOR_IO_MEMORY_BYTES: usize = 64 << 10;
/// Slots beyond `connections_max`, so that one too many can be told so.
const SLOTS_SPARE: u32 = 64;

/// What a shard's thread says once it serves, or cannot.
type Report = (ShardId, Result<(RegionBacking, bool), String>);

/// Runs the server until it is told to stop. `reload` reads the settings again.
pub fn run(config: &Config, limits: &Limits, reload: &Reload<'_>) -> Result<(), RunError> {
    // Before any thread: they inherit the handlers, and this thread reads them.
    let mut signals = Signals::new(SIGNALS).map_err(|error| failed("signals", &error))?;
    let _ = ringbolt_ring::raise_descriptor_limit();
    let (listeners, mut bound) = bind(config, limits.shards)?;
    let orders = Arc::new(Orders::default());
    let counters: Vec<Arc<SharedCounters>> = (0..limits.shards).map(|_| Arc::default()).collect();
    let ends = mesh::connect(limits, Doorbell::new).map_err(|error| failed("mesh", &error))?;
    let beds = Arc::clone(&ends[0].beds);
    let seeds = Seeds::new();
    // 56 letters, like those of nats-server.
    let server_id = nkeys::KeyPair::new_server().public_key();
    let identity = identity(config, &seeds, &server_id, bound.nats);
    let inquirer = Inquirer { orders: Arc::clone(&orders), beds: Arc::clone(&beds) };
    let admin_state = Arc::new(admin_state(config, limits, &identity, counters.clone(), inquirer));
    let admin = match config.admin {
        None => None,
        Some(address) => Some(
            admin::spawn(address, Arc::clone(&admin_state))
                .map_err(|error| failed(&format!("admin address {address}"), &error))?,
        ),
    };
    let offloads =
        offload::start(&beds, is_proven).map_err(|error| failed("threads for slow work", &error))?;
    let captures = captures(config, limits.shards)?;
    let (report, reports) = mpsc::channel();
    let mut shards = Vec::new();
    let parts = ends.into_iter().zip(listeners).zip(offloads).zip(captures).zip(&counters);
    for (id, ((((end, listeners), offload), capture), shared)) in parts.enumerate() {
        let seat = Seat {
            id: id as ShardId,
            mesh: end,
            listeners,
            offload,
            capture,
            shared: Arc::clone(shared),
            orders: Arc::clone(&orders),
            report: report.clone(),
            wait: config.wait,
            huge_pages: config.huge_pages,
            limits: limits.clone(),
            access: config.access.clone(),
            identity: identity.clone(),
            hash_seed: seeds.hash,
            random_seed: seeds.random(id),
        };
        shards.push(spawn_shard(config.cores[id], seat)?);
    }
    drop(report);
    let wake_all = || beds.iter().for_each(|bed| bed.doorbell.ring());
    if let Err(error) = await_shards(&reports, limits.shards, config.huge_pages) {
        orders.stop.store(true, Ordering::Relaxed);
        wake_all();
        shards.into_iter().for_each(|shard| drop(shard.join()));
        return Err(error);
    }
    admin_state.ready.store(true, Ordering::Relaxed);
    bound.admin = admin.as_ref().map(|admin| admin.address);
    announce::announce(config, &bound, &server_id).map_err(RunError)?;

    let (access, limits) = (RefCell::new(config.access.clone()), RefCell::new(limits.clone()));
    let ending =
        Ending { config, limits, orders: &orders, admin: &admin_state, wake_all: &wake_all, reload, access };
    let left_open = ending.serve(shards, &mut signals)?;
    admin.into_iter().for_each(|admin| admin.stop());
    announce::withdraw(config);
    tracing::info!("stopped; {left_open} connections were cut");
    Ok(())
}

/// The files that shards are recorded to, if that is wanted. They are made, and their writers started, here:
/// threads of shards are pinned, and so would be theirs.
fn captures(config: &Config, shards: usize) -> Result<Vec<Option<CaptureFile>>, RunError> {
    let create = |shard| {
        let Some(settings) = &config.capture else { return Ok(None) };
        let what = || format!("capture_directory {}", settings.directory.display());
        CaptureFile::create(settings, shard).map(Some).map_err(|error| failed(&what(), &error))
    };
    (0..shards as ShardId).map(create).collect()
}

type Listeners = Vec<(Listening, OwnedFd)>;

/// Listeners by shard, and the addresses that were bound.
fn bind(config: &Config, shards: usize) -> Result<(Vec<Listeners>, Bound), RunError> {
    let mut listeners: Vec<Listeners> = (0..shards).map(|_| Vec::new()).collect();
    let mut bind_tcp = |dialect: Dialect, address: SocketAddr| {
        let listening = |error: io::Error| failed(&format!("listening on {address}"), &error);
        let tcp = listener::bind_shared(address, shards).map_err(listening)?;
        let bound = tcp[0].local_addr().map_err(listening)?;
        for (listeners, listener) in listeners.iter_mut().zip(tcp) {
            listeners.push((Listening { dialect, transport: Transport::Tcp }, listener.into()));
        }
        Ok(bound)
    };
    let native = config.native.map(|address| bind_tcp(Dialect::Native, address)).transpose()?;
    let nats = config.nats.map(|address| bind_tcp(Dialect::Nats, address)).transpose()?;
    if let Some(path) = &config.native_unix {
        let unix = listener::bind_unix(path, shards)
            .map_err(|error| failed(&format!("listening on {}", path.display()), &error))?;
        let listening = Listening { dialect: Dialect::Native, transport: Transport::Unix };
        for (listeners, listener) in listeners.iter_mut().zip(unix) {
            listeners.push((listening, listener));
        }
    }
    Ok((listeners, Bound { native, nats, admin: None }))
}

/// Everything one shard's thread is given.
struct Seat {
    id: ShardId,
    mesh: MeshEnds<Doorbell>,
    listeners: Listeners,
    offload: OffloadEnd,
    capture: Option<CaptureFile>,
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
                log::flush();
                std::process::exit(1);
            }
            result
        })
        .map_err(|error| failed(&format!("starting {name} on core {core}"), &error))
}

fn serve(seat: Seat) -> io::Result<usize> {
    let Seat { id, limits, report, .. } = seat;
    let clock = Clock::new();
    let header = Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shard: id,
        payloads: seat.capture.as_ref().map_or(Payloads::Lengths, |file| file.settings.payloads),
        limits: limits.clone(),
        access: seat.access,
        identity: ServerIdentity { unix_epoch_nanos: unix_nanos(), ..seat.identity },
        hash_seed: seat.hash_seed,
        random_seed: seat.random_seed,
    };
    let mut shard = header.shard();
    let capture = seat
        .capture
        .map(|file| Box::new(Recorder::new(header, file.settings.bytes_max as u64, Box::new(file))));
    // Made here, on the pinned thread: its memory is touched first, and so placed, by this core.
    let built = build_ring(&limits, seat.huge_pages).and_then(|mut ring| {
        let memory = (ring.buffers_backing(), ring.buffers_locked());
        let huge = memory.0 == RegionBacking::HugePages;
        shard.counters_mut().set(Counter::MemoryHugePages, u64::from(huge));
        ring.listen_to(&seat.mesh.beds[usize::from(id)].doorbell)?;
        let (listening, listeners) = seat.listeners.into_iter().unzip();
        let parts = Parts::<Linux> {
            platform: Linux::new(clock),
            shard,
            ring: LinuxRing::new(ring, listeners),
            mesh: seat.mesh,
            offload: seat.offload,
            listening,
            orders: seat.orders,
            shared: seat.shared,
            wait: seat.wait,
            nats_connections_max: limits.nats_connections_max,
            hello_timeout_nanos: limits.hello_timeout_nanos,
            send_steps: limits.turn_steps.into(),
            capture,
        };
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

fn identity(config: &Config, seeds: &Seeds, server_id: &str, nats: Option<SocketAddr>) -> ServerIdentity {
    let advertised = config.nats_advertise.as_ref().map(|text| match text.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), port.parse().unwrap_or_default()),
        None => (text.clone(), nats.map_or(0, |address| address.port())),
    });
    let bound = nats.map(|address| (address.ip().to_string(), address.port()));
    ServerIdentity {
        server_id: server_id.to_owned(),
        server_name: config.server_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        reply_key: (seeds.state.hash_one("reply"), seeds.state.hash_one("reply key")),
        unix_epoch_nanos: unix_nanos(),
        nats: advertised.or(bound),
    }
}

/// What the admin address answers from.
fn admin_state(
    config: &Config,
    limits: &Limits,
    identity: &ServerIdentity,
    counters: Vec<Arc<SharedCounters>>,
    inquirer: Inquirer,
) -> AdminState {
    let (host, port) = identity.nats.clone().unwrap_or_default();
    let facts = ServerFacts {
        server_id: identity.server_id.clone(),
        server_name: identity.server_name.clone(),
        host,
        port,
        monitor_host: config.admin.map(|address| address.ip().to_string()).unwrap_or_default(),
        monitor_port: config.admin.map_or(0, |address| address.port()),
        cores: limits.shards,
        hosts: Hosts::new(&config.admin_hosts),
    };
    AdminState::new(counters, facts, &config.access, limits, Some(Box::new(inquirer)))
}

/// Carries questions of the admin thread to the shards.
#[derive(Debug)]
struct Inquirer {
    orders: Arc<Orders>,
    beds: Beds<Doorbell>,
}

impl Inquire for Inquirer {
    fn ask(&self, shard: ShardId, inquiry: Inquiry) {
        self.orders.ask(shard, inquiry);
        self.beds[usize::from(shard)].doorbell.ring();
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
        log::flush();
        std::process::abort();
    }
}
