//! Two variants in ABBA rounds: a slow drift of the machine falls on both alike.

use crate::compare::{Comparison, Gate, Group, compare, page};
use crate::dialect::Dialect;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::server_process::{Door, ServerProcess, find_ringbolt};
use crate::trial::Trial;
use crate::tuning::{self, Applied};
use crate::{interrupts, output};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub struct Plan {
    pub variants: [Variant; 2],
    /// What both are measured by.
    pub trial: Trial,
    /// Pairs of runs.
    pub rounds: u32,
    pub gate: Option<Gate>,
    /// Where every run and the comparison are written.
    pub out: Option<PathBuf>,
    pub quiet: bool,
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
            let named = Dialect::named(head);
            let (dialect, flags) = named.map_or((Dialect::Native, text), |dialect| (dialect, line));
            let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
            let label = if text.is_empty() { "ringbolt".to_owned() } else { format!("ringbolt {text}") };
            return Ok(Variant { label, server: Server::Ringbolt { dialect, flags }, profile: None });
        };
        let known = Dialect::named(dialect)
            .ok_or_else(|| format!("'{dialect}' is not a dialect: native, nats, redis, mqtt or raw"))?;
        let address = address.parse().map_err(|_| format!("'{address}' is not an address: write IP:PORT"))?;
        let program = line.split_whitespace().next().ok_or("a server's command follows its address")?;
        let name = Path::new(program).file_name().map_or(program.into(), |name| name.to_string_lossy());
        let label = name.into_owned();
        let server = Server::Command { dialect: known, address, line: line.to_owned() };
        Ok(Variant { label, server, profile: None })
    }
}

pub fn run(plan: &Plan) -> Result<ExitCode, String> {
    let groups = rounds(&plan.trial, &plan.variants, plan.rounds, &mut Reporter::new(plan.quiet))?;
    let comparisons = finish(&groups, plan.out.as_deref())?;
    match &plan.gate {
        Some(gate) => gate.judge(&comparisons).map_err(|error| error.to_string()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// ABBA: the order turns round every time.
pub fn rounds(
    trial: &Trial,
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
            let run = once(trial, variant, reporter)?;
            interrupts::check()?;
            groups[side].runs.push(run);
        }
    }
    Ok(groups.into())
}

fn once(trial: &Trial, variant: &Variant, reporter: &mut Reporter) -> Result<RunResult, String> {
    let _applied = match &variant.profile {
        Some(profile) => Some(Applied::new(&tuning::find()?, profile)?),
        None => None,
    };
    let mut trial = trial.clone();
    // Declared behind the profile, so dropped before it: buffers in huge pages are given back first.
    let server = match &variant.server {
        Server::Ringbolt { dialect, flags } => {
            trial.workload.dialect = *dialect;
            let door = Door::of(*dialect, trial.server.unix && *dialect == Dialect::Native)?;
            ServerProcess::ringbolt(&find_ringbolt()?, &trial.server.cores, flags, door)?
        }
        Server::Command { dialect, address, line } => {
            trial.workload.dialect = *dialect;
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            ServerProcess::command(&words, &trial.server.cores, *address)?
        }
    };
    trial.workload.name = variant.label.clone();
    trial.measure_at(&server.address, Some(server.pid()), reporter)
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
