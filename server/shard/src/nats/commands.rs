//! What a NATS client asks for: `CONNECT`, `SUB` and `UNSUB`.

use crate::is_lenient;
use crate::metrics::Counter;
use crate::session::Stage;
use crate::subscriptions::Wanted;
use crate::work::{own_name, parse_group};
use crate::{ConnectionId, Effects, Shard};
use ringbolt_protocol::subject::Pattern;

/// The versions of the protocol a client may name.
const PROTOCOLS: std::ops::RangeInclusive<i64> = 0..=1;

impl Shard {
    pub(super) fn nats_connect(&mut self, id: ConnectionId, options: &[u8], effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let Some(nats) = &mut session.nats else { return };
        if nats.options.merge(options).is_err() {
            return self.close_nats(id, None, Counter::ConnectionsClosedProtocolError, effects);
        }
        if !self.authenticate(id, effects) {
            return;
        }
        self.finish_connect(id, effects);
    }

    /// What a `CONNECT` does once its sender is known.
    pub(super) fn finish_connect(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        let Some(nats) = &mut session.nats else { return };
        let options = &nats.options;
        if options.new_account || !options.credentials().account.is_empty() {
            return self.authorization_violation(id, effects);
        }
        let refusal = if !PROTOCOLS.contains(&options.protocol) {
            Some("invalid client protocol")
        } else if options.no_responders && !options.headers {
            Some("no responders requires headers support")
        } else {
            None
        };
        if refusal.is_some() {
            return self.close_nats(id, refusal, Counter::ConnectionsClosedProtocolError, effects);
        }
        nats.limits.headers = options.headers;
        session.headers = options.headers;
        session.echo = options.echo;
        session.watched = !session.echo || session.keeps_replies;
        session.stage = Stage::Ready;
        self.nats_ok(id, effects);
    }

    pub(super) fn nats_subscribe(
        &mut self,
        id: ConnectionId,
        pattern: &[u8],
        group: Option<&[u8]>,
        sid: &[u8],
        effects: &mut Effects,
    ) {
        let permissions = self.subscription_permissions(id);
        if let Some(permissions) = &permissions {
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            if !permissions.may_subscribe(text(pattern), group.map(text).map(own_name)) {
                return self.refuse_subscription_to(id, pattern, group, effects);
            }
        }
        let limit = self.delivery.limits.subscriptions_max;
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        if session.subscription_count() >= limit {
            return self.nats_error(id, "maximum subscriptions exceeded", effects);
        }
        let Some(nats) = &session.nats else { return };
        if nats.subscriptions.contains_key(sid) {
            return self.nats_ok(id, effects);
        }
        let group = group.map(std::str::from_utf8).transpose();
        let (Ok(pattern), Ok(group)) = (Pattern::relaxed(pattern), group) else {
            return self.nats_error(id, "Invalid Subject", effects);
        };
        let Ok((group, work)) =
            group.map_or(Ok((None, None)), |name| parse_group(name).map(|(name, work)| (Some(name), work)))
        else {
            return self.nats_error(id, "Invalid Queue Group Options", effects);
        };
        let Some(session) = self.delivery.sessions.get_mut(id) else { return };
        session.lenient |= is_lenient(self.delivery.limits.slow_consumer_for(pattern.as_str()));
        let filter = permissions.filter(|permissions| permissions.filters(pattern));
        let group = group.as_deref();
        let wanted = Wanted { client_id: 0, sid, filter, pattern, group, work, policy: None };
        let key = self.add_subscription(id, wanted, effects);
        if let Some(nats) = self.delivery.sessions.get_mut(id).and_then(|session| session.nats.as_mut()) {
            nats.subscriptions.insert(sid.into(), key);
        }
        self.nats_ok(id, effects);
    }

    pub(super) fn nats_unsubscribe(
        &mut self,
        id: ConnectionId,
        sid: &[u8],
        deliveries_max: Option<u64>,
        effects: &mut Effects,
    ) {
        let session = self.delivery.sessions.get(id);
        let Some(nats) = session.and_then(|session| session.nats.as_ref()) else { return };
        if let Some(&key) = nats.subscriptions.get(sid) {
            self.end_subscription_after(key, deliveries_max.unwrap_or(0), effects);
        }
        self.nats_ok(id, effects);
    }
}
