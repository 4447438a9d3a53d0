//! Two variants in ABBA rounds.
use std::process::ExitCode;
#[derive(clap::Args, Debug)]
pub struct AbArgs {}
pub fn run(_args: &AbArgs) -> Result<ExitCode, String> {
    Ok(ExitCode::SUCCESS)
}
