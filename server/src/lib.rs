//! The ringbolt server: a pure shard core behind a thin io_uring edge.
//!
//! Dependencies point one way: `limits ← shard ← {io, sim}`; only `io` knows sockets, threads and clocks.

pub mod access;
pub mod cli;
pub mod config;
pub mod io;
pub mod limits;
pub mod moment;
pub mod shard;
pub mod sim;
