//! Subscriptions of this shard: made, counted down, removed, and announced to the other shards.

use crate::access::Permissions;
use crate::bus::Bus;
use crate::delivery::subscription::{SUBSCRIPTION_BYTES, Subscription};
use crate::identity::{AccountId, ConnectionId, ShardId};
use crate::ledger::{Kind, may_have};
use crate::limits::SlowConsumerPolicy;
use crate::mesh::batch::Record;
use crate::router::{Router, Target};
use crate::steps::{INTEREST_STEPS, NODE_STEPS, steps_of_text};
use crate::table::Key;
use crate::turn::Turn;
use crate::work::options::WorkOptions;
use ringbolt_protocol::subject::Pattern;
use std::rc::Rc;

/// What a new subscription is made of.
pub struct Wanted<'a> {
    pub account: AccountId,
    /// A native client's number for it, or 0.
    pub client_id: u32,
    /// A NATS client's id for it, or nothing.
    pub sid: &'a [u8],
    /// What each of its deliveries is checked by.
    pub filter: Option<Rc<Permissions>>,
    pub pattern: Pattern<'a>,
    pub group: Option<&'a str>,
    /// Deliveries are acknowledged.
    pub work: Option<WorkOptions>,
    /// What its client asked for when its outbox is full.
    pub policy: Option<SlowConsumerPolicy>,
}

impl Bus {
    /// Puts a subscription of a client in force, whose name for it is free. Returns its key.
    pub fn subscribe(&mut self, id: ConnectionId, wanted: Wanted<'_>, turn: &mut Turn<'_>) -> Option<Key> {
        let Wanted { account, client_id, sid, filter, pattern, group, work, policy } = wanted;
        let delivery = &mut self.outlets.delivery;
        let receiver = delivery.receivers.get_mut(id)?;
        debug_assert!(receiver.open, "a client that was told to close is not heard");
        debug_assert_eq!(sid.is_empty(), client_id > 0, "it has the name of one dialect");
        turn.charge(interest_steps(pattern));
        debug_assert!(work.is_none() || group.is_some(), "who acknowledges is a member of a group");
        let drops = policy.unwrap_or_else(|| self.outlets.limits.slow_consumer_for(pattern.as_str()));
        receiver.lenient |= drops.is_lenient();
        let exact = !pattern.has_wildcard();
        let key = delivery.subscriptions.insert(Subscription {
            slot: id.slot,
            account,
            client_id,
            line: Subscription::nats_line(pattern.as_str(), exact, sid),
            sid_bytes: sid.len() as u32,
            filter,
            exact,
            policy,
            work: None,
            made: delivery.subscriptions_made,
            delivered: 0,
            deliveries_max: u64::MAX,
            pattern: pattern.as_str().into(),
            group: group.map(Into::into),
            bytes: 0,
        });
        delivery.subscriptions_made += 1;
        receiver.subscriptions.insert((client_id, sid), key, self.outlets.seed);
        let mut member_bytes = 0;
        if let (Some(options), Some(name)) = (work, group) {
            let member = (key, id, sid.is_empty());
            let before = self.outlets.work.groups_bytes();
            let group = self.outlets.work.join(account, name, options, pattern.as_str(), member);
            member_bytes = self.outlets.work.groups_bytes() - before;
            turn.charge(self.outlets.work.membership_steps(group));
            self.outlets.delivery.subscriptions[key].work = Some(group);
        }
        let target = Target { subscription: key.index(), slot: id.slot };
        let router = &mut self.accounts.space(account).router;
        let before = router.bytes();
        let count = router.subscribe(pattern, group, target);
        let after = router.bytes();
        debug_assert!(count > 0, "it was added");
        self.patterns_take(before, after);
        let subscription = &mut self.outlets.delivery.subscriptions[key];
        let own_bytes = subscription.own_bytes();
        subscription.bytes = own_bytes + member_bytes + after.saturating_sub(before);
        let bytes = subscription.bytes;
        self.outlets.ledger.add(Kind::Interest, own_bytes);
        if let Some(receiver) = self.outlets.delivery.receivers.get_mut(id) {
            receiver.interest_bytes += bytes;
        }
        self.interest_changed(account, pattern, group, (count, count == 1), turn);
        self.hold_back_who_floods(id, turn);
        Some(key)
    }

    /// Ends a connection's subscription after so many deliveries since it began; at once, if it had them.
    pub fn end_subscription_after(&mut self, key: Key, deliveries_max: u64, turn: &mut Turn<'_>) {
        let Some(subscription) = self.outlets.delivery.subscriptions.get_mut(key) else { return };
        if deliveries_max > subscription.delivered {
            subscription.deliveries_max = deliveries_max;
        } else {
            self.remove_subscription(key, false, turn);
        }
    }

    /// `gone`: with its connection.
    pub fn remove_subscription(&mut self, key: Key, gone: bool, turn: &mut Turn<'_>) {
        let Some(subscription) = self.outlets.delivery.subscriptions.remove(key) else { return };
        if let Some(group) = subscription.work {
            turn.charge(self.outlets.work.membership_steps(group));
            self.outlets.work.leave(group, key, gone, turn);
        }
        debug_assert!(
            self.outlets.delivery.receivers.has(subscription.slot),
            "it ends before its connection"
        );
        if let Some(receiver) = self.outlets.delivery.receivers.at(subscription.slot) {
            receiver.subscriptions.remove((subscription.client_id, subscription.sid()), key);
            debug_assert!(receiver.interest_bytes >= subscription.bytes, "what it takes was counted");
            receiver.interest_bytes -= subscription.bytes;
        }
        self.outlets.ledger.subtract(Kind::Interest, subscription.own_bytes());
        let (account, pattern) = (subscription.account, subscription.pattern.as_bytes());
        let pattern = Pattern::relaxed(pattern).expect("validated when subscribed");
        turn.charge(interest_steps(pattern));
        if !self.accounts.has(account) {
            // All patterns of an account that went have gone with it, here and in the other shards.
            return;
        }
        let group = subscription.group.as_deref();
        let target = Target { subscription: key.index(), slot: subscription.slot };
        let router = &mut self.accounts.space(account).router;
        let before = router.bytes();
        let left = router.unsubscribe(pattern, group, target);
        let after = router.bytes();
        self.patterns_take(before, after);
        self.interest_changed(account, pattern, group, (left, left == 0), turn);
        if !gone && let Some(receiver) = self.outlets.delivery.receivers.at(subscription.slot) {
            let id = receiver.id;
            self.hold_back_who_floods(id, turn);
        }
    }

    /// Who changes interest faster than other shards take it over goes on once they have.
    fn hold_back_who_floods(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let mesh = &mut self.outlets.mesh;
        if mesh.is_flooded_with_interest() && mesh.interest.hold_back(id) {
            self.outlets.delivery.hold_back_and_end(id, turn);
        }
    }

    /// Ends subscriptions that had their last delivery: their ids are free for the client's next words.
    #[inline]
    pub fn remove_expired(&mut self, turn: &mut Turn<'_>) {
        while let Some(key) = self.outlets.delivery.next_expired() {
            self.remove_subscription(key, false, turn);
        }
    }

    /// Ends all subscriptions of a connection.
    pub fn remove_subscriptions_of(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.outlets.delivery.receivers.get(id) else { return };
        let keys = receiver.subscriptions.keys();
        keys.into_iter().for_each(|key| self.remove_subscription(key, true, turn));
        let left = self.outlets.delivery.receivers.get(id).map(|receiver| receiver.subscriptions.count());
        debug_assert_eq!(left, Some(0), "all of them ended");
    }

    /// A subscription is to end with its connection: others get what it holds, at most so many messages.
    /// Returns how many.
    pub fn give_back_of(&mut self, key: Key, most: usize, turn: &mut Turn<'_>) -> usize {
        let group = self.outlets.delivery.subscriptions.get(key).and_then(|subscription| subscription.work);
        group.map_or(0, |group| self.outlets.work.give_back(group, key, most, turn))
    }

    /// Another shard's interest, as it announced it.
    pub fn interest_of_shard(
        &mut self,
        shard: ShardId,
        account: AccountId,
        (pattern, group): (&str, Option<&str>),
        count: u32,
        turn: &mut Turn<'_>,
    ) {
        debug_assert_ne!(shard, self.outlets.own, "own interest is not announced here");
        let pattern = Pattern::relaxed(pattern.as_bytes()).expect("the other shard validated it");
        turn.charge(interest_steps(pattern));
        let Some(space) = self.accounts.space_of_other(account) else { return };
        let before = space.router.bytes();
        space.router.set_remote(pattern, group, shard, count);
        let after = space.router.bytes();
        space.invalidate(pattern);
        self.patterns_take(before, after);
        if let Some(group) = group.filter(|_| count > 0) {
            // What was kept for want of a member may have found one.
            self.outlets.work.members_elsewhere(account, group);
        }
    }

    /// Whether there is memory for another subscription of a client.
    pub fn has_room_for_interest(&self, id: ConnectionId, pattern: Pattern<'_>, sid: &[u8]) -> bool {
        let most = self.limits().interest_bytes_max();
        let own = self.outlets.delivery.receivers.get(id).map_or(0, |receiver| receiver.interest_bytes);
        let texts = 2 * pattern.as_str().len() + 2 * sid.len();
        let more = SUBSCRIPTION_BYTES + texts + Router::bytes_of(pattern);
        may_have(own, more, self.interest_taken(), most)
    }

    /// Memory of all subscriptions, patterns and groups.
    pub fn interest_taken(&self) -> usize {
        self.outlets.ledger.of(Kind::Interest) + self.outlets.work.groups_bytes()
    }

    /// Memory of all subscriptions and patterns, counted anew.
    pub fn interest_bytes(&self) -> usize {
        let subscriptions = self.outlets.delivery.subscriptions.iter();
        let own = subscriptions.map(|(_, subscription)| subscription.own_bytes()).sum::<usize>();
        own + self.accounts.spaces().map(|space| space.router.bytes()).sum::<usize>()
    }

    /// The patterns of an account take less memory, or more.
    fn patterns_take(&mut self, before: usize, after: usize) {
        let ledger = &mut self.outlets.ledger;
        ledger.add(Kind::Interest, after);
        ledger.subtract(Kind::Interest, before);
    }

    /// Plain interest is announced when it begins and ends, a queue group's whenever its size changes,
    /// because members are chosen in proportion.
    fn interest_changed(
        &mut self,
        account: AccountId,
        pattern: Pattern<'_>,
        group: Option<&str>,
        (count, turned): (u32, bool),
        turn: &mut Turn<'_>,
    ) {
        debug_assert!(turned || count > 0, "interest without subscriptions has ended");
        self.accounts.space(account).invalidate(pattern);
        if self.limits().shards == 1 || (group.is_none() && !turned) {
            return;
        }
        let sequence = self.outlets.mesh.interest.announce();
        let record = Record::Interest { sequence, account, count, pattern: pattern.as_str(), group };
        self.outlets.mesh.broadcast(&record, turn);
    }
}

/// Steps that it takes to begin or to end interest in a pattern: for each token of one with wildcards there
/// is a node.
fn interest_steps(pattern: Pattern<'_>) -> usize {
    let nodes = if pattern.has_wildcard() { pattern.tokens().count() } else { 0 };
    INTEREST_STEPS + nodes * NODE_STEPS + steps_of_text(pattern.as_str().len())
}
