//! The host a run was made on, and what its processes use. All from /proc and /sys (proc(5), sysfs(5)).

mod fingerprint;
mod usage;

pub use fingerprint::Fingerprint;
pub use usage::{Activity, ProcessUsage};
