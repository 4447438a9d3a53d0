//! One message meeting its route: those who want it here, on other shards, and one of each queue group.

use super::run::Run;
use super::{Delivery, write_native, write_nats};
use crate::event::Dialect;
use crate::identity::{ConnectionId, ShardId};
use crate::mesh::Forwarded;
use crate::mesh::batch::{Forward, Way};
use crate::message::{Message, Publication};
use crate::metrics::Counter;
use crate::outlets::Outlets;
use crate::router::{GroupRoute, Route, Target};
use crate::steps::{MEMBER_STEPS, MEMBERS_A_STEP, TIMED_STEPS};
use crate::turn::Turn;
use crate::work::options::key_header;
use ringbolt_protocol::headers;
use std::hash::BuildHasher;

/// Shards a queue group's message may be passed on to when its member has just left.
const HOPS_MAX: u8 = 4;

/// Members that are asked in one go whether they take a kept message.
const PLAIN_MEMBERS_MAX: usize = 256;

/// What became of a kept message that members who do not acknowledge were asked to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlainMember {
    Took,
    /// One that may have it has no room, or not all were asked.
    Later,
    Nobody,
}

/// See the module.
pub struct FanOut<'s> {
    pub outlets: &'s mut Outlets,
    pub subject_hash: u64,
    pub hops: u8,
    /// The message is beyond what native clients are promised of subjects: they do not get it.
    pub foreign: bool,
}

impl FanOut<'_> {
    /// To every plain subscription, every shard that has some, and one member of every queue group.
    /// Returns whether anyone took it.
    #[inline]
    pub fn everyone(&mut self, route: &Route, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let taken = self.plain(route, message, turn);
        taken | self.elsewhere(route, message, turn)
    }

    /// Likewise, but not to the subscriptions of that connection.
    #[cold]
    pub fn everyone_but(
        &mut self,
        connection: ConnectionId,
        route: &Route,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) {
        self.plain_but(connection, route, message, turn);
        self.elsewhere(route, message, turn);
    }

    /// To every shard that has plain subscriptions, and one member of every queue group.
    #[inline]
    fn elsewhere(&mut self, route: &Route, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let mut taken = self.other_shards(route, message, turn);
        for group in &route.groups {
            taken |= self.member(group, message, turn);
        }
        taken
    }

    /// To every shard that has plain subscriptions.
    #[inline]
    pub fn other_shards(&mut self, route: &Route, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let mut taken = false;
        for shard in route.remote.iter() {
            taken |= self.forward(shard, true, None, message, turn);
        }
        taken
    }

    /// To those of `targets` that are there yet, of the first so many subscriptions that were made here, but
    /// not to those of that connection.
    #[cold]
    pub fn plain_as_of(
        &mut self,
        targets: &[Target],
        (made, except): (u64, Option<ConnectionId>),
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) {
        for &target in targets {
            let subscription = self.outlets.delivery.subscriptions.now_at(target.subscription);
            let is_there = subscription
                .is_some_and(|subscription| subscription.made < made && subscription.slot == target.slot);
            let is_spared = except.is_some_and(|connection| connection.slot == target.slot);
            if is_there && !is_spared && !self.spares(target, turn) {
                self.outlets.delivery.deliver(target, message, turn);
            }
        }
    }

    /// To the plain subscriptions of this shard, but not to those of that connection.
    #[cold]
    pub fn plain_but(
        &mut self,
        connection: ConnectionId,
        route: &Route,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) {
        for &target in route.plain.iter().filter(|target| target.slot != connection.slot) {
            if !self.spares(target, turn) {
                self.outlets.delivery.deliver(target, message, turn);
            }
        }
    }

    /// Whether a subscription does not get the message because it is beyond what its client was promised.
    #[inline]
    fn spares(&mut self, target: Target, turn: &mut Turn<'_>) -> bool {
        self.foreign && self.spares_native(target, turn)
    }

    #[cold]
    fn spares_native(&mut self, target: Target, turn: &mut Turn<'_>) -> bool {
        let spared = self.outlets.delivery.is_native(target);
        turn.counters.add(Counter::DropsNativeLimits, u64::from(spared));
        spared
    }

    /// The messages of a run to every plain subscription and every shard that has some; the route has no
    /// queue groups.
    pub fn run(&mut self, route: &Route, run: &Run<'_>, common: &Message<'_>, turn: &mut Turn<'_>) {
        debug_assert!(route.by_receiver && route.groups.is_empty(), "nobody's order depends on another's");
        self.outlets.delivery.deliver_run(&route.plain, run, common, turn);
        for shard in route.remote.iter() {
            if self.outlets.mesh.is_slowed(shard, common.publication.publisher, turn.now) {
                self.outlets.delivery.hold_back_briefly(
                    common.publication.publisher,
                    run.payload_bytes,
                    turn,
                );
            }
            run.each(common.publication, |publication| {
                self.forward(shard, true, None, &Message { publication, ..*common }, turn);
            });
        }
    }

    /// To the plain subscriptions of this shard.
    #[inline]
    pub fn plain(&mut self, route: &Route, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        if message.publication.marks.is_past(turn.now) && !route.plain.is_empty() {
            turn.counters.add(Counter::DropsExpired, 1);
            return true;
        }
        if self.foreign {
            return self.plain_foreign(route, message, turn);
        }
        let mut taken = false;
        for &target in &route.plain {
            taken |= self.outlets.delivery.deliver(target, message, turn);
        }
        taken
    }

    #[cold]
    fn plain_foreign(&mut self, route: &Route, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let mut taken = false;
        for &target in &route.plain {
            taken |= !self.spares(target, turn) && self.outlets.delivery.deliver(target, message, turn);
        }
        taken
    }

    /// To one member of a queue group, wherever it is; every member is as likely.
    pub fn member(&mut self, group: &GroupRoute, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        turn.charge(MEMBER_STEPS);
        let mut home = None;
        if message.publication.header_bytes > 0 {
            if self.drops_expired_for(group, message.publication, turn) {
                return true;
            }
            home = self.home(group, message.publication);
        }
        let (choice, shard) = match home {
            Some(home) => (0, (home != self.outlets.own).then_some(home)),
            None => {
                let choice = turn.random.below(group.members());
                (choice, group.remote_shard(choice))
            }
        };
        match shard {
            Some(shard) => self.forward(shard, false, Some(&group.name), message, turn),
            None => self.local_member(group, choice, message, turn),
        }
    }

    /// A message that another shard chose a member of this one for.
    pub fn chosen(&mut self, group: &GroupRoute, message: &Message<'_>, turn: &mut Turn<'_>) {
        let late =
            message.publication.header_bytes > 0 && self.drops_expired_for(group, message.publication, turn);
        if !late {
            let members = group.local.len() as u32;
            let choice = if members > 0 { turn.random.below(members) } else { 0 };
            self.local_member(group, choice, message, turn);
        }
    }

    /// Whether nobody wants a message any more, unless the group makes a dead letter of it; counts it.
    #[cold]
    fn drops_expired_for(
        &mut self,
        group: &GroupRoute,
        publication: &Publication<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let is_past = publication.marks.is_past(turn.now);
        turn.charge(if is_past { group.local.len() / MEMBERS_A_STEP } else { 0 });
        let subscriptions = &self.outlets.delivery.subscriptions;
        let acknowledges = |target: &Target| subscriptions.at(target.subscription).work.is_some();
        // What other shards do with it, they decide.
        let drops = is_past && !group.local.is_empty() && !group.local.iter().any(acknowledges);
        turn.counters.add(Counter::DropsExpired, u64::from(drops));
        drops
    }

    /// The shard a message must go to, wherever it is published: that of its key, or the one that
    /// remembers whether it was published before.
    #[cold]
    pub fn home(&self, group: &GroupRoute, publication: &Publication<'_>) -> Option<ShardId> {
        let (block, _) = publication.parts();
        let key = key_header(&group.name).and_then(|header| headers::find(block, header));
        let id = key.or(publication.marks.message_id)?;
        let state = self.outlets.seed.digest();
        Some(group.home(self.outlets.own, &state, state.hash_one(id)))
    }

    /// To a member of this shard, beginning with `choice`: one that cannot take it is passed over. If
    /// none can, another shard with members gets it.
    pub fn local_member(
        &mut self,
        group: &GroupRoute,
        choice: u32,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let members = group.local.len();
        debug_assert!(members == 0 || (choice as usize) < members, "the choice is one of these");
        debug_assert!(self.hops <= HOPS_MAX, "it was passed on so often at most");
        let mut refused = None;
        for step in 0..members {
            let target = group.local[(choice as usize + step) % members];
            if let Some(work) = self.outlets.delivery.subscriptions.at(target.subscription).work {
                if refused != Some(work) && self.outlets.has_member_for(work, message, self.foreign, turn) {
                    return self.outlets.work_off(work, message, turn);
                }
                refused = Some(work);
                continue;
            }
            if !self.spares(target, turn) && self.outlets.delivery.deliver(target, message, turn) {
                turn.charge(step / MEMBERS_A_STEP);
                return true;
            }
        }
        turn.charge(members / MEMBERS_A_STEP);
        self.pass_on(group, message, turn)
    }

    /// A kept message to a member of this shard that does not acknowledge, if one has room for it. At most so
    /// many are looked at.
    #[cold]
    pub fn any_plain_member(
        &mut self,
        group: &GroupRoute,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) -> PlainMember {
        let members = group.local.len();
        turn.charge(members.min(PLAIN_MEMBERS_MAX) / MEMBERS_A_STEP);
        let first = if members > 0 { turn.random.below(members as u32) as usize } else { 0 };
        let mut found = if members > PLAIN_MEMBERS_MAX { PlainMember::Later } else { PlainMember::Nobody };
        for step in 0..members.min(PLAIN_MEMBERS_MAX) {
            let target = group.local[(first + step) % members];
            let delivery = &mut self.outlets.delivery;
            if delivery.subscriptions.at(target.subscription).work.is_some()
                || self.foreign && delivery.is_native(target)
                || !delivery.target_may_have(target, message)
            {
                continue;
            }
            if delivery.has_room(target, message.publication.payload.bytes().len())
                && delivery.deliver(target, message, turn)
            {
                return PlainMember::Took;
            }
            found = PlainMember::Later;
        }
        found
    }

    /// To a member of another shard, if there is one.
    fn pass_on(&mut self, group: &GroupRoute, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let members = group.local.len();
        let remote: u32 = group.remote.iter().map(|&(_, count)| count).sum();
        debug_assert_eq!(remote + members as u32, group.members(), "every member is here or there");
        if remote == 0 || self.hops >= HOPS_MAX {
            turn.counters.add(Counter::DropsNoQueueMember, 1);
            return false;
        }
        let number = members as u32 + turn.random.below(remote);
        let shard = group.remote_shard(number).expect("the remote members come after the local ones");
        let on = &mut FanOut { outlets: self.outlets, hops: self.hops + 1, ..*self };
        on.forward(shard, false, Some(&group.name), message, turn)
    }

    fn forward(
        &mut self,
        shard: ShardId,
        plain: bool,
        group: Option<&str>,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let way = Way { subject_hash: self.subject_hash, plain, group, hops: self.hops };
        match self.outlets.mesh.forward(shard, &Forward { message, way }, turn) {
            Forwarded::Taken => true,
            forwarded => self.heed_forwarded(forwarded, message.publication, turn),
        }
    }

    /// What a link that is full, or whose shard is outrun, means for the publisher. Returns whether the
    /// message was taken.
    #[cold]
    #[inline(never)]
    fn heed_forwarded(
        &mut self,
        forwarded: Forwarded,
        publication: &Publication<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let delivery = &mut self.outlets.delivery;
        match forwarded {
            Forwarded::Taken => {}
            Forwarded::TakenHoldingBack(publisher) => delivery.hold_back_and_end(publisher, turn),
            Forwarded::TakenOutrunning => {
                let bytes = publication.payload.bytes().len();
                delivery.hold_back_briefly(publication.publisher, bytes, turn);
            }
            Forwarded::Dropped => return false,
            Forwarded::DroppedHoldingBack(publisher) => {
                delivery.hold_back_and_end(publisher, turn);
                return false;
            }
        }
        true
    }
}

impl Delivery {
    /// Puts one message into one outbox. Returns whether it was taken.
    #[inline]
    pub fn deliver(&mut self, target: Target, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        self.deliver_within(self.outbox_room, target, message, turn)
    }

    /// Likewise; an outbox that would hold more than `room` is looked at twice.
    #[inline]
    pub fn deliver_within(
        &mut self,
        room: usize,
        target: Target,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let publication = message.publication;
        let subscription = self.subscriptions.at_mut(target.subscription);
        let Some(receiver) = self.receivers.at(target.slot) else { return false };
        debug_assert_eq!(subscription.slot, target.slot, "a target names the slot of its subscription");
        if !receiver.open || subscription.delivered >= subscription.deliveries_max {
            return false;
        }
        if receiver.watch.is_some() && receiver.declines(publication.publisher, self.own) {
            return false;
        }
        if subscription.filter.is_some() && !subscription.may_have(message.subject) {
            return false;
        }
        let payload_bytes = publication.payload.bytes().len();
        if receiver.outbox.queued_bytes() + payload_bytes > room {
            let (slot, policy) = (target.slot, subscription.policy);
            if !self.admit_over_limit(slot, policy, message, turn) {
                return false;
            }
        }
        let subscription = self.subscriptions.at_mut(target.subscription);
        let Some(receiver) = self.receivers.at(target.slot) else { return false };
        let deadline = publication.marks.deadline.filter(|_| receiver.outbox.begin_timed());
        let (limits, pool) = (&self.limits, &mut self.pool);
        let written = if subscription.is_native() {
            write_native::write_frame(receiver, subscription, message, limits.outbox_segment_bytes, pool)
        } else {
            write_nats::write_line(receiver, subscription, message, limits.outbox_segment_bytes, pool)
        };
        debug_assert!(written > payload_bytes || receiver.outbox.dialect() == Dialect::Nats);
        self.outbox_bytes += written;
        let tell = match deadline {
            None => receiver.outbox.wrote_in(publication.lane(), written),
            Some(deadline) => {
                turn.charge(TIMED_STEPS);
                let stream = (publication.publisher, self.seed.digest().hash_one(message.subject));
                let before = receiver.outbox.held_bytes();
                let tell = receiver.outbox.wrote_timed(publication.lane(), written, deadline, stream, pool);
                self.outbox_bytes += receiver.outbox.held_bytes() - before - written;
                tell
            }
        };
        if tell {
            turn.effects.send.push(receiver.id);
        }
        if let Some(watch) = &mut receiver.watch
            && let Some(replies) = &mut watch.replies
            && let Some(reply) = publication.reply
        {
            replies.expect(turn.now, reply);
        }
        receiver.messages_out += 1;
        receiver.bytes_out += payload_bytes as u64;
        subscription.delivered += 1;
        debug_assert!(subscription.delivered <= subscription.deliveries_max, "the last one ends it");
        if subscription.delivered == subscription.deliveries_max {
            self.expired.push(self.subscriptions.key_at(target.subscription));
        }
        turn.counters.add(Counter::MessagesOut, 1);
        true
    }
}
