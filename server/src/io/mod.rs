//! The edge: the only place that knows glommio, io_uring, sockets, files and the clock.

pub mod admin;
pub mod host_check;
pub mod metrics;
