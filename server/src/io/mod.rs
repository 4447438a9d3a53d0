//! The edge: the only place that knows glommio, io_uring, sockets, files and the clock.

pub mod admin;
pub mod host_check;
pub mod metrics;
pub mod runtime;

mod clock;
mod connection;
mod listener;
mod mesh;
mod shard_loop;
mod verifier;
mod wait;
