//! `ringbolt-loadgen peers`: the same workloads against several servers, pinned alike, interleaved.

mod report;
mod rows;
mod systems;

use crate::args::{RunArgs, parse_time};
use crate::histogram::{new_histogram, quantile};
use crate::host::ProcessUsage;
use crate::judge::judge;
use crate::progress::Reporter;
use crate::result::{RunResult, decode, encode};
use crate::{engine, interrupts};
use clap::Parser;
use rows::{ROWS, Row};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use systems::{Programs, System};

/// Runs rows of workloads against ringbolt, other servers and a relay that only moves the bytes
///
/// Peers without a path are left out; nothing is installed. Servers run on --server-cores, the generator
/// on --driver-cores. Every round visits all systems of a row, each second round in reverse; medians and
/// extremes over rounds are printed, and with --out written as peers.json and index.html.
#[derive(clap::Args, Debug)]
pub struct PeersArgs {
    #[command(flatten)]
    programs: Programs,
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

/// A figure over rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// One system in one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub system: String,
    pub rate_per_second: Option<Spread>,
    pub cpu_nanos_per_message: Option<Spread>,
    /// Of the server: cores it kept busy.
    pub cores: Option<Spread>,
    pub p50_micros: Option<Spread>,
    pub p99_micros: Option<Spread>,
    pub p999_micros: Option<Spread>,
    /// Of the server, at the end.
    pub resident_bytes: Option<Spread>,
    /// Growth of the server's resident memory from its start, by connection.
    pub bytes_per_connection: Option<Spread>,
    /// Of the busiest thread of the generator: near 1, the server could do more than shown.
    pub generator_busy: Option<Spread>,
    /// Rounds that lost, damaged or reordered something, and the reasons.
    pub failed: Vec<String>,
    /// Response times of all rounds together, as in run.json.
    pub response: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct RowResult {
    pub name: String,
    pub about: String,
    /// The same run without this command: flags for `ringbolt-loadgen`.
    pub flags: String,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Peers {
    pub command_line: Vec<String>,
    pub rounds: u32,
    pub seconds: f64,
    pub host: crate::host::Fingerprint,
    pub rows: Vec<RowResult>,
}

pub fn run(args: &PeersArgs) -> Result<ExitCode, String> {
    if args.list {
        ROWS.iter().for_each(|row| println!("{:<12} {}\n{:12} {}", row.name, row.about, "", row.flags));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &args.again {
        let named = |error: std::io::Error| format!("{}: {error}", folder.display());
        let peers = report::load(folder).map_err(named)?;
        report::write(&peers, folder).map_err(named)?;
        let tables: String = peers.rows.iter().map(report::table).collect();
        // Whoever reads may have read enough.
        let _ = std::io::stdout().write_all(tables.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&args.rows)?;
    let mut peers = Peers {
        command_line: std::env::args().collect(),
        rounds: args.rounds,
        seconds: args.duration.as_secs_f64(),
        host: crate::host::Fingerprint::gather(),
        rows: Vec::new(),
    };
    let reporter = Reporter::new(args.quiet);
    for row in chosen {
        let result = measure(args, row, &reporter)?;
        print!("{}", report::table(&result));
        peers.rows.push(result);
        // Written after every row: what was measured is kept if a later one cannot run.
        if let Some(folder) = &args.out {
            report::write(&peers, folder)
                .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
        }
    }
    if let Some(folder) = &args.out {
        println!("\nwritten to {}", folder.join("index.html").display());
    }
    let failed = peers.rows.iter().flat_map(|row| &row.entries).any(is_ringbolt_that_failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn is_ringbolt_that_failed(entry: &Entry) -> bool {
    entry.system.starts_with("ringbolt") && !entry.failed.is_empty()
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        let known = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        ROWS.iter().find(|row| row.name == *name).ok_or_else(|| format!("no row '{name}': {}", known()))
    };
    names.iter().map(find).collect()
}

fn measure(args: &PeersArgs, row: &'static Row, reporter: &Reporter) -> Result<RowResult, String> {
    let common = RunArgs {
        warm_up: args.warm_up,
        duration: args.duration,
        server_cores: args.server_cores.clone(),
        driver_cores: args.driver_cores.clone(),
        ..crate::args::Cli::parse_from(["ringbolt-loadgen"]).run
    };
    let arguments = row.arguments(&common)?;
    let systems = args.programs.systems(row);
    let mut runs: Vec<Vec<Run>> = systems.iter().map(|_| Vec::new()).collect();
    let mut broken: Vec<Vec<String>> = systems.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        let mut order: Vec<usize> = (0..systems.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let system = &systems[place];
            reporter.say(&format!(
                "{}, round {} of {}: {}",
                row.name,
                round + 1,
                args.rounds,
                system.label()
            ));
            // One that cannot do a row is said so, and does not end the others'.
            match once(&arguments, system) {
                Ok(run) => runs[place].push(run),
                Err(reason) => broken[place].push(reason),
            }
            interrupts::check()?;
        }
    }
    let mut entries = Vec::new();
    for ((system, runs), broken) in systems.iter().zip(&runs).zip(broken) {
        let mut entry = entry(system, runs);
        entry.failed.extend(broken);
        entries.push(entry);
    }
    let [name, about, flags] = [row.name, row.about, row.flags].map(str::to_owned);
    Ok(RowResult { name, about, flags, entries })
}

struct Run {
    result: RunResult,
    resident_bytes_at_start: Option<u64>,
}

fn once(arguments: &RunArgs, system: &System) -> Result<Run, String> {
    let server = system.start(&arguments.server_cores, &std::env::temp_dir())?;
    let resident_bytes_at_start = ProcessUsage::read(server.pid()).ok().map(|usage| usage.resident_bytes);
    let (dialect, batch) = (system.dialect(), system.batch());
    let arguments = RunArgs { dialect, batch, name: Some(system.label()), ..arguments.clone() };
    let workload = arguments.workload(server.address.clone())?;
    let outcome = engine::run(&workload, Some(server.pid()), &mut Reporter::new(true))?;
    Ok(Run { result: judge(&workload, &outcome, &[]), resident_bytes_at_start })
}

fn entry(system: &System, runs: &[Run]) -> Entry {
    let over = |measure: &dyn Fn(&Run) -> Option<f64>| {
        Spread::of(runs.iter().map(measure).collect::<Option<Vec<f64>>>()?)
    };
    let response = |share: f64| {
        over(&move |run: &Run| {
            Some(quantile(&decode(&run.result.latency.response).ok()?, share)? as f64 / 1e3)
        })
    };
    let mut all = new_histogram();
    for run in runs {
        if let Ok(round) = decode(&run.result.latency.response) {
            all.add(&round).expect("all histograms have the same bounds");
        }
    }
    Entry {
        system: system.label(),
        rate_per_second: over(&|run| Some(run.result.rates.delivered_per_second)),
        cpu_nanos_per_message: over(&|run| Some(run.result.usage.server?.cpu_nanos_per_message)),
        cores: over(&|run| Some(run.result.usage.server?.cpu_seconds / run.result.rates.seconds)),
        p50_micros: response(0.5),
        p99_micros: response(0.99),
        p999_micros: response(0.999),
        resident_bytes: over(&|run| Some(run.result.usage.server?.resident_bytes as f64)),
        bytes_per_connection: over(&|run| {
            let grown = run.result.usage.server?.resident_bytes as f64 - run.resident_bytes_at_start? as f64;
            Some(grown / f64::from(run.result.workload.connections))
        }),
        generator_busy: over(&|run| Some(run.result.usage.generator_busy_share)),
        failed: runs
            .iter()
            .filter(|run| !run.result.verdict.pass)
            .map(|run| run.result.verdict.reasons.join("; "))
            .collect(),
        response: encode(&all),
    }
}

impl Spread {
    pub fn scaled(self, factor: f64) -> Spread {
        Spread { median: self.median * factor, least: self.least * factor, most: self.most * factor }
    }

    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let median = crate::compare::median(&values)?;
        Some(Spread { median, least, most })
    }
}
