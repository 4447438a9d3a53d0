//! What drivers and the reporting thread share: a few numbers, each with one writer.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Barrier, OnceLock};
use std::time::Instant;

/// One driver's progress, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Progress {
    pub sent: AtomicU64,
    pub expected: AtomicU64,
    pub delivered: AtomicU64,
    /// Connections that are ready.
    pub ready: AtomicU64,
    /// Of the current interval, in nanoseconds; 0 if nothing was measured.
    pub p50: AtomicU64,
    pub p99: AtomicU64,
}

#[derive(Debug)]
pub struct Shared {
    pub drivers: Vec<Progress>,
    /// Deliveries by publisher, for the windows of closed loops.
    pub delivered_of: Vec<AtomicU64>,
    /// Every driver waits here once its connections are ready.
    pub prepared: Barrier,
    /// The run's epoch, and the same moment in Unix nanoseconds.
    pub epoch: OnceLock<(Instant, u64)>,
    pub stop: AtomicBool,
}

impl Shared {
    pub fn new(drivers: usize, publishers: u32) -> Shared {
        Shared {
            drivers: (0..drivers).map(|_| Progress::default()).collect(),
            delivered_of: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
            prepared: Barrier::new(drivers + 1),
            epoch: OnceLock::new(),
            stop: AtomicBool::new(false),
        }
    }
}
