//! Workloads whose figures are known in advance, one after the other, and whether each was reached.

use crate::dialect::Dialect;
use crate::output;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::targets::Target;
use crate::trial::{Read, Trial};
use ringbolt_ring::Address;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub struct Plan {
    /// Names; empty: all.
    pub rows: Vec<String>,
    /// The measured part of each row that does not end with a count.
    pub duration: Duration,
    pub dialect: Dialect,
    /// As in [`crate::trial::ServerPlan`].
    pub address: Option<Address>,
    pub server_flags: Vec<String>,
    pub server_pid: Option<u32>,
    /// Where each row's files are written.
    pub out: Option<PathBuf>,
    /// Only what was reached and what was not.
    pub quiet: bool,
}

pub struct Row {
    pub name: &'static str,
    pub flags: &'static str,
    /// Beside that nothing is lost, duplicated, out of order or damaged.
    pub targets: &'static [&'static str],
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { name: "messages",
          flags: "-p 8 -s 8 --payload 128 --closed --window 1024 --count 1000000 --duration 1m --warm-up 0s",
          targets: &["rate>1M", "growth<10MiB"] },
    Row { name: "latency", flags: "-p 8 -s 8 --payload 128 --rate 50k",
          targets: &["p95<1ms", "p99<250us"] },
    Row { name: "ordinary", flags: "-p 8 -s 8 --payload 128 --rate 20k",
          targets: &["p95<1ms", "cores<0.6"] },
    Row { name: "request", flags: "--workload request -p 8 -s 8 --payload 64 --rate 10k",
          targets: &["p95<1ms", "p99<250us"] },
    Row { name: "lanes",
          flags: "--workload queue -p 5 -s 4 -k 5 --lanes critical,high,normal,low,background \
                  --group workers;ack --rate 5k",
          targets: &["p95<1ms"] },
    Row { name: "retries",
          flags: "--workload queue -p 4 -s 8 --rate 5k --nak 0.1 --silent 0.001 \
                  --group workers;ack;wait=500ms;backoff=1ms..10ms;breaker=off;poison=100;max=100",
          targets: &["growth<10MiB"] },
    Row { name: "keys",
          flags: "--workload queue -p 4 -s 8 --group workers;ack;key=Key --keys 1000 --rate 5k",
          targets: &["moved<0.01"] },
    Row { name: "s47-1000", flags: "--preset s47-1000", targets: &["p95<1ms"] },
    Row { name: "s47-5000", flags: "--preset s47-5000", targets: &["p95<1ms"] },
    Row { name: "s47-10000", flags: "--preset s47-10000", targets: &["p95<1ms"] },
];

pub fn run(plan: &Plan, read: Read) -> Result<ExitCode, String> {
    let mut all = true;
    for row in chosen(&plan.rows)? {
        let run = row.trial(plan, read)?.measure(&mut Reporter::new(plan.quiet))?;
        all &= run.verdict.pass;
        if plan.quiet {
            print!("{}", summary(row, &run));
        } else {
            print!("{}", output::table(&run));
        }
        if let Some(directory) = &plan.out {
            let directory = directory.join(row.name);
            output::write_all(&directory, &run)
                .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
        }
    }
    println!("\n{}", if all { "PASS  everything was reached" } else { "FAIL  something was not reached" });
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        let known = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let row = ROWS.iter().find(|row| row.name == name);
        row.ok_or_else(|| format!("there is no row '{name}': choose among {}", known()))
    };
    names.iter().map(find).collect()
}

impl Row {
    pub fn targets(&self) -> Result<Vec<Target>, String> {
        self.targets.iter().map(|text| text.parse()).collect()
    }

    fn trial(&self, plan: &Plan, read: Read) -> Result<Trial, String> {
        let mut trial = read(self.flags).map_err(|error| format!("row {}: {error}", self.name))?;
        trial.targets = self.targets()?;
        trial.workload.name = self.name.to_owned();
        trial.workload.dialect = plan.dialect;
        if trial.workload.count.is_none() {
            trial.workload.duration = plan.duration;
        }
        trial.server.address = plan.address.clone();
        trial.server.flags = plan.server_flags.clone();
        trial.server.pid = plan.server_pid;
        Ok(trial)
    }
}

/// The verdict and what it rests on, a line each.
fn summary(row: &Row, run: &RunResult) -> String {
    let word = |pass: bool| if pass { "PASS" } else { "FAIL" };
    let mut text = format!("{}  {}\n", word(run.verdict.pass), row.name);
    for target in &run.verdict.targets {
        text += &format!("      {}  {}: {}\n", word(target.pass), target.asked, target.seen);
    }
    let told = |reason: &&String| !run.verdict.targets.iter().any(|target| reason.starts_with(&target.asked));
    for reason in run.verdict.reasons.iter().filter(told) {
        text += &format!("      FAIL  {reason}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(chosen(&[]).map(|rows| rows.len()).ok(), Some(ROWS.len()));
        assert!(chosen(&["latency".to_owned(), "none".to_owned()]).is_err());
    }
}
