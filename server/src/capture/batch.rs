//! Batches between shards as a capture holds them: what the layout in memory is does not matter to a file.

use super::payloads::{LEFT_OUT_BYTES_MAX, Payloads, is_understood};
use ringbolt_protocol::command::Flags;
use ringbolt_shard::mesh::MeshBatch;
use ringbolt_shard::mesh::batch::{Forward, MeshPublish, OfferAnswer, Read, Record, Way};
use ringbolt_shard::message::{self, Message, Publication};
use ringbolt_shard::{AccountId, ConnectionId, PublisherId};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

#[derive(Serialize, Deserialize)]
enum Item<'a> {
    Publish(
        Head,
        &'a str,
        #[serde(borrow)] Option<&'a Bytes>,
        #[serde(borrow)] Option<&'a str>,
        #[serde(borrow)] Payload<'a>,
    ),
    Interest(u64, AccountId, u32, &'a str, #[serde(borrow)] Option<&'a str>),
    InterestInForce(u64),
    Pause(ConnectionId),
    Resume(ConnectionId),
    Outruns(ConnectionId),
    Answer(ConnectionId, AccountId, #[serde(borrow)] &'a Bytes, #[serde(borrow)] &'a Bytes),
    Fence,
    /// The next item is the message.
    Offer(u64),
    OfferAnswered(u64, OfferAnswer),
    MembersChanged(AccountId, &'a str),
}

/// What a message has of fixed length.
#[derive(Serialize, Deserialize)]
struct Head {
    account: AccountId,
    flags: u8,
    plain: bool,
    hops: u8,
    publisher_shard: u16,
    publisher: ConnectionId,
    timestamp_nanos: u64,
    correlation_id: u64,
    subject_hash: u64,
    header_bytes: u32,
    deliveries: u16,
}

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    /// Headers, and the payload if it is kept.
    #[serde(borrow)]
    kept: &'a Bytes,
    omitted: u32,
    shared: bool,
}

/// Appends a batch.
pub fn write(batch: &MeshBatch, payloads: Payloads, into: &mut Vec<u8>) {
    for record in batch.records() {
        let record = match record {
            Read::Publish(publish) => {
                write_publish(&publish, payloads, into);
                continue;
            }
            Read::Control(record) => record,
        };
        let item = match record {
            Record::Interest { sequence, account, count, pattern, group } => {
                Item::Interest(sequence, account, count, pattern, group)
            }
            Record::InterestInForce { sequence } => Item::InterestInForce(sequence),
            Record::Pause { publisher } => Item::Pause(publisher),
            Record::Resume { publisher } => Item::Resume(publisher),
            Record::Outruns { publisher } => Item::Outruns(publisher),
            Record::Answer { client, account, reply, words } => {
                Item::Answer(client, account, Bytes::new(reply), Bytes::new(words))
            }
            Record::Fence => Item::Fence,
            Record::Offer { number } => Item::Offer(number),
            Record::OfferAnswered { number, answer } => Item::OfferAnswered(number, answer),
            Record::MembersChanged { account, group } => Item::MembersChanged(account, group),
        };
        write_item(&item, into);
    }
}

fn write_publish(publish: &MeshPublish<'_>, payloads: Payloads, into: &mut Vec<u8>) {
    let MeshPublish { subject, publication, way } = publish;
    let subject = std::str::from_utf8(subject).expect("a shard sends what it has as text");
    let head = Head {
        account: publication.account,
        flags: publication.flags.0,
        plain: way.plain,
        hops: way.hops,
        publisher_shard: publication.publisher.shard,
        publisher: publication.publisher.connection,
        timestamp_nanos: publication.timestamp_nanos,
        correlation_id: publication.correlation_id,
        subject_hash: way.subject_hash,
        header_bytes: publication.header_bytes,
        deliveries: publication.deliveries,
    };
    let shared = matches!(publication.payload, message::Payload::Shared(_));
    let whole = publication.payload.bytes();
    let keeps = payloads == Payloads::Kept || is_understood(subject.as_bytes());
    let kept = if keeps { whole } else { &whole[..publication.header_bytes as usize] };
    let omitted = (whole.len() - kept.len()) as u32;
    let payload = Payload { kept: Bytes::new(kept), omitted, shared };
    let reply = publication.reply.map(Bytes::new);
    write_item(&Item::Publish(head, subject, reply, way.group, payload), into);
}

fn write_item(item: &Item<'_>, into: &mut Vec<u8>) {
    *into = postcard::to_extend(item, std::mem::take(into)).expect("a vector takes everything");
}

/// The batch that was written. `None`: these are not its bytes.
pub fn read(mut bytes: &[u8]) -> Option<MeshBatch> {
    let mut batch = MeshBatch::default();
    let (mut left_out, mut offered) = (0, false);
    while !bytes.is_empty() {
        let (item, rest) = postcard::take_from_bytes::<Item<'_>>(bytes).ok()?;
        if let Item::Publish(_, _, _, _, payload) = &item {
            left_out += payload.omitted as usize;
            if left_out > LEFT_OUT_BYTES_MAX {
                return None;
            }
        } else if offered {
            return None;
        }
        offered = matches!(item, Item::Offer(_));
        push(&item, &mut batch);
        bytes = rest;
    }
    (!offered).then_some(batch)
}

fn push(item: &Item<'_>, batch: &mut MeshBatch) {
    let record = match *item {
        Item::Publish(ref head, subject, reply, group, ref payload) => {
            let mut whole = payload.kept.to_vec();
            whole.resize(whole.len() + payload.omitted as usize, 0);
            let whole = bytes::Bytes::from(whole);
            let publication = Publication {
                publisher: PublisherId { shard: head.publisher_shard, connection: head.publisher },
                account: head.account,
                flags: Flags(head.flags),
                timestamp_nanos: head.timestamp_nanos,
                correlation_id: head.correlation_id,
                reply: reply.map(|reply| &**reply),
                header_bytes: head.header_bytes,
                deliveries: head.deliveries,
                payload: if payload.shared {
                    message::Payload::Shared(&whole)
                } else {
                    message::Payload::Copied(&whole)
                },
                ..Publication::EMPTY
            };
            let message = Message { subject, publication: &publication };
            let &Head { subject_hash, plain, hops, .. } = head;
            let way = Way { subject_hash, plain, group, hops };
            batch.push_message(&Forward { message: &message, way });
            return;
        }
        Item::Interest(sequence, account, count, pattern, group) => {
            Record::Interest { sequence, account, count, pattern, group }
        }
        Item::InterestInForce(sequence) => Record::InterestInForce { sequence },
        Item::Pause(publisher) => Record::Pause { publisher },
        Item::Resume(publisher) => Record::Resume { publisher },
        Item::Outruns(publisher) => Record::Outruns { publisher },
        Item::Answer(client, account, reply, words) => Record::Answer { client, account, reply, words },
        Item::Fence => Record::Fence,
        Item::Offer(number) => Record::Offer { number },
        Item::OfferAnswered(number, answer) => Record::OfferAnswered { number, answer },
        Item::MembersChanged(account, group) => Record::MembersChanged { account, group },
    };
    batch.push(&record);
}
