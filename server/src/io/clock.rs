//! The one place that reads the clock of the data plane.

use ringbolt_shard::Nanos;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic nanoseconds since this clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    #[inline]
    pub fn now(&self) -> Nanos {
        Nanos(self.start.elapsed().as_nanos() as u64)
    }
}

/// Unix time now.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}
