//! What a run shows while it goes on: a bar on a terminal, a plain line a second otherwise.

use crate::workload::Workload;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::Ordering;

#[derive(Debug, Default)]
pub struct Reporter {
    quiet: bool,
    bar: Option<ProgressBar>,
    last: (f64, u64, u64),
}

impl Reporter {
    pub fn new(quiet: bool) -> Reporter {
        Reporter { quiet, ..Reporter::default() }
    }

    /// A line about what comes next.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    pub(crate) fn begin(&mut self, workload: &Workload) {
        self.last = (0.0, 0, 0);
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new(workload.duration.as_millis() as u64);
        let style = ProgressStyle::with_template("{bar:32} {percent:>3}%  {msg}");
        bar.set_style(style.expect("a constant template"));
        self.bar = Some(bar);
    }

    pub(crate) fn interval(&mut self, drivers: &[crate::engine::Progress], seconds: f64) {
        let sum = |field: fn(&crate::engine::Progress) -> u64| drivers.iter().map(field).sum::<u64>();
        let most = |field: fn(&crate::engine::Progress) -> u64| drivers.iter().map(field).max().unwrap_or(0);
        let sent = sum(|driver| driver.sent.load(Ordering::Relaxed));
        let delivered = sum(|driver| driver.delivered.load(Ordering::Relaxed));
        let (before, sent_before, delivered_before) =
            std::mem::replace(&mut self.last, (seconds, sent, delivered));
        let span = (seconds - before).max(1e-9);
        let p50 = most(|driver| driver.p50.load(Ordering::Relaxed));
        let p99 = most(|driver| driver.p99.load(Ordering::Relaxed));
        // Counts before the measured part belong to no interval of it.
        let first = before == 0.0 && sent_before == 0;
        let rates = if first {
            String::new()
        } else {
            let sent_rate = (sent - sent_before) as f64 / span;
            let delivered_rate = (delivered - delivered_before) as f64 / span;
            format!("{} sent/s  {} delivered/s  ", short(sent_rate), short(delivered_rate))
        };
        let text = format!("{rates}p50 {}  p99 {}", micros(p50), micros(p99));
        match &self.bar {
            Some(bar) => {
                bar.set_position((seconds * 1000.0) as u64);
                bar.set_message(text);
            }
            None if !self.quiet => eprintln!("{seconds:6.0} s  {text}"),
            None => {}
        }
    }

    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn micros(nanos: u64) -> String {
    if nanos == 0 { "-".to_owned() } else { format!("{:.1} µs", nanos as f64 / 1e3) }
}
