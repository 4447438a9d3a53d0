//! The ringbolt server: the edge around the pure shards of `ringbolt_shard`, settings and the command line.
//!
//! Dependencies point one way: `capture ← config ← io ← {cli, sim}`; only `io` knows sockets, threads and
//! clocks.

pub mod capture;
pub mod cli;
pub mod config;
pub mod io;
pub mod sim;
