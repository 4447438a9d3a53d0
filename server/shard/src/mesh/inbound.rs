//! What the other shards send: messages for this shard's subscriptions, their interest, their pauses.

use super::MeshBatch;
use super::batch::{Kind, Record};
use crate::bus::Bus;
use crate::identity::ShardId;
use crate::metrics::Counter;
use crate::outcome::{Answer, Outcome};
use crate::turn::Turn;

/// A shard that drains: it takes no more of what its clients publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fenced(pub ShardId);

impl Bus {
    /// Handles a batch. Returns the shard it came from if that said it drains.
    pub fn receive_batch(&mut self, from: ShardId, batch: &MeshBatch, turn: &mut Turn<'_>) -> Option<Fenced> {
        debug_assert_ne!(from, self.outlets.own, "a shard has no link to itself");
        debug_assert!(!batch.is_empty(), "a batch begins with a record");
        turn.counters.add(Counter::MeshMessagesIn, u64::from(batch.messages()));
        let (mut interest, mut fenced) = (None, None);
        let mut reader = batch.reader();
        while let Some(kind) = reader.kind() {
            if kind == Kind::Message {
                let publish = reader.message();
                let subject = publish.subject.as_ptr();
                let waits = !self.wide.is_empty() && self.wide.concerns(publish.publication.publisher);
                if waits || self.publish_from_shard(publish, false, turn) {
                    self.keep_of_shard(batch.again(&reader, subject), turn);
                }
                continue;
            }
            match reader.control() {
                Record::Fence => fenced = Some(Fenced(from)),
                Record::Offer { number } => self.offered(from, number, &mut reader, turn),
                record => self.control_record(from, &record, &mut interest, turn),
            }
        }
        if let Some(sequence) = interest {
            self.outlets.mesh.push(from, &Record::InterestInForce { sequence }, turn);
        }
        fenced
    }

    /// Everything but messages, off their way. `interest` is the last of the batch, to be confirmed.
    #[cold]
    #[inline(never)]
    fn control_record(
        &mut self,
        from: ShardId,
        record: &Record<'_>,
        interest: &mut Option<u64>,
        turn: &mut Turn<'_>,
    ) {
        match *record {
            Record::Fence | Record::Offer { .. } => unreachable!("the caller handles them"),
            Record::Interest { sequence, account, count, pattern, group } => {
                self.interest_of_shard(from, account, (pattern, group), count, turn);
                debug_assert!(interest.is_none_or(|before| before < sequence), "they are counted up");
                *interest = Some(sequence);
            }
            Record::InterestInForce { sequence } => {
                self.outlets.mesh.interest.confirm(from, sequence);
                self.release_answers(turn);
                for client in self.outlets.mesh.interest.let_go() {
                    self.outlets.delivery.let_go(client, turn);
                }
            }
            Record::OfferAnswered { number, answer } => {
                self.outlets.work.offer_answered(from, number, answer);
            }
            Record::MembersChanged { account, group } => self.outlets.work.members_elsewhere(account, group),
            Record::Pause { publisher } => self.outlets.delivery.hold_back(publisher, turn),
            Record::Resume { publisher } => self.outlets.delivery.let_go(publisher, turn),
            Record::Outruns { publisher } => self.outlets.mesh.slow_down(from, publisher, turn.now),
            Record::Answer { client, account, reply, words } => {
                let (reply, words) = (reply.into(), words.into());
                turn.outcomes.push(Outcome::Answer(Answer { client, account, reply, words }));
            }
        }
    }

    /// There is room on a link again.
    pub fn mesh_room(&mut self, shard: ShardId, turn: &mut Turn<'_>) {
        for publisher in self.outlets.mesh.room(shard, turn) {
            self.outlets.delivery.let_go(publisher, turn);
        }
    }
}
