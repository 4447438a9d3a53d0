//! How a shard waits when it has nothing to do.

use crate::config::WaitMode;
use crate::shard::Nanos;

/// `balanced` spins this long after the last work: a request and its reply fall well within it, and an
/// idle shard pays it once.
const BALANCED_SPIN_NANOS: u64 = 50_000;

#[derive(Debug)]
pub struct Waiter {
    spin_nanos: u64,
    worked_at: Nanos,
}

impl Waiter {
    pub fn new(mode: WaitMode) -> Waiter {
        let spin_nanos = match mode {
            WaitMode::Latency => u64::MAX,
            WaitMode::Balanced => BALANCED_SPIN_NANOS,
            WaitMode::Efficient => 0,
        };
        Waiter { spin_nanos, worked_at: Nanos(0) }
    }

    #[inline]
    pub fn worked(&mut self, now: Nanos) {
        self.worked_at = now;
    }

    /// Whether the shard should sleep rather than look again.
    #[inline]
    pub fn should_sleep(&self, now: Nanos) -> bool {
        now.since(self.worked_at) >= self.spin_nanos
    }
}
