//! Records of the mesh, written once by the sender and read in place by the receiver.
//!
//! Both ends are the same process of the same build: the layout is private, carries no version, and
//! a record that does not parse is a bug.

use crate::identity::{AccountId, ConnectionId, PublisherId};
use crate::message::{Marks, Message, Payload, Publication};
use crate::router::subjects::SubjectId;
use bytes::Bytes;
use ringbolt_protocol::command::Flags;
use serde::{Deserialize, Serialize};

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

/// A message on its way to another shard.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    pub message: &'a Message<'a>,
    pub way: Way<'a>,
}

/// Whom a message is for on the shard it is forwarded to, and how it came there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way<'a> {
    pub subject_hash: u64,
    /// To the plain subscriptions there.
    pub plain: bool,
    /// To one member of this queue group there.
    pub group: Option<&'a str>,
    /// Shards that found no member of the queue group any more.
    pub hops: u8,
}

/// A message for the subscriptions of this shard, from another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MeshPublish<'a> {
    /// Validated text, as the shard that sends it has it.
    pub subject: &'a [u8],
    /// Without its subject's number here, and with headers that were not read yet.
    pub publication: Publication<'a>,
    pub way: Way<'a>,
}

/// Everything but messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
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
    /// It outruns a receiver here.
    Outruns {
        publisher: ConnectionId,
    },
    /// What the server answers a client of the receiver, where it asked for it.
    Answer {
        client: ConnectionId,
        account: AccountId,
        reply: &'a [u8],
        words: &'a [u8],
    },
    /// The message behind this record is one that the sender keeps for a member that acknowledges, under
    /// this number: the receiver may take it over. It is answered, whatever becomes of it.
    Offer {
        number: u64,
    },
    /// The answer to an offer of the receiver.
    OfferAnswered {
        number: u64,
        answer: OfferAnswer,
    },
    /// Members of a queue group of the sender may have other messages than before.
    MembersChanged {
        account: AccountId,
        group: &'a str,
    },
    /// The sender accepts no more of its clients' messages. What it hands over or says itself may follow.
    Fence,
}

impl Record<'_> {
    /// Whether what messages presume is told by it, or a publisher or a kept message waits for it: it leaves
    /// before messages that wait. Answers, like messages, are in the order of what they answer.
    pub fn leaves_first(&self) -> bool {
        match self {
            Record::Interest { .. }
            | Record::InterestInForce { .. }
            | Record::Pause { .. }
            | Record::Resume { .. }
            | Record::Outruns { .. }
            | Record::OfferAnswered { .. }
            | Record::MembersChanged { .. } => true,
            Record::Answer { .. } | Record::Offer { .. } | Record::Fence => false,
        }
    }
}

/// What a shard says of a message that it was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OfferAnswer {
    /// It is its own now.
    Taken,
    /// It has no member that may have it.
    Unwanted,
    /// It has no room for it.
    Full,
}

/// What a batch holds, as it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read<'a> {
    Publish(MeshPublish<'a>),
    Control(Record<'a>),
}

const PUBLISH: u8 = 1;
const INTEREST: u8 = 2;
const IN_FORCE: u8 = 3;
const PAUSE: u8 = 4;
const RESUME: u8 = 5;
const OUTRUNS: u8 = 11;
const FENCE: u8 = 6;
const ANSWER: u8 = 7;
const OFFER: u8 = 8;
const OFFER_ANSWERED: u8 = 9;
const MEMBERS_CHANGED: u8 = 10;

const PLAIN: u8 = 1;
const REPLY: u8 = 2;
const GROUP: u8 = 4;
const SHARED: u8 = 8;

/// Most bytes of a subject, reply subject or name between shards.
pub const TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// Length of a text, before it.
const TEXT_LENGTH_BYTES: usize = 2;

/// What a publish has of fixed length.
const HEAD_BYTES: usize = 46;
const _: () = assert!(HEAD_BYTES == 4 + 2 + 2 + 4 + 4 + 8 + 8 + 8 + 4 + 2);
const _: () = assert!(PLAIN ^ REPLY ^ GROUP ^ SHARED == 15, "a bit for each part");
const _: () = assert!(size_of::<MeshBatch>() == 64, "a hop moves one cache line");

impl MeshBatch {
    pub fn with_capacity(bytes: usize) -> MeshBatch {
        MeshBatch { bytes: Vec::with_capacity(bytes), ..MeshBatch::default() }
    }

    pub fn push(&mut self, record: &Record<'_>) {
        match *record {
            Record::Interest { sequence, account, count, pattern, group } => {
                self.bytes.push(INTEREST);
                debug_assert!(group != Some(""), "a queue group has a name");
                self.bytes.extend_from_slice(&sequence.to_le_bytes());
                self.bytes.extend_from_slice(&account.0.to_le_bytes());
                self.bytes.extend_from_slice(&count.to_le_bytes());
                self.put(pattern.as_bytes());
                // A queue group has a name: no bytes means no group.
                self.put(group.unwrap_or("").as_bytes());
            }
            Record::InterestInForce { sequence } => self.push_number(IN_FORCE, sequence),
            Record::Pause { publisher } => self.push_connection(PAUSE, publisher),
            Record::Resume { publisher } => self.push_connection(RESUME, publisher),
            Record::Outruns { publisher } => self.push_connection(OUTRUNS, publisher),
            Record::Answer { client, account, reply, words } => {
                self.push_connection(ANSWER, client);
                self.bytes.extend_from_slice(&account.0.to_le_bytes());
                self.put(reply);
                self.put(words);
            }
            Record::Offer { number } => self.push_number(OFFER, number),
            Record::OfferAnswered { number, answer } => {
                self.push_number(OFFER_ANSWERED, number);
                self.bytes.push(answer as u8);
            }
            Record::MembersChanged { account, group } => {
                self.bytes.push(MEMBERS_CHANGED);
                self.bytes.extend_from_slice(&account.0.to_le_bytes());
                self.put(group.as_bytes());
            }
            Record::Fence => self.bytes.push(FENCE),
        }
    }

    /// To be read in place: nothing of a record is copied that it does not consist of.
    #[inline]
    pub fn reader(&self) -> Reader<'_> {
        Reader { rest: &self.bytes, shared: self.shared.iter() }
    }

    /// Likewise, from the message on that `reader` read last, whose subject is there: nothing of it need be
    /// remembered until then.
    #[cold]
    #[inline(never)]
    pub fn again(&self, reader: &Reader<'_>, subject: *const u8) -> Reader<'_> {
        let from = subject.addr() - self.bytes.as_ptr().addr() - HEAD_BYTES - TEXT_LENGTH_BYTES;
        let rest = &self.bytes[from..];
        debug_assert_eq!(rest[0], PUBLISH, "a message begins there");
        let shared = reader.shared.len() + usize::from(rest[1] & SHARED != 0);
        Reader { rest, shared: self.shared[self.shared.len() - shared..].iter() }
    }

    pub fn records(&self) -> impl Iterator<Item = Read<'_>> {
        let mut reader = self.reader();
        std::iter::from_fn(move || reader.record())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes this batch holds on to.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.payload_bytes
    }

    /// Bytes of the records, without the payloads that are shared.
    pub fn bytes_written(&self) -> usize {
        self.bytes.len()
    }

    pub fn messages(&self) -> u32 {
        self.messages
    }

    #[inline(always)]
    pub fn push_message(&mut self, forward: &Forward<'_>) {
        let Forward { message, way } = forward;
        let publication = message.publication;
        debug_assert!(way.plain || way.group.is_some(), "a message is for somebody there");
        let mut parts = if way.plain { PLAIN } else { 0 };
        parts |= if publication.reply.is_some() { REPLY } else { 0 };
        parts |= if way.group.is_some() { GROUP } else { 0 };
        parts |= if matches!(publication.payload, Payload::Shared(_)) { SHARED } else { 0 };
        let mut head = [0u8; HEAD_BYTES];
        head[..4].copy_from_slice(&[PUBLISH, parts, publication.flags.0, way.hops]);
        head[4..6].copy_from_slice(&publication.publisher.shard.to_le_bytes());
        head[6..8].copy_from_slice(&publication.account.0.to_le_bytes());
        head[8..12].copy_from_slice(&publication.publisher.connection.slot.to_le_bytes());
        head[12..16].copy_from_slice(&publication.publisher.connection.generation.to_le_bytes());
        head[16..24].copy_from_slice(&publication.timestamp_nanos.to_le_bytes());
        head[24..32].copy_from_slice(&publication.correlation_id.to_le_bytes());
        head[32..40].copy_from_slice(&way.subject_hash.to_le_bytes());
        head[40..44].copy_from_slice(&publication.header_bytes.to_le_bytes());
        head[44..46].copy_from_slice(&publication.deliveries.to_le_bytes());
        self.bytes.extend_from_slice(&head);
        self.put(message.subject.as_bytes());
        if let Some(reply) = publication.reply {
            self.put(reply);
        }
        if let Some(group) = way.group {
            self.put(group.as_bytes());
        }
        match publication.payload {
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

    /// Recounts what was pushed.
    pub fn check(&self) {
        let published = self.records().filter(|record| matches!(record, Read::Publish(_))).count();
        assert_eq!(self.messages as usize, published, "messages of a batch");
        let shared = self.shared.iter().map(Bytes::len).sum::<usize>();
        assert_eq!(self.payload_bytes, shared, "bytes that a batch shares");
    }

    fn push_number(&mut self, kind: u8, number: u64) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&number.to_le_bytes());
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

/// What the next record of a batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Message,
    Control,
}

/// A batch record by record.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    shared: std::slice::Iter<'a, Bytes>,
}

impl<'a> Reader<'a> {
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        debug_assert!(!self.rest.is_empty() || self.shared.len() == 0, "each shared payload has its record");
        let &kind = self.rest.first()?;
        Some(if kind == PUBLISH { Kind::Message } else { Kind::Control })
    }

    fn record(&mut self) -> Option<Read<'a>> {
        Some(match self.kind()? {
            Kind::Message => Read::Publish(self.message()),
            Kind::Control => Read::Control(self.control()),
        })
    }

    /// Everything but messages, off their way.
    #[cold]
    #[inline(never)]
    pub fn control(&mut self) -> Record<'a> {
        let kind = self.rest[0];
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
            PAUSE | RESUME | OUTRUNS => {
                self.take(1);
                let publisher = ConnectionId { slot: self.u32(), generation: self.u32() };
                match kind {
                    PAUSE => Record::Pause { publisher },
                    RESUME => Record::Resume { publisher },
                    _ => Record::Outruns { publisher },
                }
            }
            ANSWER => {
                self.take(1);
                let client = ConnectionId { slot: self.u32(), generation: self.u32() };
                let account = AccountId(self.u16());
                Record::Answer { client, account, reply: self.short(), words: self.short() }
            }
            OFFER => {
                self.take(1);
                Record::Offer { number: self.u64() }
            }
            OFFER_ANSWERED => {
                self.take(1);
                let number = self.u64();
                let answers = [OfferAnswer::Taken, OfferAnswer::Unwanted, OfferAnswer::Full];
                Record::OfferAnswered { number, answer: answers[usize::from(self.take(1)[0])] }
            }
            MEMBERS_CHANGED => {
                self.take(1);
                let account = AccountId(self.u16());
                Record::MembersChanged { account, group: self.text() }
            }
            FENCE => {
                self.take(1);
                Record::Fence
            }
            other => unreachable!("a mesh record of kind {other} was never written"),
        }
    }

    #[inline(always)]
    pub fn message(&mut self) -> MeshPublish<'a> {
        let head = self.take(HEAD_BYTES);
        let (parts, flags, hops) = (head[1], head[2], head[3]);
        debug_assert_eq!(parts & !(PLAIN | REPLY | GROUP | SHARED), 0, "only what is known was written");
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let subject = self.short();
        let reply = (parts & REPLY != 0).then(|| self.short());
        let group = (parts & GROUP != 0).then(|| self.text());
        let payload = if parts & SHARED != 0 {
            Payload::Shared(self.shared.next().expect("a shared payload for its record"))
        } else {
            let bytes = self.u32() as usize;
            Payload::Copied(self.take(bytes))
        };
        let connection = ConnectionId { slot: u32_at(8), generation: u32_at(12) };
        let publication = Publication {
            publisher: PublisherId { shard: u16_at(4), connection },
            account: AccountId(u16_at(6)),
            flags: Flags(flags),
            timestamp_nanos: u64_at(16),
            correlation_id: u64_at(24),
            subject: SubjectId::NONE,
            reply,
            foreign: false,
            marks: &Marks::PLAIN,
            header_bytes: u32_at(40),
            deliveries: u16_at(44),
            payload,
            backing: None,
        };
        let way = Way { subject_hash: u64_at(32), plain: parts & PLAIN != 0, group, hops };
        MeshPublish { subject, publication, way }
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
        let connection = ConnectionId { slot: 1, generation: 2 };
        let publish = |payload, reply, group: Option<&'static str>| MeshPublish {
            subject: b"a.b",
            publication: Publication {
                publisher: PublisherId { shard: 3, connection: ConnectionId { slot: 4, generation: 5 } },
                account: AccountId(300),
                flags: Flags(0x43),
                timestamp_nanos: 6,
                correlation_id: 7,
                reply,
                header_bytes: 70_000,
                deliveries: 500,
                payload,
                ..Publication::EMPTY
            },
            way: Way { subject_hash: 8, plain: group.is_none(), group, hops: 1 },
        };
        let interest = |sequence, count, pattern, group| Record::Interest {
            sequence,
            account: AccountId(7),
            count,
            pattern,
            group,
        };
        let records = [
            Read::Publish(publish(Payload::Copied(b"small"), None, None)),
            Read::Control(interest(9, 2, "a.*", Some("workers"))),
            Read::Publish(publish(Payload::Shared(&large), Some(b"inbox.1"), Some("workers"))),
            Read::Control(interest(10, 0, ">", None)),
            Read::Control(Record::InterestInForce { sequence: 11 }),
            Read::Control(Record::Pause { publisher: connection }),
            Read::Publish(publish(Payload::Copied(b""), None, None)),
            Read::Control(Record::Resume { publisher: connection }),
            Read::Control(Record::Answer {
                client: connection,
                account: AccountId(3),
                reply: b"in.1",
                words: b"done",
            }),
            Read::Control(Record::OfferAnswered { number: 12, answer: OfferAnswer::Taken }),
            Read::Control(Record::OfferAnswered { number: 13, answer: OfferAnswer::Unwanted }),
            Read::Control(Record::OfferAnswered { number: 14, answer: OfferAnswer::Full }),
            Read::Control(Record::Offer { number: 15 }),
            Read::Publish(publish(Payload::Copied(b"kept"), None, Some("workers"))),
            Read::Control(Record::MembersChanged { account: AccountId(3), group: "workers" }),
            Read::Control(Record::Fence),
        ];
        let mut batch = MeshBatch::default();
        for record in &records {
            match record {
                Read::Control(record) => batch.push(record),
                Read::Publish(publish) => {
                    let message = Message { subject: "a.b", publication: &publish.publication };
                    batch.push_message(&Forward { message: &message, way: publish.way });
                }
            }
        }
        assert_eq!(batch.records().collect::<Vec<_>>(), records);
        assert_eq!(batch.messages(), 4);
        assert!(batch.size_bytes() > 9000);
    }

    #[test]
    fn a_message_that_was_read_last_is_read_again() {
        let large = Bytes::from(vec![7; 9000]);
        let payloads = [
            Payload::Copied(b"small"),
            Payload::Shared(&large),
            Payload::Copied(b""),
            Payload::Shared(&large),
            Payload::Shared(&large),
        ];
        let mut batch = MeshBatch::default();
        batch.push(&Record::InterestInForce { sequence: 11 });
        for (payload, number) in payloads.into_iter().zip(0..) {
            let publication = Publication { payload, correlation_id: number, ..Publication::EMPTY };
            let message = Message { subject: "a.b", publication: &publication };
            let way = Way { subject_hash: 8, plain: true, group: None, hops: 1 };
            batch.push_message(&Forward { message: &message, way });
        }
        let mut reader = batch.reader();
        assert_eq!(reader.control(), Record::InterestInForce { sequence: 11 });
        while reader.kind().is_some() {
            let message = reader.message();
            let mut again = batch.again(&reader, message.subject.as_ptr());
            assert_eq!(again.message(), message);
            assert_eq!((again.rest, again.shared.len()), (reader.rest, reader.shared.len()));
        }
    }
}
