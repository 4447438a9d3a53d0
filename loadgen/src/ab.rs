//! Two variants in ABBA rounds: a slow drift of the machine falls on both alike.

use crate::args::RunArgs;
use crate::compare::{Comparison, Group, compare, gate, page};
use crate::dialect::Dialect;
use crate::judge::judge;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::server_process::{Door, ServerProcess, find_ringbolt};
use crate::tuning::{self, Applied};
use crate::{engine, interrupts, output};
use clap::ValueEnum;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    pub a: String,
    /// Second variant
    #[arg(long, value_name = "VARIANT", default_value = "", allow_hyphen_values = true)]
    pub b: String,
    /// Apply this profile of ringbolt-tune for the second variant
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: u32,
    /// Exit with 1 if this metric of the second variant is significantly worse
    #[arg(long, value_name = "METRIC")]
    pub gate: Option<String>,
    /// … by more than this many percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "gate")]
    pub fail_over: f64,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What one side of the comparison runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Variant {
    pub label: String,
    pub server: Server,
    /// A profile to apply around the run.
    pub profile: Option<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Server {
    Ringbolt { dialect: Dialect, flags: Vec<String> },
    Command { dialect: Dialect, address: SocketAddr, line: String },
}

impl Variant {
    /// Reads `--wait latency`, `nats --wait latency` or `nats@127.0.0.1:4333 command …`.
    pub fn parse(text: &str) -> Result<Variant, String> {
        let (head, line) = text.split_once(' ').unwrap_or((text, ""));
        let Some((dialect, address)) = head.split_once('@') else {
            let named = Dialect::from_str(head, true);
            let (dialect, flags) = named.map_or((Dialect::Native, text), |dialect| (dialect, line));
            let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
            let label = if text.is_empty() { "ringbolt".to_owned() } else { format!("ringbolt {text}") };
            return Ok(Variant { label, server: Server::Ringbolt { dialect, flags }, profile: None });
        };
        let known = Dialect::from_str(dialect, true)
            .map_err(|_| format!("'{dialect}' is not a dialect: native, nats, redis, mqtt or raw"))?;
        let address = address.parse().map_err(|_| format!("'{address}' is not an address: write IP:PORT"))?;
        let program = line.split_whitespace().next().ok_or("a server's command follows its address")?;
        let name = Path::new(program).file_name().map_or(program.into(), |name| name.to_string_lossy());
        let label = name.into_owned();
        let server = Server::Command { dialect: known, address, line: line.to_owned() };
        Ok(Variant { label, server, profile: None })
    }
}

pub fn run(args: &AbArgs) -> Result<ExitCode, String> {
    let mut variants = [Variant::parse(&args.a)?, Variant::parse(&args.b)?];
    if let Some(profile) = &args.profile {
        variants[1].label = format!("profile {profile}");
        variants[0].label = "as it is".to_owned();
        variants[1].profile = Some(profile.clone());
    }
    if variants[0] == variants[1] {
        return Err("both variants are the same: set --a, --b or --profile".to_owned());
    }
    let mut reporter = Reporter::new(args.run.quiet);
    let groups = rounds(&args.run, &variants, args.rounds, &mut reporter)?;
    let comparisons = finish(&groups, args.run.out.as_deref())?;
    match &args.gate {
        Some(metric) => gate(&comparisons, metric, args.fail_over).map_err(|error| error.to_string()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// ABBA: the order turns round every time.
pub fn rounds(
    args: &RunArgs,
    variants: &[Variant; 2],
    rounds: u32,
    reporter: &mut Reporter,
) -> Result<Vec<Group>, String> {
    let mut groups = variants.clone().map(|variant| Group { label: variant.label, runs: Vec::new() });
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let variant = &variants[side];
            reporter.say(&format!("round {} of {rounds}: {}", round + 1, variant.label));
            let run = once(args, variant, reporter)?;
            interrupts::check()?;
            groups[side].runs.push(run);
        }
    }
    Ok(groups.into())
}

fn once(args: &RunArgs, variant: &Variant, reporter: &mut Reporter) -> Result<RunResult, String> {
    let _applied = match &variant.profile {
        Some(profile) => Some(Applied::new(&tuning::find()?, profile)?),
        None => None,
    };
    let mut args = args.clone();
    // Declared behind the profile, so dropped before it: buffers in huge pages are given back first.
    let server = match &variant.server {
        Server::Ringbolt { dialect, flags } => {
            args.dialect = *dialect;
            let door = Door::of(*dialect, args.unix && *dialect == Dialect::Native)?;
            ServerProcess::ringbolt(&find_ringbolt()?, &args.server_cores, flags, door)?
        }
        Server::Command { dialect, address, line } => {
            args.dialect = *dialect;
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            ServerProcess::command(&words, &args.server_cores, *address)?
        }
    };
    args.name = Some(variant.label.clone());
    let workload = args.workload(server.address.clone())?;
    let outcome = engine::run(&workload, Some(server.pid()), reporter)?;
    Ok(judge(&workload, &outcome, &args.targets()))
}

/// Prints the comparison; writes every run, the comparison and its page to `out`.
pub fn finish(groups: &[Group], out: Option<&Path>) -> Result<Vec<Comparison>, String> {
    for group in groups {
        if let Some(run) = group.runs.last() {
            print!("{}", output::table(run));
        }
    }
    let comparisons = compare(groups);
    comparisons.iter().for_each(|comparison| print!("{}", comparison.table()));
    if let Some(folder) = out {
        write(groups, &comparisons, folder)
            .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
        println!("\nwritten to {}", folder.join("index.html").display());
    }
    Ok(comparisons)
}

fn write(groups: &[Group], comparisons: &[Comparison], folder: &Path) -> std::io::Result<()> {
    for (side, group) in groups.iter().enumerate() {
        for (round, run) in group.runs.iter().enumerate() {
            let letter = char::from(b'a' + side as u8);
            let below: PathBuf = folder.join(format!("{letter}{}", round + 1));
            output::write_all(&below, run)?;
        }
    }
    std::fs::write(folder.join("comparison.json"), serde_json::to_string_pretty(comparisons)?)?;
    std::fs::write(folder.join("index.html"), page("Comparison", groups, comparisons)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_flags_or_a_command_behind_its_dialect() {
        let flags = Variant::parse("--wait latency").expect("flags");
        let words = || vec!["--wait".to_owned(), "latency".to_owned()];
        assert_eq!(flags.server, Server::Ringbolt { dialect: Dialect::Native, flags: words() });
        let nats = Variant::parse("nats --wait latency").expect("a dialect and flags");
        assert_eq!(nats.server, Server::Ringbolt { dialect: Dialect::Nats, flags: words() });
        let nats = Variant::parse("nats@127.0.0.1:4333 /opt/nats-server -p 4333").expect("a command");
        assert_eq!(nats.label, "nats-server");
        assert!(matches!(nats.server, Server::Command { dialect: Dialect::Nats, .. }));
        for bad in ["amqp@127.0.0.1:1 x", "nats@nowhere x", "nats@127.0.0.1:1"] {
            assert!(Variant::parse(bad).is_err(), "{bad}");
        }
    }
}
