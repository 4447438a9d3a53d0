//! Why bytes could not be decoded. The framing is lost with every one of these: the connection must be
//! closed, and nothing behind the error may be believed.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The first byte of a frame is not the magic number: the peer speaks something else.
    Magic(u8),
    Version(u8),
    FrameType(u8),
    /// The flags of this frame type have undefined bits or values.
    Flags {
        frame_type: u8,
        flags: u8,
    },
    /// The body is longer than the receiver takes. Known from the header alone.
    BodyTooLong {
        body_bytes: u32,
        body_bytes_max: u32,
    },
    /// A varint runs past five bytes, past 32 bits, or is not in its shortest form.
    Varint,
    /// A field ends behind the end of the body.
    Truncated {
        field: &'static str,
    },
    /// Interned subjects are numbered from 1.
    InternedZero,
    /// The flags announce headers, and their length is 0.
    NoHeaders,
    /// A batch has 1 to 1024 messages.
    BatchCount,
    /// The body of a control frame is not the table its type names.
    Control {
        frame_type: u8,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DecodeError::Magic(byte) => write!(formatter, "frame begins with 0x{byte:02x}, not 0xcf"),
            DecodeError::Version(version) => write!(formatter, "frame version {version} is not 1"),
            DecodeError::FrameType(number) => write!(formatter, "frame type {number} is not defined"),
            DecodeError::Flags { frame_type, flags } => {
                write!(formatter, "flags 0x{flags:02x} are not defined for frame type {frame_type}")
            }
            DecodeError::BodyTooLong { body_bytes, body_bytes_max } => {
                write!(formatter, "a body of {body_bytes} bytes exceeds the limit of {body_bytes_max}")
            }
            DecodeError::Varint => formatter.write_str("a varint is too long, too large or not minimal"),
            DecodeError::Truncated { field } => {
                write!(formatter, "the {field} runs past the end of the frame")
            }
            DecodeError::InternedZero => formatter.write_str("interned subjects are numbered from 1"),
            DecodeError::NoHeaders => formatter.write_str("headers are announced, and their length is 0"),
            DecodeError::BatchCount => formatter.write_str("a batch has 1 to 1024 messages"),
            DecodeError::Control { frame_type } => {
                write!(formatter, "the body of frame type {frame_type} is not its FlatBuffers table")
            }
        }
    }
}

impl std::error::Error for DecodeError {}
