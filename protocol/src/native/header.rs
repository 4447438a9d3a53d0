//! The fixed header of every native frame: 24 bytes, little-endian.

use crate::command::Flags;
use crate::error::DecodeError;
use crate::limits::HEADER_BYTES;

pub const MAGIC: u8 = 0xCF;
pub const VERSION: u8 = 1;
/// The messages of a batch have neither replies nor headers.
const BATCH_LACKS: u8 = Flags::REPLY | Flags::HEADERS;

/// What a frame is. Numbers are never re-used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FrameType {
    Hello = 1,
    Welcome = 2,
    Subscribe = 3,
    Subscribed = 4,
    Unsubscribe = 5,
    Unsubscribed = 6,
    Intern = 7,
    Interned = 8,
    Publish = 9,
    Deliver = 10,
    Refusal = 11,
    Ping = 12,
    Pong = 13,
    Close = 14,
    PublishBatch = 15,
    DeliverBatch = 16,
    Flow = 17,
}

impl FrameType {
    #[inline]
    pub fn from_number(number: u8) -> Option<FrameType> {
        Some(match number {
            1 => FrameType::Hello,
            2 => FrameType::Welcome,
            3 => FrameType::Subscribe,
            4 => FrameType::Subscribed,
            5 => FrameType::Unsubscribe,
            6 => FrameType::Unsubscribed,
            7 => FrameType::Intern,
            8 => FrameType::Interned,
            9 => FrameType::Publish,
            10 => FrameType::Deliver,
            11 => FrameType::Refusal,
            12 => FrameType::Ping,
            13 => FrameType::Pong,
            14 => FrameType::Close,
            15 => FrameType::PublishBatch,
            16 => FrameType::DeliverBatch,
            17 => FrameType::Flow,
            _ => return None,
        })
    }

    #[inline]
    pub fn is_message(self) -> bool {
        matches!(self, FrameType::Publish | FrameType::Deliver) || self.is_batch()
    }

    #[inline]
    pub fn is_batch(self) -> bool {
        matches!(self, FrameType::PublishBatch | FrameType::DeliverBatch)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub frame_type: FrameType,
    pub flags: Flags,
    pub body_bytes: u32,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
}

impl Header {
    /// Reads a header; `None` if the input is shorter than one and right so far.
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else {
            return check_start(input).map(|()| None);
        };
        check_start(&bytes[..4])?;
        let frame_type = FrameType::from_number(bytes[2]).ok_or(DecodeError::FrameType(bytes[2]))?;
        Ok(Some(Header {
            frame_type,
            flags: Flags(bytes[3]),
            body_bytes: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            timestamp_nanos: u64_at(bytes, 8),
            correlation_id: u64_at(bytes, 16),
        }))
    }

    #[inline]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&[MAGIC, VERSION, self.frame_type as u8, self.flags.0]);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.timestamp_nanos.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.correlation_id.to_le_bytes());
        bytes
    }
}

/// Rejects a wrong beginning as soon as it is there: a peer that speaks another protocol may never
/// send 24 bytes.
#[inline]
fn check_start(input: &[u8]) -> Result<(), DecodeError> {
    if let Some(&magic) = input.first().filter(|&&magic| magic != MAGIC) {
        return Err(DecodeError::Magic(magic));
    }
    if let Some(&version) = input.get(1).filter(|&&version| version != VERSION) {
        return Err(DecodeError::Version(version));
    }
    let Some(&number) = input.get(2) else { return Ok(()) };
    let Some(frame_type) = FrameType::from_number(number) else {
        return Err(DecodeError::FrameType(number));
    };
    match input.get(3) {
        Some(&flags) => check_flags(frame_type, flags),
        None => Ok(()),
    }
}

#[inline]
fn check_flags(frame_type: FrameType, flags: u8) -> Result<(), DecodeError> {
    let valid = match frame_type.is_message() {
        true => Flags(flags).is_valid() && !(frame_type.is_batch() && flags & BATCH_LACKS != 0),
        false => flags == 0,
    };
    if valid { Ok(()) } else { Err(DecodeError::Flags { frame_type: frame_type as u8, flags }) }
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
