//! Records of the mesh, written once by the sender and read in place by the receiver.
//!
//! Both ends are the same process of the same build: the layout is private, carries no version, and
//! a record that does not parse is a bug.

use crate::identity::{AccountId, ConnectionId};
use crate::lanes::Lane;
use crate::message::Payload;
use bytes::Bytes;
use ringbolt_protocol::command::Flags;

/// What one turn of a shard has for another.
/// One cache line, so that a hop moves no more than that and the ring's own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct MeshBatch {
    bytes: Vec<u8>,
    /// Large payloads, in the order of their records.
    shared: Vec<Bytes>,
    messages: u32,
    payload_bytes: usize,
}

/// A message for the subscriptions of another shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MeshPublish<'a> {
    pub account: AccountId,
    pub flags: u8,
    /// To the plain subscriptions there.
    pub plain: bool,
    /// Shards that found no member of the queue group any more.
    pub hops: u8,
    pub publisher_shard: u16,
    pub publisher: ConnectionId,
    pub timestamp_nanos: u64,
    pub correlation_id: u64,
    pub subject_hash: u64,
    pub subject: &'a str,
    pub reply: Option<&'a [u8]>,
    pub header_bytes: u32,
    /// How often it was delivered by a shard that hands it over.
    pub deliveries: u16,
    /// To one member of this queue group there.
    pub group: Option<&'a str>,
    pub payload: Payload<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    Publish(MeshPublish<'a>),
    /// The sender now has `count` subscriptions of this pattern and group.
    Interest {
        sequence: u64,
        account: AccountId,
        count: u32,
        pattern: &'a str,
        group: Option<&'a str>,
    },
    /// Interest up to `sequence` is in force here.
    InterestInForce {
        sequence: u64,
    },
    Pause {
        publisher: ConnectionId,
    },
    Resume {
        publisher: ConnectionId,
    },
    /// What the server answers a client of the receiver, where it asked for it.
    Answer {
        client: ConnectionId,
        account: AccountId,
        reply: &'a [u8],
        words: &'a [u8],
    },
    /// The sender accepts no more messages: none follows.
    Fence,
}

impl Record<'_> {
    #[inline]
    pub fn lane(&self) -> Lane {
        match self {
            Record::Publish(publish) => Lane::of(Flags(publish.flags)),
            _ => Lane::Normal,
        }
    }
}

const PUBLISH: u8 = 1;
const INTEREST: u8 = 2;
const IN_FORCE: u8 = 3;
const PAUSE: u8 = 4;
const RESUME: u8 = 5;
const FENCE: u8 = 6;
const ANSWER: u8 = 7;

const PLAIN: u8 = 1;
const REPLY: u8 = 2;
const GROUP: u8 = 4;
const SHARED: u8 = 8;

/// What a publish has of fixed length.
const HEAD_BYTES: usize = 46;

impl MeshBatch {
    pub fn push(&mut self, record: &Record<'_>) {
        match *record {
            Record::Publish(ref publish) => self.push_publish(publish),
            Record::Interest { sequence, account, count, pattern, group } => {
                self.bytes.push(INTEREST);
                self.bytes.extend_from_slice(&sequence.to_le_bytes());
                self.bytes.extend_from_slice(&account.0.to_le_bytes());
                self.bytes.extend_from_slice(&count.to_le_bytes());
                self.put(pattern.as_bytes());
                // A queue group has a name: no bytes means no group.
                self.put(group.unwrap_or("").as_bytes());
            }
            Record::InterestInForce { sequence } => {
                self.bytes.push(IN_FORCE);
                self.bytes.extend_from_slice(&sequence.to_le_bytes());
            }
            Record::Pause { publisher } => self.push_connection(PAUSE, publisher),
            Record::Resume { publisher } => self.push_connection(RESUME, publisher),
            Record::Answer { client, account, reply, words } => {
                self.push_connection(ANSWER, client);
                self.bytes.extend_from_slice(&account.0.to_le_bytes());
                self.put(reply);
                self.put(words);
            }
            Record::Fence => self.bytes.push(FENCE),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut reader = Reader { rest: &self.bytes, shared: self.shared.iter() };
        std::iter::from_fn(move || reader.record())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes this batch holds on to.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.payload_bytes
    }

    pub fn messages(&self) -> u32 {
        self.messages
    }

    #[inline]
    fn push_publish(&mut self, publish: &MeshPublish<'_>) {
        let mut parts = if publish.plain { PLAIN } else { 0 };
        parts |= if publish.reply.is_some() { REPLY } else { 0 };
        parts |= if publish.group.is_some() { GROUP } else { 0 };
        parts |= if matches!(publish.payload, Payload::Shared(_)) { SHARED } else { 0 };
        let mut head = [0u8; HEAD_BYTES];
        head[..4].copy_from_slice(&[PUBLISH, parts, publish.flags, publish.hops]);
        head[4..6].copy_from_slice(&publish.publisher_shard.to_le_bytes());
        head[6..8].copy_from_slice(&publish.account.0.to_le_bytes());
        head[8..12].copy_from_slice(&publish.publisher.slot.to_le_bytes());
        head[12..16].copy_from_slice(&publish.publisher.generation.to_le_bytes());
        head[16..24].copy_from_slice(&publish.timestamp_nanos.to_le_bytes());
        head[24..32].copy_from_slice(&publish.correlation_id.to_le_bytes());
        head[32..40].copy_from_slice(&publish.subject_hash.to_le_bytes());
        head[40..44].copy_from_slice(&publish.header_bytes.to_le_bytes());
        head[44..46].copy_from_slice(&publish.deliveries.to_le_bytes());
        self.bytes.extend_from_slice(&head);
        self.put(publish.subject.as_bytes());
        if let Some(reply) = publish.reply {
            self.put(reply);
        }
        if let Some(group) = publish.group {
            self.put(group.as_bytes());
        }
        match publish.payload {
            Payload::Copied(payload) => {
                self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                self.bytes.extend_from_slice(payload);
            }
            Payload::Shared(payload) => {
                self.payload_bytes += payload.len();
                self.shared.push(payload.clone());
            }
        }
        self.messages += 1;
    }

    fn push_connection(&mut self, kind: u8, connection: ConnectionId) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&connection.slot.to_le_bytes());
        self.bytes.extend_from_slice(&connection.generation.to_le_bytes());
    }

    /// Short text behind its length.
    #[inline]
    fn put(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(text);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    shared: std::slice::Iter<'a, Bytes>,
}

impl<'a> Reader<'a> {
    #[inline]
    fn record(&mut self) -> Option<Record<'a>> {
        let &kind = self.rest.first()?;
        Some(if kind == PUBLISH { Record::Publish(self.publish()) } else { self.control(kind) })
    }

    /// Everything but messages, off their way.
    #[cold]
    #[inline(never)]
    fn control(&mut self, kind: u8) -> Record<'a> {
        match kind {
            INTEREST => {
                self.take(1);
                let sequence = self.u64();
                let account = AccountId(self.u16());
                let count = self.u32();
                let pattern = self.text();
                let group = Some(self.text()).filter(|name| !name.is_empty());
                Record::Interest { sequence, account, count, pattern, group }
            }
            IN_FORCE => {
                self.take(1);
                Record::InterestInForce { sequence: self.u64() }
            }
            PAUSE | RESUME => {
                self.take(1);
                let publisher = ConnectionId { slot: self.u32(), generation: self.u32() };
                if kind == PAUSE { Record::Pause { publisher } } else { Record::Resume { publisher } }
            }
            ANSWER => {
                self.take(1);
                let client = ConnectionId { slot: self.u32(), generation: self.u32() };
                let account = AccountId(self.u16());
                Record::Answer { client, account, reply: self.short(), words: self.short() }
            }
            FENCE => {
                self.take(1);
                Record::Fence
            }
            other => unreachable!("a mesh record of kind {other} was never written"),
        }
    }

    #[inline]
    fn publish(&mut self) -> MeshPublish<'a> {
        let head = self.take(HEAD_BYTES);
        let (parts, flags, hops) = (head[1], head[2], head[3]);
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let subject = self.text();
        let reply = (parts & REPLY != 0).then(|| self.short());
        let group = (parts & GROUP != 0).then(|| self.text());
        let payload = if parts & SHARED != 0 {
            Payload::Shared(self.shared.next().expect("a shared payload for its record"))
        } else {
            let bytes = self.u32() as usize;
            Payload::Copied(self.take(bytes))
        };
        MeshPublish {
            flags,
            plain: parts & PLAIN != 0,
            hops,
            account: AccountId(u16_at(6)),
            publisher_shard: u16_at(4),
            header_bytes: u32_at(40),
            deliveries: u16_at(44),
            publisher: ConnectionId { slot: u32_at(8), generation: u32_at(12) },
            timestamp_nanos: u64_at(16),
            correlation_id: u64_at(24),
            subject_hash: u64_at(32),
            subject,
            reply,
            group,
            payload,
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    #[inline]
    fn short(&mut self) -> &'a [u8] {
        let bytes = usize::from(self.u16());
        self.take(bytes)
    }

    #[inline]
    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.short()).expect("the sender wrote validated text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let large = Bytes::from(vec![7; 9000]);
        let publish = |payload, reply, group: Option<&'static str>| {
            Record::Publish(MeshPublish {
                account: AccountId(300),
                flags: 0x43,
                header_bytes: 70_000,
                deliveries: 500,
                plain: group.is_none(),
                hops: 1,
                publisher_shard: 3,
                publisher: ConnectionId { slot: 4, generation: 5 },
                timestamp_nanos: 6,
                correlation_id: 7,
                subject_hash: 8,
                subject: "a.b",
                reply,
                group,
                payload,
            })
        };
        let connection = ConnectionId { slot: 1, generation: 2 };
        let records = [
            publish(Payload::Copied(b"small"), None, None),
            Record::Interest {
                sequence: 9,
                account: AccountId(7),
                count: 2,
                pattern: "a.*",
                group: Some("workers"),
            },
            publish(Payload::Shared(&large), Some(b"inbox.1"), Some("workers")),
            Record::Interest {
                sequence: 10,
                account: AccountId::GLOBAL,
                count: 0,
                pattern: ">",
                group: None,
            },
            Record::InterestInForce { sequence: 11 },
            Record::Pause { publisher: connection },
            publish(Payload::Copied(b""), None, None),
            Record::Resume { publisher: connection },
            Record::Answer { client: connection, account: AccountId(3), reply: b"in.1", words: b"done" },
            Record::Fence,
        ];
        let mut batch = MeshBatch::default();
        records.iter().for_each(|record| batch.push(record));
        assert_eq!(batch.records().collect::<Vec<_>>(), records);
        assert_eq!(batch.messages(), 3);
        assert!(batch.size_bytes() > 9000);
    }
}
