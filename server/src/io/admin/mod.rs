//! The control plane: health, metrics and dead letters over HTTP, on a glommio executor of its own thread.
//!
//! It reads what the shards copied out, and asks them for the rest; it never touches them.

mod ask;
mod facts;
mod hosts;
mod http;
mod letters;
mod nats;
mod pulse;
mod query;
mod server;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use facts::ServerFacts;
pub use hosts::Hosts;
pub use server::{AdminHandle, spawn};
pub use state::{AdminState, Inquire};
