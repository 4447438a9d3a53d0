//! What goes through a connection, whatever protocol it speaks.

use ringbolt_protocol::command::Priority;
use ringbolt_protocol::decimal;
use ringbolt_protocol::native::batch::Messages;

/// Something the server said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    Message(Message<'a>),
    /// Several messages of the native dialect, for one subscription.
    Batch(u32, Messages<'a>),
    /// The answer to the barrier: everything sent before is in force.
    InForce,
    /// The server asks whether we live.
    Ping,
    /// A refusal or error in words; the connection may go on.
    Refused(&'a str),
    /// The server says it will close, and why.
    Closing(&'a str),
    /// Anything that needs no answer.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Which of the connection's subscriptions it is for.
    pub subscription: u32,
    pub reply: Option<&'a [u8]>,
    pub correlation_id: u64,
    pub payload: &'a [u8],
}

/// A message to send, without its payload.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The connection's number for the subject, from 1, if it introduced one.
    pub number: u32,
    pub subject: &'a str,
    pub reply: Option<&'a str>,
    pub correlation_id: u64,
    pub timestamp_nanos: u64,
    pub payload_bytes: usize,
    pub priority: Priority,
    /// Of the header `Key`, for groups that keep a key's messages together.
    pub key: Option<u32>,
}

/// The outcome of reading the start of a buffer: nothing whole yet, or something and its length.
pub type Parsed<'a> = Result<Option<(Incoming<'a>, usize)>, String>;

/// The number in `rb<separator>NUMBER<separator>m`; 0 if the subject has none.
pub(crate) fn number_of(subject: &[u8], separator: u8) -> Option<u32> {
    subject.split(|&byte| byte == separator).nth(1).and_then(number).map(|number| number as u32)
}

/// A length or count of a text protocol.
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    decimal::parse(text, 10).map(|number| number as usize)
}
