//! Capture and replay: what a shard is told and what it answers, recorded so that the same shard can be run
//! again without sockets, to the same bytes.
//!
//! A shard is a function of its arguments and its events. The file holds both, and of what was answered a
//! length and a digest. Payloads are left out unless they are asked for, secrets always: `docs/OPERATIONS.md`
//! lists what a file still holds.

mod answers;
mod batch;
mod filter;
mod format;
mod native;
mod nats;
mod payloads;
mod recorder;
mod replay;
mod secrets;
mod span;
#[cfg(test)]
mod tests;

pub use format::{Capture, Damage, End, Entry, Header, Place};
pub use payloads::Payloads;
pub use recorder::{Recorder, Refused, Sink};
pub use replay::{Difference, Outcome, describe, replay};
pub use secrets::Secrets;
