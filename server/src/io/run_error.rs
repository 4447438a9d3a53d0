//! Why the server ends otherwise than it was told to.

use std::fmt;

/// Why the server could not start or go on.
#[derive(Debug)]
pub struct RunError(pub(super) String);

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

pub(super) fn failed(what: &str, error: &dyn fmt::Display) -> RunError {
    RunError(format!("{what}: {error}"))
}
