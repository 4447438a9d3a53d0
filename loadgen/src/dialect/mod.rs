//! The wire protocols the generator speaks: one enum, so that the hot loop dispatches without a call.

mod messages;
pub mod mqtt;
pub mod native;
pub mod nats;
pub mod raw;
pub mod redis;

pub use messages::{Incoming, Message, Outgoing, Parsed};

use clap::ValueEnum;
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

impl Dialect {
    /// By its name, in capitals or not.
    pub fn named(name: &str) -> Option<Dialect> {
        Dialect::from_str(name, true).ok()
    }

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
