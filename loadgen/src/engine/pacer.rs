//! The schedule of an open loop: intended send times that depend on nothing but the start.

use crate::workload::Ramp;

/// Iterates intended times in nanoseconds since the run's epoch.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: Ramp,
    /// This driver's part of the whole rate.
    share: f64,
    poisson: bool,
    next_nanos: f64,
    /// Of the next message: how much of a mean gap is still to go.
    due: f64,
    /// Whether `next_nanos` is a message's moment, or a step on the way to one.
    is_message: bool,
    random: u64,
}

/// Longest step over which the rate is taken as constant.
const STEP_NANOS: f64 = 1_000_000.0;

impl Pacer {
    pub fn new(rate: Ramp, share: f64, poisson: bool, seed: u64) -> Pacer {
        let mut pacer =
            Pacer { rate, share, poisson, next_nanos: 0.0, due: 1.0, is_message: true, random: seed | 1 };
        // Drivers start at different phases, not all at once.
        let phase = pacer.uniform();
        let gap = pacer.mean_gap();
        pacer.next_nanos = gap * phase;
        pacer.is_message = gap > 0.0;
        pacer
    }

    /// The intended time of the next message.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next_nanos as u64
    }

    /// Moves on. Returns whether the moment left behind is a message's: while the rate is low the
    /// schedule goes in steps between messages, so that a rising rate is not overslept.
    #[inline]
    pub fn advance(&mut self) -> bool {
        let rate = self.rate.at(self.next_nanos / 1e9) * self.share;
        let gap = self.due * 1e9 / rate.max(1e-9);
        if gap > STEP_NANOS {
            self.due -= rate * STEP_NANOS / 1e9;
            self.next_nanos += STEP_NANOS;
            return std::mem::replace(&mut self.is_message, false);
        }
        self.next_nanos += gap;
        self.due = if self.poisson { -self.uniform().ln() } else { 1.0 };
        std::mem::replace(&mut self.is_message, true)
    }

    fn mean_gap(&self) -> f64 {
        let rate = self.rate.at(0.0) * self.share;
        if rate < 1e-3 { 0.0 } else { 1e9 / rate }
    }

    /// Uniform in (0, 1], xorshift64*.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits + 1) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn count_within(pacer: &mut Pacer, nanos: u64) -> usize {
        let mut count = 0;
        while pacer.next() < nanos {
            count += usize::from(pacer.advance());
        }
        count
    }

    #[test]
    fn constant_and_poisson_schedules_keep_their_rate() {
        for poisson in [false, true] {
            let mut pacer = Pacer::new(Ramp::constant(10_000.0), 0.5, poisson, 7);
            let count = count_within(&mut pacer, 10_000_000_000);
            assert!((49_000..=51_000).contains(&count), "poisson {poisson}: {count}");
        }
    }

    #[test]
    fn a_ramp_from_zero_sends_half_of_its_end_rate() {
        let ramp = Ramp { start: 0.0, end: 1000.0, over: Duration::from_secs(10) };
        let count = count_within(&mut Pacer::new(ramp, 1.0, false, 3), 10_000_000_000);
        assert!((4_900..=5_100).contains(&count), "{count}");
    }
}
