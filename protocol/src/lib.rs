//! The wire protocol of ringbolt, sans-IO: bytes in, commands out; deliveries in, bytes out.
//!
//! - [`subject`]: validated subjects and patterns.
//! - [`command`]: the dialect-neutral forms of a publish and a delivery.
//! - [`native`]: the native dialect; `docs/PROTOCOL.md` describes it byte by byte.

pub mod command;
pub mod error;
pub mod limits;
pub mod native;
pub mod subject;
pub mod varint;
