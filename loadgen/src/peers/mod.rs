//! `ringbolt-loadgen peers`: the same workloads against several servers, pinned alike, interleaved.

mod figures;
mod report;
mod rows;
mod systems;

pub use rows::ROWS;
pub use systems::Programs;

use crate::histogram::{new_histogram, quantile};
use crate::host::ProcessUsage;
use crate::interrupts;
use crate::progress::Reporter;
use crate::result::{RunResult, decode, encode};
use crate::trial::{Read, Trial};
use figures::{Entry, Peers, RowResult, Spread};
use rows::Row;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use systems::System;

pub struct Plan {
    pub programs: Programs,
    /// Names; empty: all.
    pub rows: Vec<String>,
    /// Only name the rows.
    pub list: bool,
    pub rounds: u32,
    /// Of each run: not measured, and measured.
    pub warm_up: Duration,
    pub duration: Duration,
    pub server_cores: String,
    pub driver_cores: Vec<usize>,
    /// An earlier comparison to print anew, instead.
    pub again: Option<PathBuf>,
    pub out: Option<PathBuf>,
    pub quiet: bool,
}

pub fn run(plan: &Plan, read: Read) -> Result<ExitCode, String> {
    if plan.list {
        ROWS.iter().for_each(|row| println!("{:<12} {}\n{:12} {}", row.name, row.about, "", row.flags));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &plan.again {
        let named = |error: std::io::Error| format!("{}: {error}", folder.display());
        let peers = report::load(folder).map_err(named)?;
        report::write(&peers, folder).map_err(named)?;
        let tables: String = peers.rows.iter().map(report::table).collect();
        // Whoever reads may have read enough.
        let _ = std::io::stdout().write_all(tables.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen(&plan.rows)?;
    let mut peers = Peers {
        command_line: std::env::args().collect(),
        rounds: plan.rounds,
        seconds: plan.duration.as_secs_f64(),
        host: crate::host::Fingerprint::gather(),
        rows: Vec::new(),
    };
    let reporter = Reporter::new(plan.quiet);
    for row in chosen {
        let result = measure(plan, read, row, &reporter)?;
        print!("{}", report::table(&result));
        peers.rows.push(result);
        // Written after every row: what was measured is kept if a later one cannot run.
        if let Some(folder) = &plan.out {
            report::write(&peers, folder)
                .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
        }
    }
    if let Some(folder) = &plan.out {
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

fn measure(plan: &Plan, read: Read, row: &'static Row, reporter: &Reporter) -> Result<RowResult, String> {
    let mut trial = read(row.flags).map_err(|error| format!("row {}: {error}", row.name))?;
    trial.workload.warm_up = plan.warm_up;
    trial.workload.duration = plan.duration;
    trial.workload.driver_cores = plan.driver_cores.clone();
    trial.server.cores = plan.server_cores.clone();
    let systems = plan.programs.systems(row);
    let mut runs: Vec<Vec<Run>> = systems.iter().map(|_| Vec::new()).collect();
    let mut broken: Vec<Vec<String>> = systems.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
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
                plan.rounds,
                system.label()
            ));
            // One that cannot do a row is said so, and does not end the others'.
            match once(&trial, system) {
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

fn once(trial: &Trial, system: &System) -> Result<Run, String> {
    let server = system.start(&trial.server.cores, &std::env::temp_dir())?;
    let resident_bytes_at_start = ProcessUsage::read(server.pid()).ok().map(|usage| usage.resident_bytes);
    let mut trial = trial.clone();
    trial.workload.name = system.label();
    (trial.workload.dialect, trial.workload.batch) = (system.dialect(), system.batch());
    let result = trial.measure_at(&server.address, Some(server.pid()), &mut Reporter::new(true))?;
    Ok(Run { result, resident_bytes_at_start })
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
