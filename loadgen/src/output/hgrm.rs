//! The percentile distribution file of HdrHistogram's tools: value, percentile, count, 1/(1-percentile).

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Lines for each halving of the distance to 100 %.
const TICKS_A_HALVING: u32 = 5;

/// Renders nanoseconds as microseconds, which is what the plotting tools are mostly fed.
pub fn render(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in histogram.iter_quantiles(TICKS_A_HALVING) {
        let value = step.value_iterated_to() as f64 / 1e3;
        let percentile = step.quantile_iterated_to();
        let count = step.total_count_since_start(histogram);
        let _ = if percentile < 1.0 {
            let inverse = 1.0 / (1.0 - percentile);
            writeln!(out, "{value:12.3} {percentile:2.12} {count:10} {inverse:14.2}")
        } else {
            writeln!(out, "{value:12.3} {percentile:2.12} {count:10}")
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let (max, total) = (histogram.max() as f64 / 1e3, histogram.len());
    let _ = write!(
        out,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {total:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        bucket_count(histogram),
        2048
    );
    out
}

/// Buckets of 2048 sub-buckets that cover the histogram's range.
fn bucket_count(histogram: &Histogram<u64>) -> u32 {
    let mut covered = 2048u64;
    let mut buckets = 1;
    while covered <= histogram.high() {
        covered <<= 1;
        buckets += 1;
    }
    buckets
}

trait CountSinceStart {
    fn total_count_since_start(&self, histogram: &Histogram<u64>) -> u64;
}

impl CountSinceStart for hdrhistogram::iterators::IterationValue<u64> {
    fn total_count_since_start(&self, histogram: &Histogram<u64>) -> u64 {
        (self.quantile() * histogram.len() as f64).round() as u64
    }
}
