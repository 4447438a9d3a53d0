//! What a run leaves behind: a table, JSON, HdrHistogram files, an HTML report.

pub mod hgrm;
pub mod hlog;
pub mod html;
pub mod plot;
mod table;

pub use table::{grouped, micros, table};

use crate::result::RunResult;
use std::io;
use std::path::Path;

/// Writes `run.json`, `run.hlog`, `run.hgrm` (response times) and `report.html`.
pub fn write_all(directory: &Path, run: &RunResult) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    run.save(&directory.join("run.json"))?;
    std::fs::write(directory.join("run.hlog"), hlog::render(run)?)?;
    std::fs::write(directory.join("run.hgrm"), hgrm::render(&run.latency.decode()?.response))?;
    std::fs::write(directory.join("report.html"), html::runs(&[run])?)
}
