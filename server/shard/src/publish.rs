//! The hot path: a publish is routed and delivered, here and to the shards that want it.

use super::delivery::{Delivery, Message, Run};
use super::identity::{AccountId, PublisherId};
use super::mesh::Record;
use super::mesh::batch::{MeshPayload, MeshPublish};
use super::metrics::Counter;
use super::random::Random;
use super::reserved;
use super::router::subjects::SubjectId;
use super::router::{GroupRoute, Route, Target};
use super::session::Stage;
use super::work::key_header;
use super::{ConnectionId, Effects, Nanos, Shard, ShardId};
use bytes::Bytes;
use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::headers;
use ringbolt_protocol::native::control::RefusalCode;
use ringbolt_protocol::native::header::FrameType;
use ringbolt_protocol::subject::Subject;
use std::hash::BuildHasher;

/// Shards a queue group's message may be passed on to when its member has just left.
pub(super) const HOPS_MAX: u8 = 4;

impl Shard {
    #[inline]
    pub(super) fn publish(
        &mut self,
        _now: Nanos,
        id: ConnectionId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) {
        self.delivery.counters.add(Counter::MessagesIn, 1);
        if let SubjectRef::Literal(text @ [b'$', ..]) = publish.subject
            && self.acknowledge(id, text, &publish.payload[publish.header_bytes as usize..], publish.reply)
        {
            return;
        }
        let subject_id = match self.acceptable(id, publish, publish.payload.len()) {
            Ok(subject_id) => subject_id,
            Err((code, message)) => {
                let refused = (FrameType::Publish, code, message);
                return self.refuse_publish(id, publish, refused, effects);
            }
        };
        let taken = if publish.header_bytes > 0 {
            self.route_with_headers(id, subject_id, publish, backing, effects)
        } else {
            self.route(id, subject_id, publish, backing, effects)
        };
        if !taken {
            self.no_responders(id, publish, effects);
        }
    }

    /// Delivers a publish that was accepted. Returns whether anyone took it.
    #[inline]
    pub(super) fn route(
        &mut self,
        id: ConnectionId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return false };
        session.traffic.messages_in += 1;
        session.traffic.bytes_in += publish.payload.len() as u64;
        let account = session.account;
        if publish.header_bytes > 0 || self.links.concern(account) || !self.requests.is_idle() {
            return self.route_with_care(id, account, subject_id, publish, backing, effects);
        }
        self.route_within(id, account, subject_id, publish, backing, effects)
    }

    /// Likewise, of a publish with headers, without those that the server alone writes. If nobody takes it,
    /// it may become a dead letter.
    #[cold]
    pub(super) fn route_with_headers(
        &mut self,
        id: ConnectionId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        let (block, rest) = publish.payload.split_at(publish.header_bytes as usize);
        let Some(mut payload) = headers::without_owned(block) else {
            return self.route(id, subject_id, publish, backing, effects)
                || self.bury_unroutable(id, subject_id, publish, effects);
        };
        let header_bytes = payload.len() as u32;
        payload.extend_from_slice(rest);
        let cleaned = Publish { header_bytes, payload: &payload, ..*publish };
        self.route(id, subject_id, &cleaned, None, effects)
            || self.bury_unroutable(id, subject_id, &cleaned, effects)
    }

    /// Delivers a publish where there are headers to heed, links between accounts, or requests to look after.
    #[cold]
    #[inline(never)]
    fn route_with_care(
        &mut self,
        id: ConnectionId,
        account: AccountId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        let late = if self.requests.is_idle() {
            None
        } else {
            self.late_for(account, subject_id, publish.correlation_id)
        };
        let mut taken = match late {
            None => self.route_within(id, account, subject_id, publish, backing, effects),
            Some(requester) => self.route_past(requester, id, account, subject_id, publish, effects),
        };
        if self.links.concern(account) {
            taken |= self.route_beyond(id, account, subject_id, publish, backing, effects);
        }
        if taken && publish.header_bytes > 0 {
            self.watch_request(id, account, publish);
        }
        taken
    }

    /// Delivers within the publisher's account.
    #[inline]
    fn route_within(
        &mut self,
        id: ConnectionId,
        account: AccountId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        if route.is_empty() {
            return false;
        }
        let shared = shared(publish.payload, backing, self.delivery.limits.shared_payload_bytes_min);
        let publisher = PublisherId { shard: self.id, connection: id };
        let message = message_of(publisher, account, (subject, subject_id), publish, shared.as_ref());
        // The reply subject of a native client was looked at when it came.
        let foreign =
            route.foreign || publish.reply.is_some() && self.delivery.is_foreign_of(id, publish.reply);
        let (delivery, random) = (&mut self.delivery, &mut self.random);
        let mut fan_out = FanOut { delivery, random, subject_hash, hops: 0, foreign };
        fan_out.everyone(route, &message, effects)
    }

    /// Delivers a reply that comes too late to everyone but its requester, who counts as one who took it.
    fn route_past(
        &mut self,
        requester: ConnectionId,
        id: ConnectionId,
        account: AccountId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> bool {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        let publisher = PublisherId { shard: self.id, connection: id };
        let message = message_of(publisher, account, (subject, subject_id), publish, None);
        let foreign = route.foreign || self.delivery.is_foreign(message.reply);
        let (delivery, random) = (&mut self.delivery, &mut self.random);
        let mut fan_out = FanOut { delivery, random, subject_hash, hops: 0, foreign };
        fan_out.plain_but(requester, route, &message, effects);
        fan_out.elsewhere(route, &message, effects);
        true
    }

    /// Delivers over links to other accounts.
    fn route_beyond(
        &mut self,
        id: ConnectionId,
        account: AccountId,
        subject_id: SubjectId,
        publish: &Publish<'_>,
        backing: Option<&Bytes>,
        effects: &mut Effects,
    ) -> bool {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, _, _) = space.subjects.route(subject_id, &space.router);
        let subject = subject.to_owned();
        let shared = shared(publish.payload, backing, self.delivery.limits.shared_payload_bytes_min);
        let publisher = PublisherId { shard: self.id, connection: id };
        let message = message_of(publisher, account, (&subject, subject_id), publish, shared.as_ref());
        self.route_links(&message, 0, effects)
    }

    /// The subject of a publish that may be routed.
    #[inline]
    pub(super) fn acceptable(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        payload_bytes: usize,
    ) -> Result<SubjectId, (RefusalCode, &'static str)> {
        let Some(session) = self.delivery.sessions.get_mut(id) else {
            return Err((RefusalCode::Internal, "the connection is gone"));
        };
        if session.stage == Stage::AwaitingHello {
            return Err((RefusalCode::NotReady, "the first frame must be HELLO"));
        }
        if self.drain.draining() {
            self.delivery.counters.add(Counter::DropsDraining, 1);
            return Err((RefusalCode::ShuttingDown, "the server is shutting down"));
        }
        if payload_bytes > session.promise.payload_bytes_max as usize {
            return Err((RefusalCode::PayloadTooLarge, "the payload exceeds payload_bytes_max"));
        }
        if let Some(reply) = publish.reply {
            if Subject::new(reply).is_err() {
                return Err((RefusalCode::InvalidSubject, "the reply subject is not a subject"));
            }
            if reserved::refuses_reply(reply) {
                return Err((RefusalCode::InvalidSubject, "the reply subject is not for answers"));
            }
        }
        match publish.subject {
            SubjectRef::Interned(number) => session
                .interned
                .as_ref()
                .and_then(|interned| interned.subject(number))
                .ok_or((RefusalCode::UnknownInternedSubject, "no INTERN gave this number a subject")),
            SubjectRef::Literal(text) => match Subject::new(text) {
                Ok(_) if reserved::refuses(text) => {
                    Err((RefusalCode::InvalidSubject, "the subject is not for clients to publish to"))
                }
                Ok(subject) => Ok(self.spaces[0].subjects.resolve(subject)),
                Err(_) => Err((RefusalCode::InvalidSubject, "the subject is not valid")),
            },
        }
    }

    #[cold]
    pub(super) fn refuse_publish(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        (frame_type, code, message): (FrameType, RefusalCode, &str),
        effects: &mut Effects,
    ) {
        if code == RefusalCode::NotReady {
            return self.violation(id, message, effects);
        }
        self.refuse(id, code, frame_type, (publish.correlation_id, 0), message, effects);
    }

    fn no_responders(&mut self, id: ConnectionId, publish: &Publish<'_>, effects: &mut Effects) {
        if publish.reply.is_some() {
            self.delivery.counters.add(Counter::NoResponders, 1);
            let message = "nobody is subscribed to the subject of this request";
            let (code, about) = (RefusalCode::NoResponders, (publish.correlation_id, 0));
            self.refuse(id, code, FrameType::Publish, about, message, effects);
        }
    }
}

/// A payload that is worth sharing between receivers: of the receive buffer it came in, or copied once.
#[inline]
fn shared(payload: &[u8], backing: Option<&Bytes>, bytes_min: usize) -> Option<Bytes> {
    (payload.len() >= bytes_min).then(|| match backing {
        Some(whole) => whole.slice_ref(payload),
        None => Bytes::copy_from_slice(payload),
    })
}

/// A publish as what is delivered of it.
#[inline]
pub(super) fn message_of<'m>(
    publisher: PublisherId,
    account: AccountId,
    (subject, subject_id): (&'m str, SubjectId),
    publish: &Publish<'m>,
    shared: Option<&'m Bytes>,
) -> Message<'m> {
    Message {
        publisher,
        account,
        flags: publish.flags.without_layout_bits(),
        timestamp_nanos: publish.timestamp_nanos,
        correlation_id: publish.correlation_id,
        subject,
        subject_id,
        reply: publish.reply,
        header_bytes: publish.header_bytes,
        deliveries: 0,
        payload: match shared {
            Some(bytes) => MeshPayload::Shared(bytes),
            None => MeshPayload::Copied(publish.payload),
        },
    }
}

/// One message meeting its route.
pub(super) struct FanOut<'s> {
    pub delivery: &'s mut Delivery,
    pub random: &'s mut Random,
    pub subject_hash: u64,
    pub hops: u8,
    /// The message is beyond what native clients are promised of subjects: they do not get it.
    pub foreign: bool,
}

impl FanOut<'_> {
    /// To every plain subscription, every shard that has some, and one member of every queue group.
    /// Returns whether anyone took it.
    #[inline]
    pub fn everyone(&mut self, route: &Route, message: &Message<'_>, effects: &mut Effects) -> bool {
        let taken = self.plain(route, message, effects);
        taken | self.elsewhere(route, message, effects)
    }

    /// To every shard that has plain subscriptions, and one member of every queue group.
    #[inline]
    fn elsewhere(&mut self, route: &Route, message: &Message<'_>, effects: &mut Effects) -> bool {
        let mut taken = false;
        for shard in route.remote.iter() {
            taken |= self.forward(shard, true, None, message, effects);
        }
        for group in &route.groups {
            taken |= self.member(group, message, effects);
        }
        taken
    }

    /// To the plain subscriptions of this shard, but not to those of that connection.
    #[cold]
    pub fn plain_but(
        &mut self,
        connection: ConnectionId,
        route: &Route,
        message: &Message<'_>,
        effects: &mut Effects,
    ) {
        for &target in route.plain.iter().filter(|target| target.slot != connection.slot) {
            if !self.spares(target) {
                self.delivery.deliver(target, message, effects);
            }
        }
    }

    /// Whether a subscription does not get the message because it is beyond what its client was promised.
    #[inline]
    fn spares(&mut self, target: Target) -> bool {
        self.foreign && self.spares_native(target)
    }

    #[cold]
    fn spares_native(&mut self, target: Target) -> bool {
        let spared = self.delivery.is_native(target);
        self.delivery.counters.add(Counter::DropsNativeLimits, u64::from(spared));
        spared
    }

    /// The messages of a run to every plain subscription and every shard that has some; the route has no
    /// queue groups.
    pub fn run(&mut self, route: &Route, run: &Run<'_>, common: &Message<'_>, effects: &mut Effects) {
        self.delivery.deliver_run(&route.plain, run, common, effects);
        for shard in route.remote.iter() {
            for message in run.each(common) {
                self.forward(shard, true, None, &message, effects);
            }
        }
    }

    /// To the plain subscriptions of this shard.
    #[inline]
    pub fn plain(&mut self, route: &Route, message: &Message<'_>, effects: &mut Effects) -> bool {
        if message.header_bytes > 0 && self.is_expired(message) {
            return true;
        }
        if self.foreign {
            return self.plain_foreign(route, message, effects);
        }
        let mut taken = false;
        for &target in &route.plain {
            taken |= self.delivery.deliver(target, message, effects);
        }
        taken
    }

    #[cold]
    fn plain_foreign(&mut self, route: &Route, message: &Message<'_>, effects: &mut Effects) -> bool {
        let mut taken = false;
        for &target in &route.plain {
            taken |= !self.spares(target) && self.delivery.deliver(target, message, effects);
        }
        taken
    }

    /// To one member of a queue group, wherever it is; every member is as likely.
    fn member(&mut self, group: &GroupRoute, message: &Message<'_>, effects: &mut Effects) -> bool {
        let mut home = None;
        if message.header_bytes > 0 {
            if self.is_expired_for(group, message) {
                return true;
            }
            home = self.home(group, message);
        }
        let (choice, shard) = match home {
            Some(home) => (0, (home != self.delivery.own).then_some(home)),
            None => {
                let choice = self.random.below(group.members());
                (choice, group.remote_shard(choice))
            }
        };
        match shard {
            Some(shard) => self.forward(shard, false, Some(&group.name), message, effects),
            None => self.local_member(group, choice, message, effects),
        }
    }

    /// Whether nobody wants a message any more; it is counted then.
    #[cold]
    fn is_expired(&mut self, message: &Message<'_>) -> bool {
        self.delivery.drops_expired(message)
    }

    /// Likewise, unless the group makes a dead letter of it.
    #[cold]
    pub fn is_expired_for(&mut self, group: &GroupRoute, message: &Message<'_>) -> bool {
        let acknowledges =
            |target: &Target| self.delivery.subscriptions.at(target.subscription).work.is_some();
        // What other shards do with it, they decide.
        !group.local.is_empty()
            && !group.local.iter().any(acknowledges)
            && self.delivery.drops_expired(message)
    }

    /// The shard a message must go to, wherever it is published: that of its key, or the one that
    /// remembers whether it was published before.
    #[cold]
    fn home(&mut self, group: &GroupRoute, message: &Message<'_>) -> Option<ShardId> {
        let block = &message.payload.bytes()[..message.header_bytes as usize];
        let key = key_header(&group.name).and_then(|header| headers::find(block, header));
        let id = key.or_else(|| headers::find(block, headers::MESSAGE_ID))?;
        let state = self.delivery.hash_seed.digest();
        Some(group.home(self.delivery.own, &state, state.hash_one(id)))
    }

    /// To a member of this shard, beginning with `choice`: one that cannot take it is passed over. If
    /// none can, another shard with members gets it.
    pub fn local_member(
        &mut self,
        group: &GroupRoute,
        choice: u32,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> bool {
        let members = group.local.len();
        for step in 0..members {
            let target = group.local[(choice as usize + step) % members];
            if let Some(work) = self.delivery.subscriptions.at(target.subscription).work {
                return self.delivery.work_off(work, message, effects);
            }
            if !self.spares(target) && self.delivery.deliver(target, message, effects) {
                return true;
            }
        }
        let remote: u32 = group.remote.iter().map(|&(_, count)| count).sum();
        if remote == 0 || self.hops >= HOPS_MAX {
            self.delivery.counters.add(Counter::DropsNoQueueMember, 1);
            return false;
        }
        self.hops += 1;
        let number = members as u32 + self.random.below(remote);
        let shard = group.remote_shard(number).expect("behind the local members are the remote ones");
        self.forward(shard, false, Some(&group.name), message, effects)
    }

    fn forward(
        &mut self,
        shard: ShardId,
        plain: bool,
        group: Option<&str>,
        message: &Message<'_>,
        effects: &mut Effects,
    ) -> bool {
        let record = Record::Publish(MeshPublish {
            account: message.account,
            flags: message.flags.0,
            plain,
            hops: self.hops,
            publisher_shard: message.publisher.shard,
            publisher: message.publisher.connection,
            timestamp_nanos: message.timestamp_nanos,
            correlation_id: message.correlation_id,
            subject_hash: self.subject_hash,
            subject: message.subject,
            reply: message.reply,
            header_bytes: message.header_bytes,
            deliveries: message.deliveries,
            group,
            payload: message.payload,
        });
        self.delivery.forward(shard, &record, effects)
    }
}
