//! What a shard says of its connections when it is asked: for monitoring, never on a message's way.

use super::event::Dialect;
use super::session::Session;
use super::table::Key;
use super::{ConnectionId, Nanos, Shard};
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
        let mut ids = self.delivery.sessions.ids().skip_while(|id| id.slot < from);
        let taken: Vec<ConnectionId> = ids.by_ref().take(most).collect();
        let next = ids.next().map(|id| id.slot);
        let reports = taken.into_iter().filter_map(|id| {
            let session = self.delivery.sessions.get(id)?;
            Some(self.report_of(now, session, patterns))
        });
        (reports.collect(), next)
    }

    fn report_of(&self, now: Nanos, session: &Session, patterns: bool) -> ConnectionReport {
        let options = session.nats.as_ref().map(|nats| &nats.options);
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let user = session.nats.as_ref().and_then(|nats| self.access.user(nats.user()?));
        ConnectionReport {
            number: session.nats.as_ref().map_or(0, |nats| nats.number),
            dialect: if session.nats.is_some() { Dialect::Nats } else { Dialect::Native },
            peer: session.nats.as_ref().and_then(|nats| nats.peer),
            age_nanos: now.since(session.opened_at),
            idle_nanos: now.since(session.received_at),
            pending_bytes: session.outbox.queued_bytes(),
            traffic: session.traffic,
            name: text(options.map(|options| &options.name)),
            lang: text(options.map(|options| &options.lang)),
            version: text(options.map(|options| &options.version)),
            user: user.map(|user| user.name.clone()).unwrap_or_default(),
            account: self
                .access
                .account(session.account.0)
                .map(|account| account.name.clone())
                .unwrap_or_default(),
            subscriptions: session.subscription_count(),
            patterns: if patterns { self.patterns_of(session) } else { Vec::new() },
        }
    }

    fn patterns_of(&self, session: &Session) -> Vec<PatternReport> {
        let keys = session.subscription_keys();
        let report = |key: Key| {
            let subscription = self.delivery.subscriptions.get(key)?;
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
        keys.into_iter().filter_map(report).collect()
    }
}
