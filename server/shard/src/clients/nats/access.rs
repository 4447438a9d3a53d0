//! Who a NATS client is, and what it may do.

use super::NatsClient;
use crate::access::{Claim, GroupName};
use crate::bus::Bus;
use crate::clients::sender::Stage;
use crate::delivery::replies::Replies;
use crate::metrics::Counter;
use crate::router::subjects::SubjectId;
use crate::turn::Turn;
use crate::work::options::group_name;
use ringbolt_protocol::nats::encode::quoted;
use ringbolt_protocol::subject::Pattern;
use std::rc::Rc;

impl NatsClient {
    /// Lets a client in that did not say who it is, if such ones have a user.
    pub(super) fn admit_unnamed(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) -> bool {
        let Some(user) = bus.accounts.access().no_auth_user else { return false };
        self.become_user(user, bus, turn)
    }

    /// Lets a client in by its options, refuses it, or has its proof checked.
    pub(super) fn authenticate(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) -> bool {
        let access = bus.accounts.access();
        if !access.required() {
            return true;
        }
        match access.claim(&self.options, &self.nonce()) {
            Claim::User(user) => self.become_user(user, bus, turn),
            Claim::Nobody => {
                self.refuse_to_admit(bus, turn);
                false
            }
            Claim::Unproven(user, verification) => {
                assert!(self.sender.partial().is_empty(), "what is kept is counted by its sender's stage");
                if self.sender.stage == Stage::Ready {
                    // As somebody it was admitted as already.
                    self.sender.admitting_since = turn.now;
                }
                self.sender.stage = Stage::Verifying;
                self.claimed = Some(user);
                turn.effects.verify.push((self.sender.id, verification));
                bus.outlets.delivery.hold_back(self.sender.id, turn);
                false
            }
        }
    }

    /// Its proof was checked. Returns what it said meanwhile, which is to be handled.
    pub fn verified(&mut self, proven: bool, bus: &mut Bus, turn: &mut Turn<'_>) -> Vec<u8> {
        if self.sender.stage != Stage::Verifying || !bus.outlets.delivery.is_open(self.sender.id) {
            return Vec::new();
        }
        debug_assert!(self.claimed.is_some(), "what is verified is a claim");
        bus.outlets.delivery.let_go(self.sender.id, turn);
        let claimed = self.claimed.take().filter(|_| proven);
        // The user may have changed while it was verified.
        if !claimed.is_some_and(|user| self.become_user(user, bus, turn)) {
            self.refuse_to_admit(bus, turn);
            return Vec::new();
        }
        self.finish_connect(bus, turn);
        self.begun_under = None;
        let waiting = self.sender.take_partial(bus);
        if bus.outlets.delivery.is_open(self.sender.id) {
            return waiting;
        }
        bus.outlets.delivery.pool.give(waiting);
        Vec::new()
    }

    /// Makes a client that user. Returns whether there is such a user.
    fn become_user(&mut self, number: u32, bus: &mut Bus, turn: &mut Turn<'_>) -> bool {
        let Some((account, permissions)) = bus.accounts.user(number) else { return false };
        if self.user != Some(number) {
            // What it subscribed to as somebody else is not its any more.
            bus.remove_subscriptions_of(self.sender.id, turn);
        }
        debug_assert!(bus.accounts.access().account(account.0).is_some(), "a user's account is there");
        let seed = bus.outlets.seed;
        let Some(receiver) = bus.outlets.delivery.receivers.get_mut(self.sender.id) else { return false };
        let mut watch = receiver.take_watch();
        let rule = permissions.as_ref().and_then(|permissions| permissions.responses);
        // What it might answer as somebody else, or by a rule that is gone, it may not any more.
        watch.replies = match (rule, watch.replies.take()) {
            (Some(rule), Some(replies)) if self.user == Some(number) => Some(replies.ruled_by(rule)),
            (Some(rule), _) => Some(Replies::new(rule, seed)),
            (None, _) => None,
        };
        receiver.set_watch(watch);
        self.sender.account = account;
        self.sender.admit(bus);
        self.user = Some(number);
        self.permissions = permissions;
        self.last_subject = SubjectId::NONE;
        true
    }

    /// Who may connect changed: it goes on with what it may from now on, or not at all. The access of the
    /// accounts is the new one.
    pub fn change_access(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        let access = bus.accounts.access();
        let (required, has_account) = (access.required(), access.account(self.sender.account.0).is_some());
        match (self.sender.stage, self.user) {
            (Stage::Ready, None) if !required => {}
            (Stage::Ready, Some(user)) if self.become_user(user, bus, turn) => {
                self.drop_forbidden_subscriptions(bus, turn);
            }
            (Stage::Ready, _) => self.refuse_to_admit(bus, turn),
            // Its outcome is still to come, but what it has as who it was until then is judged now.
            (Stage::Verifying, Some(user)) if has_account => match bus.accounts.user(user) {
                Some((account, permissions)) if account == self.sender.account => {
                    self.permissions = permissions;
                    self.drop_forbidden_subscriptions(bus, turn);
                }
                _ => bus.remove_subscriptions_of(self.sender.id, turn),
            },
            (Stage::Verifying, _) => bus.remove_subscriptions_of(self.sender.id, turn),
            (Stage::AwaitingHello, _) => {}
        }
    }

    fn drop_forbidden_subscriptions(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        let Some(receiver) = bus.outlets.delivery.receivers.get(self.sender.id) else { return };
        bus.outlets.work.rights_changed_of(self.sender.id);
        for key in receiver.subscriptions.keys() {
            let Some(subscription) = bus.outlets.delivery.subscriptions.get_mut(key) else { continue };
            let Some(permissions) = &self.permissions else {
                subscription.filter = None;
                continue;
            };
            let (pattern, group) = (subscription.pattern.clone(), subscription.group.clone());
            let names = group.as_deref().map(group_name);
            let name = names.as_ref().map(|(own, whole)| GroupName { own, whole });
            if permissions.may_subscribe(&pattern, name) {
                let wild =
                    Pattern::relaxed(pattern.as_bytes()).is_ok_and(|pattern| permissions.filters(pattern));
                subscription.filter = wild.then(|| Rc::clone(permissions));
            } else {
                let group = group.as_ref().map(|name| name.as_bytes());
                self.refuse_subscription_to(pattern.as_bytes(), group, bus, turn);
                bus.remove_subscription(key, true, turn);
            }
        }
    }

    pub(super) fn refuse_publish_to(&mut self, subject: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) {
        turn.counters.add(Counter::PermissionViolations, 1);
        self.error(&format!("Permissions Violation for Publish to {}", quoted(subject)), bus, turn);
    }

    pub(super) fn refuse_subscription_to(
        &mut self,
        pattern: &[u8],
        group: Option<&[u8]>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        turn.counters.add(Counter::PermissionViolations, 1);
        let mut message = format!("Permissions Violation for Subscription to {}", quoted(pattern));
        if let Some(group) = group {
            message += &format!(" using queue {}", quoted(group));
        }
        self.error(&message, bus, turn);
    }
}
