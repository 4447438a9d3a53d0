//! What is told to whoever ran the program: text, which may find its reader gone, and exit statuses.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

/// The host cannot run the server, or the server failed.
pub(super) const EXIT_HOST: u8 = 1;
/// The configuration or the command line is wrong.
pub(super) const EXIT_CONFIG: u8 = 2;

/// How long a complaint may take.
const COMPLAINT_TIME_MAX: Duration = Duration::from_secs(1);

/// Writes to standard output. A reader that has seen enough closes its end; any other failure is one.
pub(super) fn say(text: &str) -> ExitCode {
    let mut output = stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("standard output: {error}"));
            ExitCode::from(EXIT_HOST)
        }
    }
}

/// Writes a line to standard error, if it takes it: the exit status is told in any case.
pub(super) fn complain(message: impl Display) {
    let line = format!("ringbolt-server: {message}\n");
    let (written, end) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = stderr().write_all(line.as_bytes());
        let _ = written.send(());
    });
    let _ = end.recv_timeout(COMPLAINT_TIME_MAX);
}
