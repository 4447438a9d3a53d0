//! How a shard waits when it has nothing to do.

use crate::config::WaitMode;
use ringbolt_shard::Nanos;

/// The longest `balanced` spins for one piece of work: about what a sleep costs where it costs most, on a
/// virtual machine (docs/decisions/0008-waiting.md). Longer, and CPU would no longer follow load.
const BALANCED_SPIN_NANOS: u64 = 20_000;
/// Of the spins, which share must find work for `balanced` to go on spinning; in 256ths.
const PAYS: u32 = 128;
/// While spinning does not pay, one idle period of so many is spun all the same, to learn when it does.
const PROBE_EVERY: u32 = 32;
/// Weight of the past in the share of spins that paid: 7 of 8 parts.
const SHIFT: u32 = 3;

/// Decides between looking again and sleeping.
///
/// A spin pays if work comes before it ends. `balanced` learns whether it does, spins while it does, and
/// otherwise sleeps at once; a probe now and then notices the change.
#[derive(Debug)]
pub struct Waiter {
    mode: WaitMode,
    /// Since when there is nothing to do; none while there is.
    idle_since: Option<Nanos>,
    /// This idle period is spun.
    spinning: bool,
    /// Share of recent spins that found work, in 256ths.
    paid: u32,
    /// Idle periods until the next probe.
    probe_in: u32,
}

impl Waiter {
    pub fn new(mode: WaitMode) -> Waiter {
        Waiter { mode, idle_since: None, spinning: false, paid: 0, probe_in: 0 }
    }

    /// There was work.
    #[inline]
    pub fn worked(&mut self) {
        if self.idle_since.take().is_some() && self.spinning {
            self.learn(true);
            self.spinning = false;
        }
    }

    /// There was none: whether the shard should sleep rather than look again.
    #[inline]
    pub fn should_sleep(&mut self, now: Nanos) -> bool {
        match self.mode {
            WaitMode::Latency => false,
            WaitMode::Efficient => true,
            WaitMode::Balanced => self.balance(now),
        }
    }

    fn balance(&mut self, now: Nanos) -> bool {
        let Some(since) = self.idle_since else {
            self.idle_since = Some(now);
            self.spinning = self.pays() || self.probe_in == 0;
            self.probe_in = if self.probe_in == 0 { PROBE_EVERY - 1 } else { self.probe_in - 1 };
            return !self.spinning;
        };
        if self.spinning && now.since(since) >= BALANCED_SPIN_NANOS {
            self.learn(false);
            self.spinning = false;
        }
        !self.spinning
    }

    fn pays(&self) -> bool {
        self.paid >= PAYS
    }

    /// One success is enough to try again; it takes several failures to give up.
    fn learn(&mut self, paid: bool) {
        if paid && !self.pays() {
            self.paid = PAYS + PAYS / 4;
        } else {
            let target = if paid { 256 } else { 0 };
            self.paid = self.paid - (self.paid >> SHIFT) + (target >> SHIFT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle periods of one length, looked at every half microsecond; how many of the last thousand were
    /// slept, and how long was spun in them.
    fn idle(waiter: &mut Waiter, periods: usize, length_nanos: u64) -> (usize, u64) {
        let (mut slept, mut spun) = (0, 0);
        for period in 0..periods {
            let start = period as u64 * 1_000_000;
            let mut at = 0;
            while at < length_nanos {
                if waiter.should_sleep(Nanos(start + at)) {
                    slept += usize::from(period + 1000 >= periods);
                    break;
                }
                at += 500;
            }
            spun += if period + 1000 >= periods { at } else { 0 };
            waiter.worked();
        }
        (slept, spun)
    }

    #[test]
    fn short_pauses_are_spun_and_long_ones_slept() {
        let mut waiter = Waiter::new(WaitMode::Balanced);
        assert_eq!(idle(&mut waiter, 2000, 8_000).0, 0, "8 µs are spun");
        let (slept, spun) = idle(&mut waiter, 2000, 50_000);
        assert!(slept == 1000 && spun < 1000 * 1000, "50 µs are slept: {slept}, spun {spun} ns");
        assert_eq!(idle(&mut waiter, 2000, 8_000).0, 0, "and the way back is found");
    }

    #[test]
    fn a_spin_that_pays_half_the_time_goes_on() {
        let mut waiter = Waiter::new(WaitMode::Balanced);
        for _ in 0..1000 {
            idle(&mut waiter, 3, 8_000);
            idle(&mut waiter, 1, 50_000);
        }
        assert!(waiter.pays());
    }

    #[test]
    fn the_other_modes_never_learn() {
        assert_eq!(idle(&mut Waiter::new(WaitMode::Latency), 1000, 50_000).0, 0);
        assert_eq!(idle(&mut Waiter::new(WaitMode::Efficient), 1000, 1_000).0, 1000);
    }
}
