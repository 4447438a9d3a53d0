//! `ringbolt-server`: reads the configuration, checks the host, runs.

use ringbolt_server::cli;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
