//! The wire protocols the generator speaks: one enum, so that the hot loop dispatches without a call.

pub mod mqtt;
pub mod native;
pub mod nats;
pub mod raw;
pub mod redis;

use clap::ValueEnum;
use ringbolt_protocol::command::Priority;
use ringbolt_protocol::decimal;
use ringbolt_protocol::native::batch::Messages;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// ringbolt's own protocol.
    Native,
    /// The NATS client protocol.
    Nats,
    /// Redis publish/subscribe (RESP2).
    Redis,
    /// MQTT 3.1.1, quality of service 0.
    Mqtt,
    /// Length and bytes, for `ringbolt-loadgen limit`.
    Raw,
}

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

impl Dialect {
    pub fn default_port(self) -> u16 {
        match self {
            Dialect::Native => 7700,
            Dialect::Nats => 4222,
            Dialect::Redis => 6379,
            Dialect::Mqtt => 1883,
            Dialect::Raw => 7799,
        }
    }

    /// The first bytes of a connection.
    pub fn greet(self, out: &mut Vec<u8>) {
        match self {
            Dialect::Native => native::greet(out),
            Dialect::Nats => nats::greet(out),
            Dialect::Mqtt => mqtt::greet(out),
            Dialect::Redis | Dialect::Raw => {}
        }
    }

    /// Announces a subject this connection will publish to, under `number`.
    pub fn introduce(self, number: u32, subject: &str, out: &mut Vec<u8>) {
        if self == Dialect::Native {
            native::introduce(number, subject, out);
        }
    }

    pub fn subscribe(self, subscription: u32, pattern: &str, group: Option<&str>, out: &mut Vec<u8>) {
        match self {
            Dialect::Native => native::subscribe(subscription, pattern, group, out),
            Dialect::Nats => nats::subscribe(subscription, pattern, group, out),
            Dialect::Redis => redis::subscribe(pattern, out),
            Dialect::Mqtt => mqtt::subscribe(pattern, out),
            Dialect::Raw => {}
        }
    }

    /// Asks for an answer once everything before is in force.
    pub fn barrier(self, out: &mut Vec<u8>) {
        match self {
            Dialect::Native => native::barrier(out),
            Dialect::Nats => out.extend_from_slice(b"PING\r\n"),
            Dialect::Redis => redis::barrier(out),
            Dialect::Mqtt => mqtt::barrier(out),
            Dialect::Raw => {}
        }
    }

    pub fn pong(self, out: &mut Vec<u8>) {
        match self {
            Dialect::Native => native::pong(out),
            Dialect::Nats => out.extend_from_slice(b"PONG\r\n"),
            Dialect::Redis | Dialect::Mqtt | Dialect::Raw => {}
        }
    }

    /// The head of a message; its payload follows, then [`Dialect::finish`].
    #[inline]
    pub fn publish_head(self, message: &Outgoing<'_>, out: &mut Vec<u8>) {
        match self {
            Dialect::Native => native::publish_head(message, out),
            Dialect::Nats => nats::publish_head(message, out),
            Dialect::Redis => redis::publish_head(message, out),
            Dialect::Mqtt => mqtt::publish_head(message, out),
            Dialect::Raw => raw::publish_head(message, out),
        }
    }

    #[inline]
    pub fn finish(self, out: &mut Vec<u8>) {
        if matches!(self, Dialect::Nats | Dialect::Redis) {
            out.extend_from_slice(b"\r\n");
        }
    }

    #[inline]
    pub fn parse(self, input: &[u8]) -> Parsed<'_> {
        match self {
            Dialect::Native => native::parse(input),
            Dialect::Nats => nats::parse(input),
            Dialect::Redis => redis::parse(input),
            Dialect::Mqtt => mqtt::parse(input),
            Dialect::Raw => raw::parse(input),
        }
    }
}

/// The number in `rb<separator>NUMBER<separator>m`; 0 if the subject has none.
pub(crate) fn number_of(subject: &[u8], separator: u8) -> Option<u32> {
    subject.split(|&byte| byte == separator).nth(1).and_then(number).map(|number| number as u32)
}

/// A length or count of a text protocol.
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    decimal::parse(text, 10).map(|number| number as usize)
}
