//! `ringbolt-loadgen compare`.

use super::{Comparison, Finding, Group, compare, page};
use crate::result::RunResult;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXIT_GATE: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// Compares later runs with the first. Rounds of one variant: LABEL=run1.json,run2.json
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// run.json, a directory with one, or LABEL=FILE,FILE,…
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<String>,
    /// Exit with 1 if this metric is significantly worse: p50, p90, p99, p99.9, mean, rate, cpu
    #[arg(long, value_name = "METRIC")]
    pub gate: Option<String>,
    /// … by more than this many percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "gate")]
    pub fail_over: f64,
    /// Write a page with the comparison and overlaid plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the comparison as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub fn run(args: &CompareArgs) -> ExitCode {
    execute(args).unwrap_or_else(|error| {
        eprintln!("ringbolt-loadgen: {error}");
        ExitCode::from(EXIT_USAGE)
    })
}

fn execute(args: &CompareArgs) -> io::Result<ExitCode> {
    let groups = args.runs.iter().map(|text| load(text)).collect::<io::Result<Vec<Group>>>()?;
    let comparisons = compare(&groups);
    comparisons.iter().for_each(|comparison| print!("{}", comparison.table()));
    if let Some(path) = &args.html {
        std::fs::write(path, page("Comparison", &groups, &comparisons)?)?;
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&comparisons)?)?;
    }
    match &args.gate {
        None => Ok(ExitCode::SUCCESS),
        Some(metric) => gate(&comparisons, metric, args.fail_over),
    }
}

/// Whether any comparison is significantly worse in `metric` by more than `percent`.
pub fn gate(comparisons: &[Comparison], metric: &str, percent: f64) -> io::Result<ExitCode> {
    for comparison in comparisons {
        let Some(row) = comparison.row(metric) else {
            return Err(io::Error::other(format!("--gate: there is no metric '{metric}'")));
        };
        let change = row.difference.map_or(0.0, |difference| difference.percent.abs());
        if row.finding == Finding::Worse && change > percent {
            println!("gate: {metric} is worse by {change:.1} %, more than {percent:.1} %");
            return Ok(ExitCode::from(EXIT_GATE));
        }
        if row.finding == Finding::Unknown {
            println!("gate: {metric} cannot be judged from these rounds");
            return Ok(ExitCode::from(EXIT_GATE));
        }
    }
    println!("gate: {metric} holds");
    Ok(ExitCode::SUCCESS)
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
