//! What a run leaves behind.

use crate::result::RunResult;
use std::io;
use std::path::Path;

pub fn table(run: &RunResult) -> String {
    let set = run.latency.decode().expect("own");
    let q = |h: &hdrhistogram::Histogram<u64>, q| {
        crate::histogram::quantile(h, q).map_or(0.0, |n| n as f64 / 1e3)
    };
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\nresponse p50 {:.1} p99 {:.1} p99.9 {:.1} max {:.1}; late p50 {:.1} p99 {:.1}\n",
        run.counts,
        run.rates,
        run.usage,
        run.verdict,
        q(&set.response, 0.5),
        q(&set.response, 0.99),
        q(&set.response, 0.999),
        set.response.max() as f64 / 1e3,
        q(&set.lateness, 0.5),
        q(&set.lateness, 0.99)
    )
}

pub fn write_all(directory: &Path, run: &RunResult) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    run.save(&directory.join("run.json"))
}
