//! The flags of the other commands, and the plans they describe.

use super::run::{RunArgs, cores, resolve, words};
use crate::ab::Variant;
use crate::dialect::Dialect;
use crate::parse::{parse_cores, parse_time};
use crate::peers::Programs;
use crate::{ab, compare, demo, limit, peers, validate};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Compares later runs with the first. Rounds of one variant: LABEL=run1.json,run2.json
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// run.json, a directory with one, or LABEL=FILE,FILE,…
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<String>,
    /// Exit with 1 if this metric is significantly worse: p50, p90, p99, p99.9, mean, rate, cpu
    #[arg(long, value_name = "METRIC")]
    gate: Option<String>,
    /// … by more than this many percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "gate")]
    fail_over: f64,
    /// Write a page with the comparison and overlaid plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the comparison as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs two variants in ABBA rounds, each against a server started anew, and gives one verdict
///
/// A variant is flags for ringbolt-server, like "--wait latency", perhaps behind the dialect to drive it in,
/// like "nats --wait latency"; or any server's command behind its dialect and address:
/// "nats@127.0.0.1:4333 nats-server -a 127.0.0.1 -p 4333". With --profile both are
/// the same server, before and after tuning the host; the host is put back after every round.
#[derive(clap::Args, Debug)]
pub struct AbArgs {
    /// First variant
    #[arg(long, value_name = "VARIANT", default_value = "", allow_hyphen_values = true)]
    a: String,
    /// Second variant
    #[arg(long, value_name = "VARIANT", default_value = "", allow_hyphen_values = true)]
    b: String,
    /// Apply this profile of ringbolt-tune for the second variant
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Exit with 1 if this metric of the second variant is significantly worse
    #[arg(long, value_name = "METRIC")]
    gate: Option<String>,
    /// … by more than this many percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "gate")]
    fail_over: f64,
    #[command(flatten)]
    run: RunArgs,
}

/// Builds the server and compares it before and after tuning the host; writes an HTML report
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Where the report goes
    #[arg(short, long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
}

/// Runs rows of workloads against ringbolt, other servers and a relay that only moves the bytes
///
/// Peers without a path are left out; nothing is installed. Servers run on --server-cores, the generator
/// on --driver-cores. Every round visits all systems of a row, each second round in reverse; medians and
/// extremes over rounds are printed, and with --out written as peers.json and index.html.
#[derive(clap::Args, Debug)]
pub struct PeersArgs {
    #[command(flatten)]
    programs: ProgramArgs,
    /// Rows to run, by name; default: all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    rows: Vec<String>,
    /// Name the rows and end
    #[arg(long)]
    list: bool,
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Of each run, not measured
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "500ms")]
    warm_up: Duration,
    /// Of each run, measured
    #[arg(short, long, value_name = "TIME", value_parser = parse_time, default_value = "2s")]
    duration: Duration,
    /// Cores of the servers
    #[arg(long, value_name = "LIST", default_value = "0")]
    server_cores: String,
    /// Cores of the generator; default: the last one allowed
    #[arg(long, value_name = "LIST")]
    driver_cores: Option<String>,
    /// Print an earlier comparison, and write its page anew; runs nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rows", "out"])]
    again: Option<PathBuf>,
    /// Write peers.json and index.html there
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[arg(short, long)]
    quiet: bool,
}

/// Programs to compare with, as given on the command line.
#[derive(clap::Args, Debug)]
pub struct ProgramArgs {
    /// The nats-server program
    #[arg(long, value_name = "PATH", help_heading = "Peers")]
    nats_server: Option<PathBuf>,
    /// The redis-server program
    #[arg(long, value_name = "PATH", help_heading = "Peers")]
    redis_server: Option<PathBuf>,
    /// The mosquitto program
    #[arg(long, value_name = "PATH", help_heading = "Peers")]
    mosquitto: Option<PathBuf>,
}

/// Runs workloads whose figures are known in advance, and says which were reached
#[derive(clap::Args, Debug)]
pub struct ValidateArgs {
    /// Only these rows: messages, latency, ordinary, request, lanes, retries, keys, s47-1000, s47-5000,
    /// s47-10000
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rows: Vec<String>,
    /// The measured part of each row but the first, which ends with its millionth message
    #[arg(short, long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    duration: Duration,
    /// Server to drive; starts ringbolt-server itself, anew for each row, if unset
    #[arg(long, value_name = "HOST:PORT|unix:PATH")]
    address: Option<String>,
    #[arg(long, value_enum, default_value = "native")]
    dialect: Dialect,
    /// Flags for the server it starts, as one string
    #[arg(long, value_name = "FLAGS", default_value = "", allow_hyphen_values = true)]
    server_flags: String,
    /// Process whose CPU time and memory count, where it does not start the server
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Write each row's run.json, histograms and report below there
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only what was reached and what was not
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Args, Debug)]
pub struct LimitArgs {
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7799")]
    listen: SocketAddr,
    /// Core to run on; default: wherever the kernel puts it
    #[arg(long, value_name = "N")]
    core: Option<String>,
    /// Never sleep
    #[arg(long)]
    spin: bool,
    /// Connections it may have
    #[arg(long, value_name = "N", default_value_t = 4096)]
    connections: u32,
}

impl CompareArgs {
    pub fn plan(&self) -> compare::Plan {
        compare::Plan {
            runs: self.runs.clone(),
            gate: self.gate.clone().map(|metric| compare::Gate { metric, percent: self.fail_over }),
            html: self.html.clone(),
            json: self.json.clone(),
        }
    }
}

impl AbArgs {
    pub fn plan(&self) -> Result<ab::Plan, String> {
        let mut variants = [Variant::parse(&self.a)?, Variant::parse(&self.b)?];
        if let Some(profile) = &self.profile {
            variants[1].label = format!("profile {profile}");
            variants[0].label = "as it is".to_owned();
            variants[1].profile = Some(profile.clone());
        }
        if variants[0] == variants[1] {
            return Err("both variants are the same: set --a, --b or --profile".to_owned());
        }
        Ok(ab::Plan {
            variants,
            trial: self.run.trial()?,
            rounds: self.rounds,
            gate: self.gate.clone().map(|metric| compare::Gate { metric, percent: self.fail_over }),
            out: self.run.out.clone(),
            quiet: self.run.quiet,
        })
    }
}

impl DemoArgs {
    pub fn plan(&self) -> demo::Plan {
        demo::Plan { rounds: self.rounds, out: self.out.clone() }
    }
}

impl PeersArgs {
    pub fn plan(&self) -> Result<peers::Plan, String> {
        Ok(peers::Plan {
            programs: Programs {
                nats_server: self.programs.nats_server.clone(),
                redis_server: self.programs.redis_server.clone(),
                mosquitto: self.programs.mosquitto.clone(),
            },
            rows: self.rows.clone(),
            list: self.list,
            rounds: self.rounds,
            warm_up: self.warm_up,
            duration: self.duration,
            server_cores: self.server_cores.clone(),
            driver_cores: cores(self.driver_cores.as_deref())?,
            again: self.again.clone(),
            out: self.out.clone(),
            quiet: self.quiet,
        })
    }
}

impl ValidateArgs {
    pub fn plan(&self) -> Result<validate::Plan, String> {
        Ok(validate::Plan {
            rows: self.rows.clone(),
            duration: self.duration,
            dialect: self.dialect,
            address: self.address.as_deref().map(|text| resolve(text, self.dialect)).transpose()?,
            server_flags: words(&self.server_flags),
            server_pid: self.server_pid,
            out: self.out.clone(),
            quiet: self.quiet,
        })
    }
}

impl LimitArgs {
    pub fn plan(&self) -> Result<limit::Plan, String> {
        let one = |text: &String| match parse_cores(text)?[..] {
            [core] => Ok(core),
            _ => Err("--core: one core".to_owned()),
        };
        let core = self.core.as_ref().map(one).transpose()?;
        Ok(limit::Plan { listen: self.listen, core, spin: self.spin, connections: self.connections })
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;
    use crate::cli::run::read;
    use crate::{peers, validate};

    #[test]
    fn every_row_of_peers_is_a_workload() {
        for row in peers::ROWS {
            let trial = read(row.flags).expect(row.name);
            check(&trial.workload).expect(row.name);
        }
    }

    #[test]
    fn every_row_of_validate_is_a_workload_and_its_targets_are_read() {
        for row in validate::ROWS {
            check(&read(row.flags).expect("its flags are read").workload).expect("it can be run");
            assert_eq!(row.targets().expect("its targets are read").len(), row.targets.len());
        }
    }
}
