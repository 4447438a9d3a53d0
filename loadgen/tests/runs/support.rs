//! The generator as a process, and what it wrote.

use ringbolt_loadgen::result::RunResult;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A finished run of the program.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// ringbolt-server beside the generator. The workspace's tests build it; this package's alone do not.
pub fn server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_ringbolt-loadgen")).with_file_name("ringbolt-server");
        if !path.exists() {
            let folder = path.parent().and_then(Path::parent).expect("a target folder");
            let release = path.parent().is_some_and(|folder| folder.ends_with("release"));
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--package", "ringbolt-server", "--target-dir"]).arg(folder);
            build.args(release.then_some("--release"));
            assert!(build.status().expect("cargo runs").success(), "the server builds");
        }
        path
    })
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-loadgen"));
    command.env("RINGBOLT_SERVER", server_program());
    command
}

/// More than any run here sends. A run with a count is not judged by the rate it kept, which is the
/// machine's: these tests ask what arrived.
pub const WHATEVER_RATE: [&str; 2] = ["--count", "100000000"];

pub fn loadgen(arguments: &[&str]) -> Finished {
    let Output { status, stdout, stderr } = command().args(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Finished { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Runs for about a second, against a server of its own unless an address is among the arguments.
/// Returns the run as the program wrote it, and what it said.
pub fn short_run(arguments: &[&str]) -> (RunResult, Finished) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().to_str().expect("UTF-8");
    let mut all = vec!["--warm-up", "200ms", "--quiet", "--out", out];
    if !arguments.contains(&"--duration") {
        all.extend(["--duration", "1s"]);
    }
    all.extend(arguments);
    let finished = loadgen(&all);
    let run = RunResult::load(&folder.path().join("run.json"))
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.stdout, finished.stderr));
    (run, finished)
}
