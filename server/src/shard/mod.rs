//! The pure half: everything a shard decides, without a socket, thread or clock.

pub mod metrics;
