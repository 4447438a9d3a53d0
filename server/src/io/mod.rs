//! The edge: the only place that knows glommio, io_uring, sockets, files and the clock.

pub mod admin;
mod ending;
pub mod host_check;
pub mod metrics;
pub mod runtime;

mod announce;
mod atomic;
mod capture_file;
mod clock;
mod connection;
mod linux;
mod listener;
pub mod log;
pub mod mesh;
mod offload;
pub mod platform;
mod run_error;
mod shard_loop;
mod sleeper;
mod verifier;
mod wait;

pub use connection::Listening;
pub use ending::{Reload, Reloaded};
pub use shard_loop::{Changed, Orders, Parts, ShardLoop, Step};
