//! Runs that were written to files, compared.

use super::comparison::{Group, compare, page};
use super::gate::Gate;
use crate::result::RunResult;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXIT_USAGE: u8 = 2;

pub struct Plan {
    /// run.json, a folder with one, or LABEL=FILE,FILE,…
    pub runs: Vec<String>,
    pub gate: Option<Gate>,
    /// Where a page and a file of JSON are written.
    pub html: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

pub fn run(plan: &Plan) -> ExitCode {
    execute(plan).unwrap_or_else(|error| {
        eprintln!("ringbolt-loadgen: {error}");
        ExitCode::from(EXIT_USAGE)
    })
}

fn execute(plan: &Plan) -> io::Result<ExitCode> {
    let groups = plan.runs.iter().map(|text| load(text)).collect::<io::Result<Vec<Group>>>()?;
    let comparisons = compare(&groups);
    comparisons.iter().for_each(|comparison| print!("{}", comparison.table()));
    if let Some(path) = &plan.html {
        std::fs::write(path, page("Comparison", &groups, &comparisons)?)?;
    }
    if let Some(path) = &plan.json {
        std::fs::write(path, serde_json::to_string_pretty(&comparisons)?)?;
    }
    plan.gate.as_ref().map_or(Ok(ExitCode::SUCCESS), |gate| gate.judge(&comparisons))
}

fn load(text: &str) -> io::Result<Group> {
    let (label, files) = match text.split_once('=') {
        Some((label, files)) => (label.to_owned(), files),
        None => (String::new(), text),
    };
    let runs =
        files.split(',').map(|file| RunResult::load(&run_file(file))).collect::<io::Result<Vec<_>>>()?;
    let named = runs.first().map(|run| run.name.clone()).unwrap_or_default();
    Ok(Group { label: if label.is_empty() { format!("{named} ({files})") } else { label }, runs })
}

fn run_file(text: &str) -> PathBuf {
    let path = Path::new(text);
    if path.is_dir() { path.join("run.json") } else { path.to_owned() }
}
