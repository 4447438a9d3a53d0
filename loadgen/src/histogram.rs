//! Latency histograms in nanoseconds, and what may be read from them.

use hdrhistogram::Histogram;

/// Longest latency a histogram holds; longer ones are counted as overflow, not clamped unseen.
pub const LATENCY_NANOS_MAX: u64 = 120_000_000_000;
/// Three significant digits: a quantile is right to 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;
/// A quantile is stated only if at least this many samples lie above it.
const SAMPLES_ABOVE_MIN: f64 = 10.0;

/// The quantiles of tables and reports.
pub const QUANTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("p99.999", 0.99999),
];

pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS).expect("constant bounds are valid")
}

/// The quantile in nanoseconds, or `None` where the samples cannot support it.
pub fn quantile(histogram: &Histogram<u64>, quantile: f64) -> Option<u64> {
    let above = histogram.len() as f64 * (1.0 - quantile);
    // Rounding must not decide: 1000 samples support p99.
    (above + 1e-6 >= SAMPLES_ABOVE_MIN).then(|| histogram.value_at_quantile(quantile))
}

/// The three latencies of one run.
#[derive(Clone, Debug)]
pub struct LatencySet {
    /// Intended send time to receipt: what a user waits.
    pub response: Histogram<u64>,
    /// Actual send time to receipt.
    pub service: Histogram<u64>,
    /// Intended to actual send time: the generator's own delay.
    pub lateness: Histogram<u64>,
    /// Latencies above [`LATENCY_NANOS_MAX`].
    pub overflow: u64,
    /// Receipts before their send: a clock went backwards.
    pub negative: u64,
}

impl Default for LatencySet {
    fn default() -> LatencySet {
        LatencySet {
            response: new_histogram(),
            service: new_histogram(),
            lateness: new_histogram(),
            overflow: 0,
            negative: 0,
        }
    }
}

impl LatencySet {
    /// Records `count` messages of the same times.
    #[inline]
    pub fn record(&mut self, intended: u64, lateness: u64, received: u64, count: u64) {
        let sent = intended + lateness;
        if received < sent {
            self.negative += count;
            return;
        }
        let recorded = self.response.record_n(received - intended, count).is_ok()
            && self.service.record_n(received - sent, count).is_ok()
            && self.lateness.record_n(lateness, count).is_ok();
        if !recorded {
            self.overflow += count;
        }
    }

    /// Adds another run's or thread's samples. Percentiles are never averaged.
    pub fn merge(&mut self, other: &LatencySet) {
        for (into, from) in [
            (&mut self.response, &other.response),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            into.add(from).expect("all histograms have the same bounds");
        }
        self.overflow += other.overflow;
        self.negative += other.negative;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_samples_above_it() {
        let mut histogram = new_histogram();
        (1..=1000).for_each(|value| histogram.record(value).expect("in range"));
        assert!(quantile(&histogram, 0.99).is_some());
        assert_eq!(quantile(&histogram, 0.999), None, "only one sample lies above p99.9");
    }

    #[test]
    fn merging_counts_samples_and_does_not_average() {
        let (mut fast, mut slow) = (LatencySet::default(), LatencySet::default());
        fast.record(0, 0, 1_000, 990);
        slow.record(0, 0, 1_000_000, 1010);
        fast.merge(&slow);
        let median = quantile(&fast.response, 0.5).expect("enough samples");
        assert!(median > 900_000, "the median of the union, {median}, not the mean of medians");
    }

    #[test]
    fn impossible_and_endless_latencies_are_counted_not_clamped() {
        let mut set = LatencySet::default();
        set.record(100, 0, 50, 3);
        set.record(0, 0, LATENCY_NANOS_MAX * 2, 2);
        assert_eq!((set.negative, set.overflow), (3, 2));
    }
}
