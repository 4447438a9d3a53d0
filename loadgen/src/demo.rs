//! `cargo demo`: builds the server, drives it before and after tuning the host, shows the difference.

use crate::ab::{Variant, finish, rounds};
use crate::progress::Reporter;
use crate::trial::Read;
use crate::tuning;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

pub struct Plan {
    /// Pairs of runs.
    pub rounds: u32,
    /// Where the report goes.
    pub out: PathBuf,
}

/// The canonical workload, for a demonstration of two minutes.
const SECONDS: u64 = 10;

pub fn run(plan: &Plan, read: Read) -> Result<ExitCode, String> {
    build_server()?;
    let profile = tuning::is_root() && tuning::find().is_ok();
    let variants = if profile {
        println!(
            "comparing this host as it is with ringbolt-tune's latency profile; \
             it is put back after every round"
        );
        let plain = Variant { label: "as it is".to_owned(), ..Variant::parse("")? };
        let tuned = Variant {
            label: "profile latency".to_owned(),
            profile: Some("latency".to_owned()),
            ..Variant::parse("")?
        };
        [plain, tuned]
    } else {
        println!("not root, so the host is not tuned: comparing --wait balanced with --wait latency instead");
        [Variant::parse("--wait balanced")?, Variant::parse("--wait latency")?]
    };
    let mut trial = read("")?;
    trial.workload.duration = Duration::from_secs(SECONDS);
    let groups = rounds(&trial, &variants, plan.rounds, &mut Reporter::new(false))?;
    let passed = groups.iter().flat_map(|group| &group.runs).all(|run| run.verdict.pass);
    finish(&groups, Some(&plan.out))?;
    println!("open {} in a browser", plan.out.join("index.html").display());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cargo names itself in CARGO when it runs a program; without it the server must be built already.
fn build_server() -> Result<(), String> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let built = Command::new(cargo)
        .args(["build", "--release", "--package", "ringbolt-server"])
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if built.success() { Ok(()) } else { Err("the server does not build: see above".to_owned()) }
}
