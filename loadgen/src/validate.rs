//! Workloads whose figures are known in advance, one after the other, and whether each was reached.

use crate::args::{Cli, RunArgs};
use crate::cli::{EXIT_FAIL, measure};
use crate::output;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::targets::Target;
use clap::{Args, Parser};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Only these rows: messages, latency, ordinary, request, lanes, retries, keys, s47-1000, s47-5000,
    /// s47-10000
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// The measured part of each row but the first, which ends with its millionth message
    #[arg(short, long, value_name = "TIME", value_parser = crate::args::parse_time, default_value = "10s")]
    pub duration: Duration,
    /// Server to drive; starts ringbolt-server itself, anew for each row, if unset
    #[arg(long, value_name = "HOST:PORT|unix:PATH")]
    pub address: Option<String>,
    #[arg(long, value_enum, default_value = "native")]
    pub dialect: crate::dialect::Dialect,
    /// Flags for the server it starts, as one string
    #[arg(long, value_name = "FLAGS", default_value = "", allow_hyphen_values = true)]
    pub server_flags: String,
    /// Process whose CPU time and memory count, where it does not start the server
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write each row's run.json, histograms and report below there
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only what was reached and what was not
    #[arg(short, long)]
    pub quiet: bool,
}

struct Row {
    name: &'static str,
    flags: &'static str,
    /// Beside that nothing is lost, duplicated, out of order or damaged.
    targets: &'static [&'static str],
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
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

pub fn run(args: &ValidateArgs) -> Result<ExitCode, String> {
    let mut all = true;
    for row in chosen(&args.rows)? {
        let arguments = row.arguments(args)?;
        let run = measure(&arguments, &mut Reporter::new(args.quiet))?;
        all &= run.verdict.pass;
        if args.quiet {
            print!("{}", summary(row, &run));
        } else {
            print!("{}", output::table(&run));
        }
        if let Some(directory) = &args.out {
            let directory = directory.join(row.name);
            output::write_all(&directory, &run)
                .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
        }
    }
    println!("\n{}", if all { "PASS  everything was reached" } else { "FAIL  something was not reached" });
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAIL) })
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
    fn arguments(&self, args: &ValidateArgs) -> Result<RunArgs, String> {
        let words = ["ringbolt-loadgen"].into_iter().chain(self.flags.split_whitespace());
        let parsed = Cli::try_parse_from(words).map_err(|error| format!("row {}: {error}", self.name))?.run;
        let target: Result<Vec<Target>, String> = self.targets.iter().map(|text| text.parse()).collect();
        Ok(RunArgs {
            name: Some(self.name.to_owned()),
            address: args.address.clone(),
            dialect: args.dialect,
            server_flags: args.server_flags.clone(),
            server_pid: args.server_pid,
            duration: if parsed.count.is_some() { parsed.duration } else { args.duration },
            target: target?,
            ..parsed
        })
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
    fn every_row_is_a_workload_and_its_targets_are_read() {
        let args = Cli::parse_from(["ringbolt-loadgen", "validate"]);
        let Some(crate::args::Sub::Validate(args)) = args.command else { panic!("validate") };
        for row in ROWS {
            let arguments = row.arguments(&args).expect("its flags are read");
            arguments.workload(ringbolt_ring::Address::Unix("x".into())).expect("it can be run");
            assert_eq!(arguments.target.len(), row.targets.len());
        }
        assert!(chosen(&["latency".to_owned(), "none".to_owned()]).is_err());
    }
}
