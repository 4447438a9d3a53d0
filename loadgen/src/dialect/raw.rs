//! What `ringbolt-loadgen limit` relays without looking: frames that only the two ends understand.
//!
//! A connection first says what it takes and gives, sixteen bytes. From then on everything it sends goes,
//! as it is, to whoever takes that channel.

use super::messages::{Incoming, Message, Outgoing, Parsed, number_of};
use crate::payload::PAYLOAD_BYTES_MAX;

pub const HELLO_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"limit/1\n";
/// Length of the payload and number of the subject.
const HEAD_BYTES: usize = 8;
/// What the relay answers a hello with: a frame without payload.
pub const IN_FORCE: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

/// Channels of a connection; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    pub takes: u32,
    pub gives: u32,
}

impl Hello {
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.takes.to_le_bytes());
        out.extend_from_slice(&self.gives.to_le_bytes());
    }

    pub fn read(bytes: &[u8]) -> Option<Hello> {
        let (hello, _) = bytes.split_first_chunk::<HELLO_BYTES>()?;
        let word = |at: usize| u32::from_le_bytes([hello[at], hello[at + 1], hello[at + 2], hello[at + 3]]);
        (hello[..8] == MAGIC).then(|| Hello { takes: word(8), gives: word(12) })
    }
}

#[inline]
pub(super) fn publish_head(message: &Outgoing<'_>, out: &mut Vec<u8>) {
    // A reply goes to an inbox, which has no number: there, nobody asks.
    let subject = number_of(message.subject.as_bytes(), b'.').unwrap_or(0);
    out.extend_from_slice(&(message.payload_bytes as u32).to_le_bytes());
    out.extend_from_slice(&subject.to_le_bytes());
}

#[inline]
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, subject) = (word(0) as usize, word(4));
    if length == 0 {
        return Ok(Some((Incoming::InForce, HEAD_BYTES)));
    }
    if length > PAYLOAD_BYTES_MAX {
        return Err(format!("a frame of {length} bytes"));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    // A responder answers on the channel it gives: any name will do.
    let message = Message { subscription: subject + 1, reply: Some(b"-"), correlation_id: 0, payload };
    Ok(Some((Incoming::Message(message), HEAD_BYTES + length)))
}
