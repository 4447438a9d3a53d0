//! The command line: its flags become plain values here, and nothing below knows of them.

mod commands;
mod delivery;
mod run;

use crate::progress::Reporter;
use crate::{ab, compare, demo, interrupts, limit, output, peers, validate};
use clap::{Parser, Subcommand};
use commands::{AbArgs, CompareArgs, DemoArgs, LimitArgs, PeersArgs, ValidateArgs};
use run::{RunArgs, read};
use std::process::ExitCode;

const EXIT_NOT_RUN: u8 = 2;

/// Open-loop load generator for ringbolt, NATS and Redis.
///
/// Without --address it starts ringbolt-server itself, on the first core, and drives it from the last.
/// Latency counts from the time a message was due, not from when the generator got to send it. Every
/// delivery is checked for loss, duplication, order and content. Exit status: 0 pass, 1 fail, 2 not run.
#[derive(Parser, Debug)]
#[command(version, name = "ringbolt-loadgen", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a process, and clap cannot box arguments")]
enum Sub {
    /// Compares runs: quantile differences with confidence, beside the hosts' differences.
    Compare(CompareArgs),
    /// Runs two variants in ABBA rounds and gives one verdict.
    Ab(AbArgs),
    /// Builds the server and compares it before and after tuning the host; writes an HTML report.
    Demo(DemoArgs),
    /// Runs rows of workloads against ringbolt and other servers, interleaved.
    Peers(PeersArgs),
    /// Runs workloads whose figures are known in advance, and says which were reached.
    Validate(ValidateArgs),
    /// Relays bytes between connections without looking at them: the bound of any server.
    Limit(LimitArgs),
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Thousands of sockets are opened before they become direct descriptors; a refusal shows later.
    let _ = ringbolt_ring::raise_descriptor_limit();
    let result = interrupts::catch().and_then(|()| match &cli.command {
        Some(Sub::Compare(args)) => Ok(compare::run(&args.plan())),
        Some(Sub::Ab(args)) => ab::run(&args.plan()?),
        Some(Sub::Demo(args)) => demo::run(&args.plan(), read),
        Some(Sub::Limit(args)) => limit::run(&args.plan()?),
        Some(Sub::Peers(args)) => peers::run(&args.plan()?, read),
        Some(Sub::Validate(args)) => validate::run(&args.plan()?, read),
        None => one_run(&cli.run),
    });
    result.unwrap_or_else(|error| {
        eprintln!("ringbolt-loadgen: {error}");
        ExitCode::from(EXIT_NOT_RUN)
    })
}

fn one_run(args: &RunArgs) -> Result<ExitCode, String> {
    let run = args.trial()?.measure(&mut Reporter::new(args.quiet))?;
    print!("{}", output::table(&run));
    if let Some(directory) = &args.out {
        output::write_all(directory, &run)
            .map_err(|error| format!("cannot write to {}: {error}", directory.display()))?;
        println!("written to {}", directory.display());
    }
    Ok(if run.verdict.pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
