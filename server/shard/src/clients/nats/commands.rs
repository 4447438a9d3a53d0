//! What a NATS client asks for: `CONNECT`, `SUB` and `UNSUB`.

use super::NatsClient;
use crate::access::GroupName;
use crate::bus::Bus;
use crate::closing::CloseReason;
use crate::ledger::Kind;
use crate::subscriptions::Wanted;
use crate::turn::Turn;
use crate::work::options::{group_name, parse_group};
use ringbolt_protocol::subject::Pattern;

/// The versions of the protocol a client may name.
const PROTOCOLS: std::ops::RangeInclusive<i64> = 0..=1;

impl NatsClient {
    pub(super) fn connect(&mut self, options: &[u8], bus: &mut Bus, turn: &mut Turn<'_>) {
        let before = self.own_bytes();
        let merged = self.options.merge(options);
        bus.outlets.ledger.add(Kind::Connections, self.own_bytes());
        bus.outlets.ledger.subtract(Kind::Connections, before);
        if merged.is_err() {
            return self.close(CloseReason::ProtocolError, None, bus, turn);
        }
        if self.authenticate(bus, turn) {
            self.finish_connect(bus, turn);
        }
    }

    /// What a `CONNECT` does once its sender is known.
    pub(super) fn finish_connect(&mut self, bus: &mut Bus, turn: &mut Turn<'_>) {
        let options = &self.options;
        if options.new_account || !options.credentials().account.is_empty() {
            return self.refuse_to_admit(bus, turn);
        }
        let refusal = if !PROTOCOLS.contains(&options.protocol) {
            Some("invalid client protocol")
        } else if options.no_responders && !options.headers {
            Some("no responders requires headers support")
        } else {
            None
        };
        if refusal.is_some() {
            return self.close(CloseReason::ProtocolError, refusal, bus, turn);
        }
        self.limits.headers = options.headers;
        self.sender.admit(bus);
        if let Some(receiver) = bus.outlets.delivery.receivers.get_mut(self.sender.id) {
            receiver.headers = options.headers;
            let mut watch = receiver.take_watch();
            let before = std::mem::replace(&mut watch.no_echo, !options.echo);
            receiver.set_watch(watch);
            if before == options.echo {
                bus.outlets.work.rights_changed_of(self.sender.id);
            }
        }
        self.answer_ok(bus, turn);
    }

    pub(super) fn subscribe(
        &mut self,
        pattern: &[u8],
        group: Option<&[u8]>,
        sid: &[u8],
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        let permissions = self.permissions.clone();
        if let Some(permissions) = &permissions {
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            let names = group.map(text).map(group_name);
            let name = names.as_ref().map(|(own, whole)| GroupName { own, whole });
            if !permissions.may_subscribe(text(pattern), name) {
                return self.refuse_subscription_to(pattern, group, bus, turn);
            }
        }
        let Some(receiver) = bus.outlets.delivery.receivers.get(self.sender.id) else { return };
        if receiver.subscriptions.count() >= bus.limits().subscriptions_max {
            return self.error("maximum subscriptions exceeded", bus, turn);
        }
        if receiver.subscriptions.by_sid(sid).is_some() {
            return self.answer_ok(bus, turn);
        }
        let group = group.map(std::str::from_utf8).transpose();
        let (Ok(pattern), Ok(group)) = (Pattern::relaxed(pattern), group) else {
            return self.error("Invalid Subject", bus, turn);
        };
        if !bus.has_room_for_interest(self.sender.id, pattern, sid) {
            return self.error("maximum subscriptions exceeded", bus, turn);
        }
        let Ok((group, work)) =
            group.map_or(Ok((None, None)), |name| parse_group(name).map(|(name, work)| (Some(name), work)))
        else {
            return self.error("Invalid Queue Group Options", bus, turn);
        };
        let filter = permissions.filter(|permissions| permissions.filters(pattern));
        let (account, group) = (self.sender.account, group.as_deref());
        let wanted = Wanted { account, client_id: 0, sid, filter, pattern, group, work, policy: None };
        bus.subscribe(self.sender.id, wanted, turn);
        self.answer_ok(bus, turn);
    }

    pub(super) fn unsubscribe(
        &mut self,
        sid: &[u8],
        deliveries_max: Option<u64>,
        bus: &mut Bus,
        turn: &mut Turn<'_>,
    ) {
        let receiver = bus.outlets.delivery.receivers.get(self.sender.id);
        if let Some(key) = receiver.and_then(|receiver| receiver.subscriptions.by_sid(sid)) {
            bus.end_subscription_after(key, deliveries_max.unwrap_or(0), turn);
        }
        self.answer_ok(bus, turn);
    }
}
