//! The native dialect, version 1: a fixed header, control frames as FlatBuffers tables, publishes and
//! deliveries read in place.

pub mod batch;
pub mod control;
pub mod decode;
pub mod encode;
pub mod header;
mod run;

pub use run::scan_run;

#[allow(unsafe_code, warnings, clippy::all)]
#[rustfmt::skip]
mod generated;

use crate::limits::HEADER_BYTES;
use decode::{DecodeLimits, Decoded, Frame, decode_frame};
use header::FrameType;

/// Type and whole length of the frame at the start of bytes this side encoded itself, for walking a
/// buffer of frames. `None` if there is no whole header.
#[inline]
pub fn peek_frame(frames: &[u8]) -> Option<(FrameType, usize)> {
    let header = frames.first_chunk::<HEADER_BYTES>()?;
    let frame_type = FrameType::from_number(header[2])?;
    let body_bytes = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    Some((frame_type, HEADER_BYTES + body_bytes as usize))
}

/// How many deliveries the whole frame at the start of bytes this side encoded is.
pub fn deliveries(frame: &[u8]) -> u64 {
    const LIMITS: DecodeLimits = DecodeLimits { body_bytes_max: u32::MAX };
    match frame.get(2) {
        Some(&kind) if kind == FrameType::Deliver as u8 => 1,
        Some(&kind) if kind == FrameType::DeliverBatch as u8 => match decode_frame(frame, &LIMITS) {
            Ok(Decoded::Frame { frame: Frame::DeliverBatch(batch), .. }) => batch.messages.count().into(),
            _ => 0,
        },
        _ => 0,
    }
}
