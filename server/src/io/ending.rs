//! The life of a running server: signals, and the stages of its end.

use super::admin::AdminState;
use super::connection::{FLUSH_TIME_MAX, LINGER_TIME_MAX};
use super::log;
use super::run_error::{RunError, failed};
use super::shard_loop::{Changed, Orders};
use crate::config::Config;
use glommio::ExecutorJoinHandle;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::cell::RefCell;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the server listens to.
pub(super) const SIGNALS: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];
/// How long after a limit a shard may take to notice that it must stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Reads the settings again.
pub type Reload<'r> = dyn Fn() -> Result<Reloaded, String> + 'r;

/// What was read.
#[derive(Debug)]
pub struct Reloaded {
    pub changed: Changed,
    pub log: String,
    /// Settings that changed and need a restart.
    pub later: Vec<String>,
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Serving,
    /// Clients are told to leave, then closed one after the other.
    LameDuck,
    Draining,
    Stopping,
}

/// What it takes to end.
pub(super) struct Ending<'e> {
    pub config: &'e Config,
    pub orders: &'e Orders,
    pub admin: &'e AdminState,
    pub wake_all: &'e dyn Fn(),
    pub reload: &'e Reload<'e>,
    /// Who may connect now, and the limits.
    pub access: RefCell<Access>,
    pub limits: RefCell<Limits>,
}

impl Ending<'_> {
    /// Serves until told to stop. Returns the connections that were cut.
    pub fn serve(&self, shards: Vec<ShardThread>, signals: &mut Signals) -> Result<usize, RunError> {
        let count = shards.len();
        let ends = join_all(shards);
        let mut stage = Stage::Serving;
        let mut limit = Instant::now();
        let (mut left_open, mut done) = (0, 0);
        while done < count {
            if stage == Stage::Serving {
                // Nothing to do but to listen.
                let signal = signals.forever().next();
                (stage, limit) = self.hear(signal.unwrap_or(SIGTERM), stage, limit);
                continue;
            }
            match ends.recv_timeout(POLL) {
                Ok(Ok(result)) => {
                    left_open += result.map_err(|error| failed("a shard failed", &error))?;
                    done += 1;
                }
                Ok(Err(error)) => return Err(failed("a shard's executor failed", &error)),
                Err(_) => {
                    for signal in signals.pending() {
                        (stage, limit) = self.hear(signal, stage, limit);
                    }
                    if Instant::now() > limit {
                        if stage == Stage::Stopping {
                            tracing::warn!("{} shards do not stop: leaving them", count - done);
                            break;
                        }
                        tracing::warn!("not drained in time: cutting what is left");
                        (stage, limit) = self.stop();
                    }
                }
            }
        }
        Ok(left_open)
    }

    /// Does what a signal asks for. Returns the stage and the time it may take.
    fn hear(&self, signal: i32, stage: Stage, limit: Instant) -> (Stage, Instant) {
        match (signal, stage) {
            (SIGHUP, _) => self.reload(),
            (SIGUSR1, _) => log::reopen(),
            (SIGUSR2, Stage::Serving) => return self.lame_duck(),
            (SIGTERM | SIGINT, Stage::Serving | Stage::LameDuck) => return self.drain(signal),
            (SIGTERM | SIGINT, Stage::Draining) => return self.stop(),
            _ => {}
        }
        (stage, limit)
    }

    fn reload(&self) {
        let reloaded = (self.reload)().and_then(|mut reloaded| {
            reloaded.changed.access.succeed(&self.access.borrow())?;
            let mut limits = self.limits.borrow().clone();
            limits.take_over(&reloaded.changed.limits);
            match limits.fault() {
                Some(rule) => Err(format!(
                    "with what only a restart changes as it is, this would no longer hold: {rule}"
                )),
                None => Ok((reloaded, limits)),
            }
        });
        match reloaded {
            Ok((reloaded, limits)) => {
                self.access.borrow_mut().clone_from(&reloaded.changed.access);
                *self.limits.borrow_mut() = limits;
                self.admin.change(&reloaded.changed.access, &reloaded.changed.limits);
                self.orders.change(reloaded.changed);
                (self.wake_all)();
                log::change_filter(&reloaded.log);
                for key in reloaded.later {
                    tracing::warn!("Reload: {key} changed, and takes effect at the next start only");
                }
                tracing::info!("Reloaded server configuration");
            }
            Err(error) => tracing::error!("Failed to reload server configuration: {error}"),
        }
    }

    fn lame_duck(&self) -> (Stage, Instant) {
        let limits = self.limits.borrow();
        let whole = Duration::from_nanos(limits.lame_duck_grace_nanos + limits.lame_duck_nanos);
        tracing::info!("Entering lame duck mode, stop accepting new clients");
        self.admin.draining.store(true, Ordering::Relaxed);
        self.orders.lame_duck.store(true, Ordering::Relaxed);
        (self.wake_all)();
        (Stage::LameDuck, Instant::now() + whole + FLUSH_TIME_MAX + LINGER_TIME_MAX + STOP_TIME_MAX)
    }

    fn drain(&self, signal: i32) -> (Stage, Instant) {
        let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
        let limit = Duration::from_nanos(self.limits.borrow().drain_nanos_max);
        tracing::info!("{name}: draining, for at most {limit:?} ({})", self.config.server_name);
        self.admin.draining.store(true, Ordering::Relaxed);
        self.orders.drain.store(true, Ordering::Relaxed);
        (self.wake_all)();
        (Stage::Draining, Instant::now() + limit)
    }

    fn stop(&self) -> (Stage, Instant) {
        self.orders.stop.store(true, Ordering::Relaxed);
        (self.wake_all)();
        (Stage::Stopping, Instant::now() + STOP_TIME_MAX)
    }
}

pub(super) type ShardThread = ExecutorJoinHandle<io::Result<usize>>;
type ShardEnd = Result<io::Result<usize>, glommio::GlommioError<()>>;

/// Reports each shard's end.
fn join_all(shards: Vec<ShardThread>) -> mpsc::Receiver<ShardEnd> {
    let (ended, ends) = mpsc::channel();
    for shard in shards {
        let ended = ended.clone();
        std::thread::spawn(move || ended.send(shard.join()));
    }
    ends
}
