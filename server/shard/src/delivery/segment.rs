//! A run of bytes that leaves an outbox.

use bytes::Bytes;

/// Segments that leave in one send.
pub const SEGMENTS_A_SEND_MAX: usize = 64;
/// Bytes after which a send takes no further segment: a send should not outlive a turn by far.
pub const BYTES_A_SEND_MAX: usize = 1 << 20;

/// The kernel's `UIO_MAXIOV`: more segments are no send.
const SEGMENTS_OF_KERNEL_MAX: usize = 1024;
const _: () = assert!(SEGMENTS_A_SEND_MAX <= SEGMENTS_OF_KERNEL_MAX);

/// A run of bytes to send.
#[derive(Debug)]
pub enum Segment {
    /// Whole frames, the last of which may continue in a `Shared` segment behind.
    Copied(Vec<u8>),
    /// Whole frames that other receivers get too.
    Common(Bytes),
    /// A part of the frame that the last `Copied` segment before ends with: its payload, or the end
    /// of its payload.
    Shared(Bytes),
}

impl Segment {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Segment::Copied(bytes) => bytes,
            Segment::Common(bytes) | Segment::Shared(bytes) => bytes,
        }
    }

    /// The frames that begin in it.
    pub(super) fn frames(&self) -> &[u8] {
        match self {
            Segment::Copied(_) | Segment::Common(_) => self.bytes(),
            Segment::Shared(_) => &[],
        }
    }
}
