//! What each command does.

use crate::args::{Cli, RunArgs, Sub};
use crate::judge::judge;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::server_process::{Door, ServerProcess, find_ringbolt};
use crate::{ab, compare, demo, engine, find_max, interrupts, limit, output, peers, validate};
use clap::Parser;
use std::process::ExitCode;

pub const EXIT_FAIL: u8 = 1;
const EXIT_NOT_RUN: u8 = 2;

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Thousands of sockets are opened before they become direct descriptors; a refusal shows later.
    let _ = ringbolt_ring::raise_descriptor_limit();
    let result = interrupts::catch().and_then(|()| match &cli.command {
        Some(Sub::Compare(args)) => Ok(compare::run(args)),
        Some(Sub::Ab(args)) => ab::run(args),
        Some(Sub::Demo(args)) => demo::run(args),
        Some(Sub::Limit(args)) => limit::run(args),
        Some(Sub::Peers(args)) => peers::run(args),
        Some(Sub::Validate(args)) => validate::run(args),
        None => run(&cli.run),
    });
    result.unwrap_or_else(|error| {
        eprintln!("ringbolt-loadgen: {error}");
        ExitCode::from(EXIT_NOT_RUN)
    })
}

fn run(args: &RunArgs) -> Result<ExitCode, String> {
    let run = measure(args, &mut Reporter::new(args.quiet))?;
    print!("{}", output::table(&run));
    if let Some(directory) = &args.out {
        output::write_all(directory, &run)
            .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
        println!("written to {}", directory.display());
    }
    Ok(if run.verdict.pass { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAIL) })
}

/// One run as the flags say, against a server named or started.
pub fn measure(args: &RunArgs, reporter: &mut Reporter) -> Result<RunResult, String> {
    let (server, address) = match args.remote()? {
        Some(address) => (None, address),
        None => {
            let door = Door::of(args.dialect, args.unix)?;
            let flags: Vec<String> = args.server_flags.split_whitespace().map(str::to_owned).collect();
            let server = ServerProcess::ringbolt(&find_ringbolt()?, &args.server_cores, &flags, door)?;
            let address = server.address.clone();
            (Some(server), address)
        }
    };
    let pid = args.server_pid.or(server.as_ref().map(ServerProcess::pid));
    let workload = args.workload(address)?;
    if args.find_max {
        let slo = args.slo.ok_or("--find-max wants the objective: --slo 1ms")?;
        return find_max::search(&workload, slo.as_nanos() as u64, pid, reporter);
    }
    let outcome = engine::run(&workload, pid, reporter)?;
    Ok(judge(&workload, &outcome, &args.targets()))
}
