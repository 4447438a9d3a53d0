//! The real generator: against the real server, against servers that lie or stall, and what it writes.

mod comparing;
mod files;
mod honesty;
mod liar;
mod peers;
mod support;
mod third_party;
mod workloads;
