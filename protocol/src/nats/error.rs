//! Why a client's bytes cannot be parsed. Each of these ends the connection.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// No operation begins like this, or a payload does not end where it said.
    UnknownOperation,
    /// The arguments of an operation are longer than allowed.
    LineTooLong,
    PayloadTooLarge,
    /// Too few or too many arguments, or a size that is none.
    Arguments,
    /// A publish with headers from a client that did not announce them.
    HeadersNotSupported,
    /// The client sent `-ERR`.
    ClientError,
}

impl ParseError {
    /// What the client is told before the end; nothing for errors that nats-server ends silently.
    pub fn answer(self) -> Option<&'static str> {
        match self {
            ParseError::UnknownOperation => Some("Unknown Protocol Operation"),
            ParseError::LineTooLong => Some("maximum control line exceeded"),
            ParseError::PayloadTooLarge => Some("Maximum Payload Violation"),
            ParseError::Arguments | ParseError::HeadersNotSupported | ParseError::ClientError => None,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ParseError::UnknownOperation => "unknown protocol operation",
            ParseError::LineTooLong => "maximum control line exceeded",
            ParseError::PayloadTooLarge => "maximum payload violation",
            ParseError::Arguments => "wrong arguments of an operation",
            ParseError::HeadersNotSupported => "headers from a client that did not announce them",
            ParseError::ClientError => "the client reported an error",
        })
    }
}

impl std::error::Error for ParseError {}
