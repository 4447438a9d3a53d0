//! Which payloads stand in a capture.

use serde::{Deserialize, Serialize};

/// Most bytes of a receive or a batch in a file, what is left out included.
pub const LEFT_OUT_BYTES_MAX: usize = 64 << 20;

/// What a capture holds of payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Payloads {
    Lengths,
    Kept,
}

/// Who acknowledges says so in a payload, and what it says decides: such payloads are kept in any case.
const ACKNOWLEDGEMENTS: &[u8] = b"$JS.ACK.";

/// Whether a message to this subject is understood by the server, payload included.
pub fn is_understood(subject: &[u8]) -> bool {
    subject.starts_with(ACKNOWLEDGEMENTS)
}
