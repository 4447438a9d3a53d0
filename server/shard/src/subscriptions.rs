//! Subscriptions of this shard: made, counted down, removed, and announced to the other shards.

use super::delivery::Subscription;
use super::mesh::Record;
use super::router::Stale;
use super::router::{Router, Target};
use super::table::Key;
use super::work::{WorkOptions, parse_group};
use super::{AccountId, ConnectionId, Effects, Shard, ShardId};
use crate::access::Permissions;
use crate::limits::SlowConsumerPolicy;
use hashbrown::HashMap;
use ringbolt_protocol::limits::QUEUE_GROUP_BYTES_MAX;
use ringbolt_protocol::native::control::RefusalCode;
use ringbolt_protocol::subject::{Pattern, Subject};
use std::rc::Rc;

/// What a new subscription is made of.
pub(super) struct Wanted<'a> {
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

impl Shard {
    /// A native client's subscription.
    pub(super) fn subscribe(
        &mut self,
        id: ConnectionId,
        client_id: u32,
        pattern: &str,
        group: Option<&str>,
        policy: Option<SlowConsumerPolicy>,
        effects: &mut Effects,
    ) -> Result<(), (RefusalCode, String)> {
        let pattern = Pattern::new(pattern.as_bytes())
            .map_err(|error| (RefusalCode::InvalidPattern, error.to_string()))?;
        let (group, work) = match group {
            Some(name) => {
                let parsed = parse_group(name);
                let (name, work) =
                    parsed.map_err(|error| (RefusalCode::InvalidPattern, error.to_string()))?;
                check_group_name(&name)?;
                (Some(name), work)
            }
            None => (None, None),
        };
        let Some(session) = self.delivery.sessions.get_mut(id) else { return Ok(()) };
        let limit = session.promise.subscriptions_max as usize;
        if client_id == 0 {
            let message = "subscriptions are numbered from 1".to_owned();
            return Err((RefusalCode::UnknownSubscription, message));
        }
        if session.subscription(client_id).is_some() {
            let message = format!("subscription {client_id} exists on this connection");
            return Err((RefusalCode::DuplicateSubscription, message));
        }
        if session.subscription_count() >= limit {
            let message = format!("a connection may hold {limit} subscriptions");
            return Err((RefusalCode::SubscriptionLimit, message));
        }
        let group = group.as_deref();
        let wanted = Wanted { client_id, sid: b"", filter: None, pattern, group, work, policy };
        let key = self.add_subscription(id, wanted, effects);
        let Some(session) = self.delivery.sessions.get_mut(id) else { return Ok(()) };
        let map = session
            .subscriptions
            .get_or_insert_with(|| Box::new(HashMap::with_hasher(self.hash_seed.table())));
        map.insert(client_id, key);
        Ok(())
    }

    /// Puts a subscription in force and returns its key.
    pub(super) fn add_subscription(
        &mut self,
        id: ConnectionId,
        wanted: Wanted<'_>,
        effects: &mut Effects,
    ) -> Key {
        let Wanted { client_id, sid, filter, pattern, group, work, policy } = wanted;
        let account = self.delivery.sessions.get(id).map(|session| session.account).unwrap_or_default();
        let exact = !pattern.has_wildcard();
        let key = self.delivery.subscriptions.insert(Subscription {
            slot: id.slot,
            account,
            client_id,
            line: Subscription::nats_line(pattern.as_str(), exact, sid),
            sid_bytes: sid.len() as u32,
            filter,
            exact,
            policy,
            work: None,
            delivered: 0,
            deliveries_max: u64::MAX,
            pattern: pattern.as_str().into(),
            group: group.map(Into::into),
        });
        if let (Some(options), Some(name)) = (work, group) {
            let member = (key, id, sid.is_empty());
            let group = self.delivery.book.join(account, name, options, pattern.as_str(), member);
            self.delivery.subscriptions[key].work = Some(group);
        }
        let target = Target { subscription: key.index(), slot: id.slot };
        let count = self.spaces[usize::from(account.0)].router.subscribe(pattern, group, target);
        self.interest_changed(account, pattern, group, (count, count == 1), effects);
        key
    }

    /// Ends a subscription now or after `deliveries_max` deliveries. Returns whether it exists.
    pub(super) fn unsubscribe(
        &mut self,
        id: ConnectionId,
        client_id: u32,
        deliveries_max: u64,
        effects: &mut Effects,
    ) -> bool {
        let Some(session) = self.delivery.sessions.get(id) else { return false };
        let Some(key) = session.subscription(client_id) else { return false };
        self.end_subscription_after(key, deliveries_max, effects);
        true
    }

    /// Ends a connection's subscription after so many deliveries since it began; now, if it had them.
    pub(super) fn end_subscription_after(&mut self, key: Key, deliveries_max: u64, effects: &mut Effects) {
        let Some(subscription) = self.delivery.subscriptions.get_mut(key) else { return };
        if deliveries_max > subscription.delivered {
            subscription.deliveries_max = deliveries_max;
        } else {
            self.remove_subscription(key, false, effects);
        }
    }

    /// `gone`: with its connection.
    pub(super) fn remove_subscription(&mut self, key: Key, gone: bool, effects: &mut Effects) {
        let Some(subscription) = self.delivery.subscriptions.remove(key) else { return };
        if let Some(group) = subscription.work {
            self.delivery.leave_work(group, key, gone, &mut self.random);
        }
        if let Some(session) = self.delivery.sessions.at(subscription.slot) {
            session.forget_subscription((subscription.client_id, subscription.sid()), key);
        }
        let (account, pattern) = (subscription.account, subscription.pattern.as_bytes());
        let pattern = Pattern::relaxed(pattern).expect("validated when subscribed");
        let group = subscription.group.as_deref();
        let target = Target { subscription: key.index(), slot: subscription.slot };
        let left = self.spaces[usize::from(account.0)].router.unsubscribe(pattern, group, target);
        self.interest_changed(account, pattern, group, (left, left == 0), effects);
    }

    /// Removes every trace of a connection from routing and interning.
    pub(super) fn forget_interest(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let partial = std::mem::take(&mut session.partial);
        let subscriptions = session.take_subscriptions();
        let interned = session.interned.take();
        self.delivery.pool.give(partial);
        subscriptions.into_iter().for_each(|key| self.remove_subscription(key, true, effects));
        self.delivery.book.connection_gone(id, self.delivery.now, &mut self.random);
        if let Some(interned) = interned {
            for subject in interned.subjects() {
                self.spaces[0].subjects.unpin(subject);
                self.delivery.interned_subjects -= 1;
            }
        }
    }

    /// Another shard's interest, as it announced it.
    pub(super) fn remote_interest(
        &mut self,
        shard: ShardId,
        account: AccountId,
        pattern: &str,
        group: Option<&str>,
        count: u32,
        effects: &mut Effects,
    ) {
        let pattern = Pattern::relaxed(pattern.as_bytes()).expect("the other shard validated it");
        let number = usize::from(account.0);
        if number >= self.access.account_numbers() {
            // Its shard took newer settings: they will come here too, and name it.
            self.make_spaces(number + 1);
        } else if self.access.account(account.0).is_none() {
            return;
        }
        self.spaces[number].router.set_remote(pattern, group, shard, count);
        self.invalidate(account, pattern);
        if group.is_some() && count > 0 {
            // What was kept for want of a member may have found one.
            self.hand_over(effects);
        }
    }

    /// Plain interest is announced when it begins and ends, a queue group's whenever its size changes,
    /// because members are chosen in proportion.
    fn interest_changed(
        &mut self,
        account: AccountId,
        pattern: Pattern<'_>,
        group: Option<&str>,
        (count, turned): (u32, bool),
        effects: &mut Effects,
    ) {
        self.invalidate(account, pattern);
        if self.delivery.limits.shards == 1 || (group.is_none() && !turned) {
            return;
        }
        let sequence = self.interest.announce();
        let record = Record::Interest { sequence, account, count, pattern: pattern.as_str(), group };
        self.delivery.broadcast(&record, effects);
    }

    fn invalidate(&mut self, account: AccountId, pattern: Pattern<'_>) {
        if Router::staleness(pattern) == Stale::One {
            // A pattern without wildcards is a subject.
            let subject = Subject::trusted(pattern.as_str());
            self.spaces[usize::from(account.0)].subjects.invalidate(subject);
        }
    }
}

fn check_group_name(name: &str) -> Result<(), (RefusalCode, String)> {
    let visible = name.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    if visible && (1..=QUEUE_GROUP_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    let message = format!("a queue group's name has 1 to {QUEUE_GROUP_BYTES_MAX} bytes and no blanks");
    Err((RefusalCode::InvalidPattern, message))
}
