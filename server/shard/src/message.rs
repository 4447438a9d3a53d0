//! A message on its way: what its publisher says of it, and what its headers ask of the server.

use crate::identity::{AccountId, ConnectionId, Nanos, PublisherId, ShardId};
use crate::lanes::Lane;
use crate::moment;
use crate::router::subjects::SubjectId;
use bytes::Bytes;
use ringbolt_protocol::command::Flags;
use ringbolt_protocol::headers::{self, CONFIRMING, DEAD_LETTER, ServerHeaders};
use std::borrow::Cow;

/// Headers, if there are some, and what follows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    Copied(&'a [u8]),
    Shared(&'a Bytes),
}

impl Payload<'_> {
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Copied(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }
}

/// What the headers of a message ask of the server. They are read once, where the message comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks<'a> {
    /// Lane, compression and correlation id as the headers give them.
    pub flags: Flags,
    pub correlation_id: u64,
    /// Nobody wants the message from then on.
    pub deadline: Option<Nanos>,
    /// By which a message that is published twice is known.
    pub message_id: Option<&'a [u8]>,
    /// Replies wanted; 0: they are not gathered.
    pub gather: u32,
    /// Its publisher wants to be told what became of it.
    pub confirm: bool,
    /// It becomes a dead letter if nobody wants it.
    pub unroutable_dies: bool,
}

impl Marks<'static> {
    /// Of a message without headers.
    pub const PLAIN: Marks<'static> = Marks {
        flags: Flags(0),
        correlation_id: 0,
        deadline: None,
        message_id: None,
        gather: 0,
        confirm: false,
        unroutable_dies: false,
    };
}

impl<'a> Marks<'a> {
    /// `unix_epoch_nanos`: Unix time of the beginning of the shards' clock.
    #[cold]
    pub fn read(block: &'a [u8], unix_epoch_nanos: u64) -> Marks<'a> {
        let said = ServerHeaders::read(block);
        let deadline = said.deadline.and_then(moment::parse);
        let gather = said.gather.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        Marks {
            flags: said.flags,
            correlation_id: said.correlation_id,
            deadline: deadline.map(|unix_nanos| Nanos(unix_nanos.saturating_sub(unix_epoch_nanos))),
            message_id: said.message_id,
            gather: gather.unwrap_or(0),
            confirm: said.expected_stream == Some(CONFIRMING),
            unroutable_dies: said.unroutable == Some(DEAD_LETTER),
        }
    }

    /// Whether nobody wants the message any more.
    #[inline]
    pub fn is_past(&self, now: Nanos) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// What is published, in whatever dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publication<'a> {
    pub publisher: PublisherId,
    pub account: AccountId,
    pub flags: Flags,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    /// Valid until the next subject is looked up.
    pub subject: SubjectId,
    pub reply: Option<&'a [u8]>,
    /// The reply subject is beyond what native clients are promised.
    pub foreign: bool,
    pub marks: &'a Marks<'a>,
    pub header_bytes: u32,
    /// How often a group that acknowledges has delivered it before it came here.
    pub deliveries: u16,
    pub payload: Payload<'a>,
    /// What a copied payload is a part of, if that can be shared.
    pub backing: Option<&'a Bytes>,
}

impl Publication<'_> {
    /// Nothing, from nobody; what the server says begins with it.
    pub const EMPTY: Publication<'static> = Publication {
        publisher: PublisherId { shard: 0, connection: ConnectionId::NOBODY },
        account: AccountId::GLOBAL,
        flags: Flags(0),
        timestamp_nanos: 0,
        correlation_id: 0,
        subject: SubjectId::NONE,
        reply: None,
        foreign: false,
        marks: &Marks::PLAIN,
        header_bytes: 0,
        deliveries: 0,
        payload: Payload::Copied(b""),
        backing: None,
    };

    #[inline]
    pub fn lane(&self) -> Lane {
        Lane::of(self.flags)
    }

    /// Headers, and what follows them.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.payload.bytes().split_at(self.header_bytes as usize)
    }

    pub fn is_from(&self, shard: ShardId, connection: ConnectionId) -> bool {
        self.publisher == PublisherId { shard, connection }
    }
}

/// A message with headers, without those that the server alone writes.
pub struct Headed<'a> {
    whole: Cow<'a, [u8]>,
    header_bytes: u32,
}

impl<'a> Headed<'a> {
    #[cold]
    pub fn new(whole: &'a [u8], header_bytes: u32) -> Headed<'a> {
        let (block, rest) = whole.split_at(header_bytes as usize);
        match headers::without_owned(block) {
            None => Headed { whole: Cow::Borrowed(whole), header_bytes },
            Some(mut cleaned) => {
                debug_assert!(cleaned.len() < block.len(), "lines were left out, and none added");
                let header_bytes = cleaned.len() as u32;
                cleaned.extend_from_slice(rest);
                Headed { whole: Cow::Owned(cleaned), header_bytes }
            }
        }
    }

    pub fn marks(&self, unix_epoch_nanos: u64) -> Marks<'_> {
        Marks::read(&self.whole[..self.header_bytes as usize], unix_epoch_nanos)
    }

    /// The publication with this in the place of its payload.
    pub fn of<'p>(&'p self, publication: &Publication<'p>, marks: &'p Marks<'p>) -> Publication<'p> {
        let backing = match self.whole {
            Cow::Borrowed(_) => publication.backing,
            Cow::Owned(_) => None,
        };
        let (header_bytes, payload) = (self.header_bytes, Payload::Copied(&self.whole));
        Publication { marks, header_bytes, payload, backing, ..*publication }
    }
}

/// A publication and the text of its subject, on the way to those who want it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub subject: &'a str,
    pub publication: &'a Publication<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_ask_for_what_they_say_and_nonsense_for_nothing() {
        let block = b"NATS/1.0\r\nRingbolt-Deadline: 2026-11-08T12:00:00Z\r\nNats-Msg-Id: 7\r\n\
            Ringbolt-Gather: 3\r\nNats-Expected-Stream: ringbolt\r\nRingbolt-Unroutable: dead-letter\r\n\r\n";
        let marks = Marks::read(block, 1_794_139_199_000_000_000);
        let asked = Marks {
            deadline: Some(Nanos(1_000_000_000)),
            message_id: Some(b"7"),
            gather: 3,
            confirm: true,
            unroutable_dies: true,
            ..Marks::PLAIN
        };
        assert_eq!(marks, asked);
        assert!(!marks.is_past(Nanos(999_999_999)) && marks.is_past(Nanos(1_000_000_000)));
        let nonsense = b"NATS/1.0\r\nRingbolt-Deadline: soon\r\nRingbolt-Gather: all\r\n\
            Nats-Expected-Stream: other\r\nRingbolt-Unroutable: no\r\n\r\n";
        assert_eq!(Marks::read(nonsense, 0), Marks::PLAIN);
        assert_eq!(Marks::read(b"\xff", 0), Marks::PLAIN);
    }
}
