//! Two variants in ABBA rounds.
use std::process::ExitCode;
#[derive(clap::Args, Debug)]
pub struct DemoArgs {}
pub fn run(_args: &DemoArgs) -> Result<ExitCode, String> {
    Ok(ExitCode::SUCCESS)
}
