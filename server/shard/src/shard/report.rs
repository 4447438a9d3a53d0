//! What a shard says of its connections when it is asked: for monitoring, never on a message's way.

use super::{Members, Shard};
use crate::clients::Client;
use crate::delivery::receiver::Receiver;
use crate::event::Dialect;
use crate::identity::{ConnectionId, Nanos};
use crate::table::Key;
use core::net::SocketAddr;

/// One connection at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    pub number: u64,
    pub dialect: Dialect,
    pub peer: Option<SocketAddr>,
    /// Nanoseconds since it was opened, and since it last sent anything.
    pub age_nanos: u64,
    pub idle_nanos: u64,
    pub pending_bytes: usize,
    pub traffic: Traffic,
    pub name: String,
    pub lang: String,
    pub version: String,
    /// Who it is, if it had to say.
    pub user: String,
    /// The name of its account.
    pub account: String,
    pub subscriptions: usize,
    /// Asked for only.
    pub patterns: Vec<PatternReport>,
}

#[derive(Clone, Debug)]
pub struct PatternReport {
    pub pattern: String,
    pub group: Option<String>,
    pub id: String,
    pub delivered: u64,
    pub deliveries_max: Option<u64>,
}

/// Messages and their payload bytes, as the client sees them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl Shard {
    /// Up to `most` connections whose slots begin at `from`, and the slot to go on from, if there is one.
    pub fn report(
        &self,
        now: Nanos,
        from: u32,
        most: usize,
        patterns: bool,
    ) -> (Vec<ConnectionReport>, Option<u32>) {
        let mut ids = self.members.clients.ids().skip_while(|id| id.slot < from);
        let taken: Vec<ConnectionId> = ids.by_ref().take(most).collect();
        let next = ids.next().map(|id| id.slot);
        let reports = taken.into_iter().filter_map(|id| self.members.report_of(now, id, patterns));
        (reports.collect(), next)
    }
}

impl Members {
    fn report_of(&self, now: Nanos, id: ConnectionId, patterns: bool) -> Option<ConnectionReport> {
        let client = self.clients.get(id)?;
        let receiver = self.bus.outlets.delivery.receivers.get(id)?;
        let (sender, access) = (client.sender(), self.bus.accounts.access());
        let nats = match client {
            Client::Native(_) => None,
            Client::Nats(client) => Some(&**client),
        };
        let user = nats.and_then(|nats| access.user(nats.user()?));
        let account = access.account(sender.account.0);
        Some(ConnectionReport {
            number: nats.map_or(0, |nats| nats.number),
            dialect: client.dialect(),
            peer: sender.peer,
            age_nanos: now.since(sender.opened_at),
            idle_nanos: now.since(sender.received_at),
            pending_bytes: receiver.outbox.queued_bytes(),
            traffic: Traffic {
                messages_in: sender.messages_in,
                messages_out: receiver.messages_out,
                bytes_in: sender.bytes_in,
                bytes_out: receiver.bytes_out,
            },
            name: nats.map(|nats| nats.options.name.clone()).unwrap_or_default(),
            lang: nats.map(|nats| nats.options.lang.clone()).unwrap_or_default(),
            version: nats.map(|nats| nats.options.version.clone()).unwrap_or_default(),
            user: user.map(|user| user.name.clone()).unwrap_or_default(),
            account: account.map(|account| account.name.clone()).unwrap_or_default(),
            subscriptions: receiver.subscriptions.count(),
            patterns: if patterns { self.patterns_of(receiver) } else { Vec::new() },
        })
    }

    fn patterns_of(&self, receiver: &Receiver) -> Vec<PatternReport> {
        let report = |key: Key| {
            let subscription = self.bus.outlets.delivery.subscriptions.get(key)?;
            let id = match subscription.sid() {
                [] => subscription.client_id.to_string(),
                sid => String::from_utf8_lossy(sid).into_owned(),
            };
            Some(PatternReport {
                pattern: subscription.pattern.to_string(),
                group: subscription.group.as_ref().map(|name| name.to_string()),
                id,
                delivered: subscription.delivered,
                deliveries_max: Some(subscription.deliveries_max).filter(|&max| max != u64::MAX),
            })
        };
        receiver.subscriptions.keys().into_iter().filter_map(report).collect()
    }
}
