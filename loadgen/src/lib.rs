//! The load generator: thread-per-core on io_uring, open-loop, every delivery checked.

pub mod ab;
pub mod check;
pub mod cli;
pub mod compare;
pub mod demo;
pub mod dialect;
pub mod engine;
pub mod find_max;
pub mod histogram;
pub mod host;
pub mod interrupts;
pub mod judge;
pub mod limit;
pub mod output;
pub mod parse;
pub mod payload;
pub mod peers;
pub mod progress;
pub mod result;
pub mod sequence;
pub mod server_process;
pub mod targets;
pub mod trial;
pub mod tuning;
pub mod validate;
pub mod workload;
