//! The NATS client protocol: lines of text, and payloads of counted bytes.
//!
//! The rules are those of nats-server, down to what it does with input that no document allows:
//! `docs/NATS.md` names the few differences.

pub mod connect;
pub mod encode;
pub mod error;
pub mod info;
pub mod parse;
mod run;

pub use connect::Connect;
pub use error::ParseError;
pub use info::Info;
pub use parse::{Command, ParseLimits, Parsed, fast_publish, parse};
pub use run::{SPAN_END_BYTES, Span, scan_run};

/// The version of nats-server whose protocol and behaviour this is. Clients decide by it what they use.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// Whether the line at the start of bytes this side encoded itself begins a message, and the length of
/// the whole: for walking a buffer of them. `None` if there is no whole line.
pub fn peek_frame(frames: &[u8]) -> Option<(bool, usize)> {
    let line_bytes = 1 + frames.iter().position(|&byte| byte == b'\n')?;
    let line = frames[..line_bytes].trim_ascii_end();
    let is_message = line.starts_with(b"MSG ") || line.starts_with(b"HMSG ");
    if !is_message {
        return Some((false, line_bytes));
    }
    let size = line.rsplit(|&byte| byte == b' ').next()?;
    let payload_bytes = crate::decimal::parse(size, 10)? as usize;
    Some((true, line_bytes + payload_bytes + 2))
}
