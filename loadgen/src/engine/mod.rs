//! The engine: drivers on their cores, the run's clock, and the merging of what they measured.

mod connection;
mod drain;
mod driver;
mod members;
mod names;
mod pacer;
pub mod recorder;
mod roles;
mod shared;
mod state;
mod work;

use crate::host::{Activity, ProcessUsage};
use crate::interrupts;
use crate::payload::Pattern;
use crate::progress::Reporter;
use crate::sequence::Spread;
use crate::workload::{Pacing, Role, Workload};
use driver::Driver;
use names::Names;
use pacer::Pacer;
use recorder::{Recorder, Window};
use ringbolt_ring::Address;
pub use shared::Progress;
use shared::Shared;
use state::State;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A run's intervals: a second, or more so that there are never more than this many.
const INTERVALS_MAX: u64 = 600;
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(50);
const SECOND_NANOS: u64 = 1_000_000_000;

/// Everything measured by one run, before it is judged.
#[derive(Debug)]
pub struct Outcome {
    pub recorder: Recorder,
    pub window: Window,
    /// Activity of the machine by interval.
    pub activity: Vec<Activity>,
    pub server: Option<(ProcessUsage, ProcessUsage)>,
    pub generator: (ProcessUsage, ProcessUsage),
    /// When the measured part began.
    pub started_unix_millis: u64,
}

/// Runs a workload to its end.
pub fn run(
    workload: &Workload,
    address: &Address,
    server_pid: Option<u32>,
    reporter: &mut Reporter,
) -> Result<Outcome, String> {
    let workload = Arc::new(workload.clone());
    let drivers = workload.driver_cores.len();
    let shared = Arc::new(Shared::new(drivers, workload.publishers));
    let names = Arc::new(Names::of(&workload));
    let pattern = Arc::new(Pattern::new(workload.payload.largest()));
    let window = window_of(&workload);
    let mut parts: Vec<Vec<Role>> = vec![Vec::new(); drivers];
    // Receiver and sender of a subject stand side by side: they go to the same driver.
    for (place, role) in workload.plan().into_iter().enumerate() {
        parts[place / 2 % drivers].push(role);
    }
    let mut threads = Vec::new();
    for (number, roles) in parts.into_iter().enumerate() {
        let share = senders(&roles) as f64 / f64::from(workload.publishers.max(1));
        let (workload, names) = (Arc::clone(&workload), Arc::clone(&names));
        let (pattern, shared) = (Arc::clone(&pattern), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name(format!("driver-{number}"));
        let address = address.clone();
        let body = move || drive(number, share, workload, address, names, pattern, shared, roles, window);
        threads.push(thread.spawn(body).map_err(|error| format!("cannot start a thread: {error}"))?);
    }
    let outcome = supervise(&workload, &shared, window, server_pid, reporter);
    let recorder = join(threads, window)?;
    let mut outcome = outcome?;
    outcome.recorder = recorder;
    Ok(outcome)
}

#[allow(clippy::too_many_arguments, reason = "a thread's whole inheritance, once")]
fn drive(
    number: usize,
    share: f64,
    workload: Arc<Workload>,
    address: Address,
    names: Arc<Names>,
    pattern: Arc<Pattern>,
    shared: Arc<Shared>,
    roles: Vec<Role>,
    window: Window,
) -> Result<State, String> {
    let core = workload.driver_cores[number];
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    let pacer = match workload.pacing {
        Pacing::Open { rate, poisson } => Some(Pacer::new(rate, share, poisson, number as u64 * 7919 + 17)),
        Pacing::Closed { .. } => None,
    };
    let budget = workload.count.map_or(u64::MAX, |count| (count as f64 * share).round() as u64);
    let state = State::new(workload, names, pattern, Arc::clone(&shared), roles, window);
    let driver = if pinned {
        Driver::new(number, address, state, pacer, budget).map_err(|error| format!("io_uring: {error}"))
    } else {
        Err(format!("cannot run on core {core}: choose among the cores this process may use with --cores"))
    };
    match driver {
        Ok(driver) => driver.run(),
        Err(error) => {
            shared.stop.store(true, Ordering::Relaxed);
            shared.prepared.wait();
            shared.prepared.wait();
            Err(error)
        }
    }
}

fn window_of(workload: &Workload) -> Window {
    let start = workload.warm_up.as_nanos() as u64;
    let length = (workload.duration.as_nanos() as u64).max(1);
    let interval = SECOND_NANOS.max(length.div_ceil(INTERVALS_MAX).next_multiple_of(SECOND_NANOS));
    Window { start, stop: start + length, interval }
}

/// Starts the clock once all connections are ready, then watches until the end.
fn supervise(
    workload: &Workload,
    shared: &Shared,
    window: Window,
    server_pid: Option<u32>,
    reporter: &mut Reporter,
) -> Result<Outcome, String> {
    shared.prepared.wait();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = Instant::now();
    if !shared.stop.load(Ordering::Relaxed) {
        let _ = shared.epoch.set((epoch, unix.as_nanos() as u64));
    }
    shared.prepared.wait();
    if shared.stop.load(Ordering::Relaxed) {
        return Err("the run was given up".to_owned());
    }
    let until = |nanos: u64| -> Result<(), String> {
        loop {
            let left = (epoch + Duration::from_nanos(nanos)).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            interrupts::check().inspect_err(|_| shared.stop.store(true, Ordering::Relaxed))?;
            std::thread::sleep(left.min(LOOK_FOR_SIGNALS));
        }
    };
    let usage = |pid: u32| ProcessUsage::read(pid).ok();
    let own = || ProcessUsage::read(std::process::id()).unwrap_or_default();
    reporter.begin(workload);
    until(window.start)?;
    let (server_before, own_before) = (server_pid.and_then(usage), own());
    let mut before = Activity::now();
    let mut activity = Vec::new();
    let mut at = window.start;
    while at < window.stop {
        at = (at + window.interval).min(window.stop);
        until(at)?;
        let after = Activity::now();
        activity.push(after.since(&before));
        before = after;
        reporter.interval(&shared.drivers, (at - window.start) as f64 / 1e9);
        let sent: u64 = shared.drivers.iter().map(|driver| driver.sent.load(Ordering::Relaxed)).sum();
        let counted = workload.count.is_some_and(|count| sent >= count);
        if shared.stop.load(Ordering::Relaxed) || counted {
            break;
        }
    }
    let (server_after, own_after) = (server_pid.and_then(usage), own());
    reporter.end();
    Ok(Outcome {
        recorder: Recorder::new(Window { start: 0, stop: 1, interval: 1 }),
        window: Window { stop: at, ..window },
        activity,
        server: server_before.zip(server_after),
        generator: (own_before, own_after),
        started_unix_millis: (unix + Duration::from_nanos(window.start)).as_millis() as u64,
    })
}

fn join(threads: Vec<JoinHandle<Result<State, String>>>, window: Window) -> Result<Recorder, String> {
    let mut merged = Recorder::new(window);
    let mut spreads: Vec<Spread> = Vec::new();
    let mut failure = None;
    for thread in threads {
        match thread.join().map_err(|_| "a driver thread panicked".to_owned()).flatten() {
            Ok(state) => {
                merged.merge(&state.recorder);
                spreads.resize(spreads.len().max(state.spreads.len()), Spread::default());
                for (into, from) in spreads.iter_mut().zip(&state.spreads) {
                    let twice = into.merge(from);
                    merged.faults.duplicated += twice;
                    merged.delivered -= twice;
                }
            }
            // The first reason is the cause; the others only followed.
            Err(error) if error.starts_with("another driver") => {
                failure.get_or_insert(error);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(merged),
    }
}

fn senders(roles: &[Role]) -> usize {
    let receives = |role: &&Role| matches!(role, Role::Subscriber { .. } | Role::Responder { .. });
    roles.len() - roles.iter().filter(receives).count()
}
