//! Who a NATS client is, and what it may do.

use crate::access::{Access, Claim, Permissions, Responses};
use crate::links::Links;
use crate::metrics::Counter;
use crate::session::{Session, Stage};
use crate::space::Space;
use crate::work::own_name;
use crate::{AccountId, ConnectionId, Effects, HashSeed, Nanos, Shard};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::nats::encode::quoted;
use ringbolt_protocol::subject::Pattern;
use std::rc::Rc;

/// Reply subjects kept for one client; those that expire first go first.
const REPLIES_MAX: usize = 4096;

/// The answers a client may give, by reply subject.
#[derive(Debug)]
pub(super) struct Replies {
    rule: Option<Responses>,
    open: HashMap<Box<[u8]>, Reply, FixedState>,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    /// Answers left, if they are counted.
    left: Option<u32>,
    until: Nanos,
}

impl Replies {
    pub(super) fn new(hash_seed: HashSeed) -> Replies {
        Replies { rule: None, open: HashMap::with_hasher(hash_seed.table()) }
    }

    /// A request was delivered.
    fn expect(&mut self, now: Nanos, subject: &[u8]) {
        let Some(rule) = self.rule else { return };
        if self.open.len() >= REPLIES_MAX {
            self.open.retain(|_, reply| reply.until > now);
        }
        if self.open.len() >= REPLIES_MAX {
            let first = self.open.iter().min_by_key(|(_, reply)| reply.until).map(|(key, _)| key.clone());
            first.map(|key| self.open.remove(&key));
        }
        let until = Nanos(rule.nanos_max.map_or(u64::MAX, |nanos| now.0.saturating_add(nanos)));
        self.open.insert(subject.into(), Reply { left: rule.messages_max, until });
    }

    /// Whether an answer may be given now; counts it.
    fn take(&mut self, now: Nanos, subject: &[u8]) -> bool {
        let Some(reply) = self.open.get_mut(subject) else { return false };
        if reply.until <= now {
            self.open.remove(subject);
            return false;
        }
        match &mut reply.left {
            None => {}
            Some(left) if *left > 1 => *left -= 1,
            Some(_) => drop(self.open.remove(subject)),
        }
        true
    }
}

impl Session {
    /// Notes that an answer may be published, once a request was delivered.
    #[cold]
    pub(crate) fn keep_reply(&mut self, now: Nanos, subject: &[u8]) {
        if let Some(nats) = &mut self.nats {
            nats.replies.expect(now, subject);
        }
    }

    /// Whether a client with permissions may publish an answer to that subject.
    pub(super) fn may_answer(&mut self, now: Nanos, subject: &[u8]) -> bool {
        self.nats.as_mut().is_some_and(|nats| nats.replies.take(now, subject))
    }
}

impl Shard {
    /// What a new client may say before it says who it is.
    pub(crate) fn first_stage(&self) -> Stage {
        if self.access.required() { Stage::AwaitingHello } else { Stage::Ready }
    }

    /// Lets a client in that did not say who it is, if such ones have a user.
    pub(super) fn admit_unnamed(&mut self, id: ConnectionId, effects: &mut Effects) -> bool {
        let Some(user) = self.access.no_auth_user else { return false };
        self.become_user(id, user, effects)
    }

    /// Lets a client in by its options, refuses it, or has its proof checked.
    pub(super) fn authenticate(&mut self, id: ConnectionId, effects: &mut Effects) -> bool {
        if !self.access.required() {
            return true;
        }
        let Some(session) = self.delivery.sessions.get_mut(id) else { return false };
        let Some(nats) = &session.nats else { return false };
        match self.access.claim(&nats.options, &nats.nonce()) {
            Claim::User(user) => self.become_user(id, user, effects),
            Claim::Nobody => {
                self.authorization_violation(id, effects);
                false
            }
            Claim::Unproven(user, verification) => {
                session.stage = Stage::Verifying;
                if let Some(nats) = &mut session.nats {
                    nats.user = Some(user);
                }
                effects.verify.push((id, verification));
                self.delivery.hold_back(id, effects);
                false
            }
        }
    }

    pub(crate) fn verified(&mut self, id: ConnectionId, proven: bool, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get(id) else { return };
        if session.stage != Stage::Verifying {
            return;
        }
        self.delivery.let_go(id, effects);
        let claimed = self.claimed_user(id).filter(|_| proven);
        // The user may have changed while it was verified.
        if !claimed.is_some_and(|user| self.become_user(id, user, effects)) {
            return self.authorization_violation(id, effects);
        }
        self.finish_connect(id, effects);
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let waiting = std::mem::take(&mut session.partial);
        self.forget_limits_of_begun(id);
        self.receive_nats(id, Vec::new(), &waiting, effects);
        self.delivery.pool.give(waiting);
    }

    fn claimed_user(&self, id: ConnectionId) -> Option<u32> {
        self.delivery.sessions.get(id)?.nats.as_ref()?.user
    }

    /// Makes a client that user. Returns whether there are both.
    fn become_user(&mut self, id: ConnectionId, number: u32, effects: &mut Effects) -> bool {
        let Some(place) = self.access.place_of_user(number) else { return false };
        let account = AccountId(self.access.users()[place].account);
        let permissions = self.permissions[place].clone();
        if self.delivery.sessions.get(id).is_some_and(|session| session.account != account) {
            // What it subscribed to as somebody else is not its any more.
            self.leave_account(id, effects);
        }
        let Some(session) = self.delivery.sessions.get_mut(id) else { return false };
        session.account = account;
        session.stage = Stage::Ready;
        let rule = permissions.as_ref().and_then(|permissions| permissions.responses);
        session.keeps_replies = rule.is_some();
        session.watched = !session.echo || session.keeps_replies;
        if let Some(nats) = &mut session.nats {
            if nats.user != Some(number) || rule.is_none() {
                // What it might answer as somebody else, or by a rule that is gone, it may not any more.
                nats.replies.open.clear();
            }
            nats.user = Some(number);
            nats.replies.rule = rule;
            nats.permissions = permissions;
            nats.last_subject = Default::default();
        }
        true
    }

    fn leave_account(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let subscriptions = session.take_subscriptions();
        subscriptions.into_iter().for_each(|key| self.remove_subscription(key, true, effects));
    }

    /// Whether a client may publish to a subject now. A native one may everywhere.
    pub(crate) fn may_publish(&self, id: ConnectionId, subject: &str) -> bool {
        let nats = self.delivery.sessions.get(id).and_then(|session| session.nats.as_ref());
        let permissions = nats.and_then(|nats| nats.permissions.as_ref());
        permissions.is_none_or(|permissions| permissions.may_publish(subject))
    }

    /// What a subscription is refused for, or the permissions its deliveries are checked by.
    pub(super) fn subscription_permissions(&self, id: ConnectionId) -> Option<Rc<Permissions>> {
        self.delivery.sessions.get(id)?.nats.as_ref()?.permissions.clone()
    }

    pub(super) fn refuse_publish_to(&mut self, id: ConnectionId, subject: &[u8], effects: &mut Effects) {
        self.delivery.counters.add(Counter::PermissionViolations, 1);
        self.nats_error(id, &format!("Permissions Violation for Publish to {}", quoted(subject)), effects);
    }

    pub(super) fn refuse_subscription_to(
        &mut self,
        id: ConnectionId,
        pattern: &[u8],
        group: Option<&[u8]>,
        effects: &mut Effects,
    ) {
        self.delivery.counters.add(Counter::PermissionViolations, 1);
        let mut message = format!("Permissions Violation for Subscription to {}", quoted(pattern));
        if let Some(group) = group {
            message += &format!(" using queue {}", quoted(group));
        }
        self.nats_error(id, &message, effects);
    }
}

impl Shard {
    /// Who may connect changed: those who still may go on with what they may now.
    pub(crate) fn change_access(&mut self, access: &Access, effects: &mut Effects) {
        let before = std::mem::replace(&mut self.access, access.clone());
        self.permissions = access.shared_permissions();
        self.links = Links::new(&access.links, self.links.key());
        self.make_spaces(access.account_numbers());
        let clients: Vec<ConnectionId> = self.delivery.sessions.ids().collect();
        for id in clients {
            let Some(session) = self.delivery.sessions.get(id) else { continue };
            let Some(user) = session.nats.as_ref().map(|nats| nats.user) else { continue };
            let account = session.account.0;
            match (session.stage, user) {
                (Stage::Ready, None) if !access.required() => {}
                (Stage::Ready, Some(user)) if self.become_user(id, user, effects) => {
                    self.drop_forbidden_subscriptions(id, effects);
                }
                (Stage::Ready, _) => self.authorization_violation(id, effects),
                // Its outcome is still to come, but what it had as somebody else may be gone.
                (Stage::Verifying, _) if access.account(account).is_none() => {
                    self.leave_account(id, effects);
                }
                _ => {}
            }
        }
        self.empty_spaces_of_removed(&before);
    }

    /// Accounts are known by numbers up to this.
    pub(crate) fn make_spaces(&mut self, numbers: usize) {
        while self.spaces.len() < numbers {
            self.spaces.push(Space::new(self.hash_seed, self.delivery.limits.subjects_max));
        }
    }

    /// Forgets what other shards want in accounts that went since then, also those that came and went.
    fn empty_spaces_of_removed(&mut self, before: &Access) {
        for number in 0..self.access.account_numbers() {
            let was_there = number >= before.account_numbers() || before.account(number as u16).is_some();
            if was_there && self.access.account(number as u16).is_none() {
                self.spaces[number] = Space::new(self.hash_seed, self.delivery.limits.subjects_max);
            }
        }
    }

    fn drop_forbidden_subscriptions(&mut self, id: ConnectionId, effects: &mut Effects) {
        let permissions = self.subscription_permissions(id);
        let Some(session) = self.delivery.sessions.get(id) else { return };
        for key in session.subscription_keys() {
            let Some(subscription) = self.delivery.subscriptions.get_mut(key) else { continue };
            let Some(permissions) = &permissions else {
                subscription.filter = None;
                continue;
            };
            let (pattern, group) = (subscription.pattern.clone(), subscription.group.clone());
            // Rules are about the name that stands before a group's options.
            if permissions.may_subscribe(&pattern, group.as_deref().map(own_name)) {
                let wild =
                    Pattern::relaxed(pattern.as_bytes()).is_ok_and(|pattern| permissions.filters(pattern));
                subscription.filter = wild.then(|| Rc::clone(permissions));
            } else {
                let group = group.as_ref().map(|name| name.as_bytes());
                self.refuse_subscription_to(id, pattern.as_bytes(), group, effects);
                self.remove_subscription(key, true, effects);
            }
        }
    }
}
