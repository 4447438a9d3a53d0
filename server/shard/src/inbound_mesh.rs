//! What the other shards send: messages for this shard's subscriptions, their interest, their pauses.

use super::delivery::Message;
use super::identity::PublisherId;
use super::mesh::{MeshBatch, MeshPublish, Record};
use super::metrics::Counter;
use super::publish::FanOut;
use super::{Effects, Nanos, Shard, ShardId};
use ringbolt_protocol::command::Flags;
use ringbolt_protocol::subject::Subject;

impl Shard {
    pub(super) fn receive_batch(
        &mut self,
        _now: Nanos,
        from: ShardId,
        batch: &MeshBatch,
        effects: &mut Effects,
    ) {
        self.delivery.counters.add(Counter::MeshMessagesIn, u64::from(batch.messages()));
        let mut interest = None;
        for record in batch.records() {
            match record {
                Record::Publish(publish) => self.mesh_publish(&publish, effects),
                other => self.control_record(from, &other, &mut interest, effects),
            }
        }
        if let Some(sequence) = interest {
            self.delivery.push(from, &Record::InterestInForce { sequence }, effects);
        }
    }

    /// Everything but messages, off their way. `interest` is the last of the batch, to be confirmed.
    #[cold]
    #[inline(never)]
    fn control_record(
        &mut self,
        from: ShardId,
        record: &Record<'_>,
        interest: &mut Option<u64>,
        effects: &mut Effects,
    ) {
        match *record {
            Record::Publish(_) => unreachable!("messages have a way of their own"),
            Record::Interest { sequence, account, count, pattern, group } => {
                self.remote_interest(from, account, pattern, group, count, effects);
                *interest = Some(sequence);
            }
            Record::InterestInForce { sequence } => {
                self.interest.confirm(from, sequence);
                while let Some((id, answer)) = self.interest.release() {
                    self.answer(id, answer, effects);
                }
            }
            Record::Pause { publisher } => self.delivery.hold_back(publisher, effects),
            Record::Resume { publisher } => self.delivery.let_go(publisher, effects),
            Record::Answer { client, account, reply, words } => {
                self.answer_at(client, account, reply, words, effects);
            }
            Record::Fence => self.fence(from, effects),
        }
    }

    pub(super) fn mesh_room(&mut self, shard: ShardId, effects: &mut Effects) {
        let link = &mut self.delivery.links[usize::from(shard)];
        if link.room() {
            effects.mesh.push(shard);
        }
        if !link.paused.is_empty() && link.pending_bytes() <= self.delivery.limits.mesh_pending_bytes_max / 2
        {
            for publisher in std::mem::take(&mut link.paused) {
                self.delivery.let_go(publisher, effects);
            }
        }
    }

    #[inline]
    fn mesh_publish(&mut self, publish: &MeshPublish<'_>, effects: &mut Effects) {
        let late = if self.requests.concern(publish.account, publish.subject) {
            self.late_for_text(publish.account, publish.subject, publish.correlation_id)
        } else {
            None
        };
        // Without a space, the settings that name its account have not come: nobody here can be in it.
        let Some(space) = self.spaces.get_mut(usize::from(publish.account.0)) else { return };
        let subject = Subject::trusted(publish.subject);
        let subject_id = space.subjects.resolve_hashed(subject, publish.subject_hash);
        let (subject, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        let message = Message {
            publisher: PublisherId { shard: publish.publisher_shard, connection: publish.publisher },
            account: publish.account,
            flags: Flags(publish.flags),
            timestamp_nanos: publish.timestamp_nanos,
            correlation_id: publish.correlation_id,
            subject,
            subject_id,
            reply: publish.reply,
            header_bytes: publish.header_bytes,
            deliveries: publish.deliveries,
            payload: publish.payload,
        };
        let foreign = route.foreign || self.delivery.is_foreign(publish.reply);
        let mut fan_out = FanOut {
            delivery: &mut self.delivery,
            random: &mut self.random,
            subject_hash,
            hops: publish.hops,
            foreign,
        };
        match late {
            Some(requester) if publish.plain => fan_out.plain_but(requester, route, &message, effects),
            None if publish.plain => drop(fan_out.plain(route, &message, effects)),
            _ => {}
        }
        let Some(name) = publish.group else { return };
        match route.groups.iter().find(|group| &*group.name == name) {
            Some(group) if message.header_bytes > 0 && fan_out.is_expired_for(group, &message) => {}
            Some(group) if !group.local.is_empty() => {
                let choice = fan_out.random.below(group.local.len() as u32);
                fan_out.local_member(group, choice, &message, effects);
            }
            Some(group) => {
                fan_out.local_member(group, 0, &message, effects);
            }
            None => self.delivery.counters.add(Counter::DropsNoQueueMember, 1),
        }
    }
}
