//! Bounds of the wire formats. Servers may be stricter; none may be laxer.

/// The fixed header of a native frame.
pub const HEADER_BYTES: usize = 24;
/// Longest subject or pattern.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// Most tokens of a subject or pattern.
pub const TOKENS_MAX: usize = 32;
/// Longest name of a queue group.
pub const QUEUE_GROUP_BYTES_MAX: usize = 64;
/// Payload a server takes by default.
pub const PAYLOAD_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// No server may be configured to take a larger frame body.
pub const FRAME_BODY_BYTES_CEILING: u32 = 64 << 20;
/// Body of a control frame.
pub const CONTROL_BODY_BYTES_MAX: u32 = 4096;
/// Most messages of a batch.
pub const BATCH_MESSAGES_MAX: u32 = 1024;
/// Longest encoding of a varint.
pub const VARINT_BYTES_MAX: usize = 5;

const _: () = assert!(CONTROL_BODY_BYTES_MAX < FRAME_BODY_BYTES_CEILING);
const _: () = assert!(PAYLOAD_BYTES_MAX_DEFAULT < FRAME_BODY_BYTES_CEILING as usize);
