//! Subscriptions of this shard: made, counted down, removed, and announced to the other shards.

use super::delivery::Subscription;
use super::mesh::Record;
use super::router::Stale;
use super::router::{Router, Target};
use super::{ConnectionId, Effects, Shard};
use crate::limits::SlowConsumerPolicy;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::limits::QUEUE_GROUP_BYTES_MAX;
use ringbolt_protocol::native::control::RefusalCode;
use ringbolt_protocol::subject::{Pattern, Subject};

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        id: ConnectionId,
        client_id: u32,
        pattern: &str,
        group: Option<&str>,
        policy: SlowConsumerPolicy,
        effects: &mut Effects,
    ) -> Result<(), (RefusalCode, String)> {
        let pattern = Pattern::new(pattern.as_bytes())
            .map_err(|error| (RefusalCode::InvalidPattern, error.to_string()))?;
        if let Some(name) = group {
            check_group_name(name)?;
        }
        let limit = self.delivery.limits.subscriptions_max;
        let Some(session) = self.delivery.sessions.get_mut(id) else { return Ok(()) };
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
        let key = self.delivery.subscriptions.insert(Subscription {
            slot: id.slot,
            client_id,
            exact: !pattern.has_wildcard(),
            policy,
            delivered: 0,
            deliveries_max: u64::MAX,
            pattern: pattern.as_str().into(),
            group: group.map(Into::into),
        }) as u32;
        let map = session
            .subscriptions
            .get_or_insert_with(|| Box::new(HashMap::with_hasher(FixedState::with_seed(u64::from(id.slot)))));
        map.insert(client_id, key);
        let target = Target { subscription: key, slot: id.slot };
        let count = self.router.subscribe(pattern, group, target);
        self.interest_changed(pattern, group, count, count == 1, effects);
        Ok(())
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
        let subscription = &mut self.delivery.subscriptions[key as usize];
        if deliveries_max > subscription.delivered {
            subscription.deliveries_max = deliveries_max;
        } else {
            self.remove_subscription(key, effects);
        }
        true
    }

    pub(super) fn remove_subscription(&mut self, key: u32, effects: &mut Effects) {
        let Some(subscription) = self.delivery.subscriptions.try_remove(key as usize) else { return };
        if let Some(session) = self.delivery.sessions.at(subscription.slot)
            && let Some(map) = &mut session.subscriptions
        {
            map.remove(&subscription.client_id);
        }
        let pattern = Pattern::new(subscription.pattern.as_bytes()).expect("validated when subscribed");
        let group = subscription.group.as_deref();
        let target = Target { subscription: key, slot: subscription.slot };
        let left = self.router.unsubscribe(pattern, group, target);
        self.interest_changed(pattern, group, left, left == 0, effects);
    }

    /// Removes every trace of a connection from routing and interning.
    pub(super) fn forget_interest(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let partial = std::mem::take(&mut session.partial);
        let subscriptions = session.subscriptions.take();
        let interned = session.interned.take();
        self.delivery.pool.give(partial);
        if let Some(map) = subscriptions {
            let mut keys: Vec<u32> = map.values().copied().collect();
            keys.sort_unstable();
            keys.into_iter().for_each(|key| self.remove_subscription(key, effects));
        }
        if let Some(interned) = interned {
            for subject in interned.subjects() {
                self.subjects.unpin(subject);
                self.delivery.interned_subjects -= 1;
            }
        }
    }

    /// Another shard's interest, as it announced it.
    pub(super) fn remote_interest(&mut self, shard: u16, pattern: &str, group: Option<&str>, count: u32) {
        let pattern = Pattern::new(pattern.as_bytes()).expect("the other shard validated it");
        self.router.set_remote(pattern, group, shard, count);
        self.invalidate(pattern);
    }

    /// Plain interest is announced when it begins and ends, a queue group's whenever its size changes,
    /// because members are chosen in proportion.
    fn interest_changed(
        &mut self,
        pattern: Pattern<'_>,
        group: Option<&str>,
        count: u32,
        turned: bool,
        effects: &mut Effects,
    ) {
        self.invalidate(pattern);
        if self.delivery.limits.shards == 1 || (group.is_none() && !turned) {
            return;
        }
        let sequence = self.interest.announce();
        let record = Record::Interest { sequence, count, pattern: pattern.as_str(), group };
        self.delivery.broadcast(&record, effects);
    }

    fn invalidate(&mut self, pattern: Pattern<'_>) {
        if Router::staleness(pattern) == Stale::One {
            let subject = Subject::new(pattern.as_str().as_bytes());
            self.subjects.invalidate(subject.expect("a pattern without wildcards is a subject"));
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
