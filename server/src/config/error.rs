//! What is said of a setting that cannot be used.

use std::fmt;

/// A setting that cannot be used, with cause and cure in one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for ConfigError {}
