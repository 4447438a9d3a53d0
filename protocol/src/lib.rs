//! The wire protocol of ringbolt, sans-IO: bytes in, commands out; deliveries in, bytes out.
//!
//! - [`subject`]: validated subjects and patterns.
//! - [`command`]: the dialect-neutral forms of a publish and a delivery.
//! - [`headers`]: the block of headers in front of a payload, the same in both dialects.
//! - [`native`]: the native dialect; `docs/PROTOCOL.md` describes it byte by byte.
//! - [`nats`]: the NATS client protocol.
//! - [`swar`]: short texts looked at a word at a time.

pub mod command;
pub mod decimal;
pub mod error;
pub mod headers;
pub mod limits;
pub mod native;
pub mod nats;
pub mod subject;
pub mod swar;
pub mod varint;
