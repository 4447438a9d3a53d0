//! What the admin address says of settings that are read again while the server runs.

use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Those in force. [`ServerFacts`](super::ServerFacts) stay as they are.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub loaded: SystemTime,
    pub auth_required: bool,
    pub connections_max: usize,
    pub payload_bytes_max: usize,
    pub control_line_bytes_max: usize,
    pub outbox_bytes_max: usize,
    pub ping_interval_nanos: u64,
    pub ping_outstanding_max: u8,
    pub write_deadline_nanos: u64,
    pub auth_timeout_nanos: u64,
    /// Names by number, also of accounts that went: what they left may still be shown.
    accounts: BTreeMap<u16, String>,
}

impl Settings {
    pub fn new(access: &Access, limits: &Limits) -> Settings {
        Settings {
            loaded: SystemTime::now(),
            auth_required: access.required(),
            connections_max: limits.nats_connections_max,
            payload_bytes_max: limits.payload_bytes_max,
            control_line_bytes_max: limits.control_line_bytes_max,
            outbox_bytes_max: limits.outbox_bytes_max,
            ping_interval_nanos: limits.ping_interval_nanos,
            ping_outstanding_max: limits.ping_outstanding_max,
            write_deadline_nanos: limits.send_stall_nanos_max,
            auth_timeout_nanos: limits.hello_timeout_nanos,
            accounts: names(access).collect(),
        }
    }

    pub fn take_over(&mut self, access: &Access, limits: &Limits) {
        let mut accounts = std::mem::take(&mut self.accounts);
        accounts.extend(names(access));
        *self = Settings { accounts, ..Settings::new(access, limits) };
    }

    /// The name of an account, by the number that shards know it by.
    pub fn account(&self, number: u16) -> Option<&str> {
        self.accounts.get(&number).map(String::as_str)
    }
}

fn names(access: &Access) -> impl Iterator<Item = (u16, String)> {
    access.accounts().iter().map(|account| (account.number, account.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn an_account_that_went_keeps_its_name() {
        let config = Config::from_sources(&Sources::defaults()).expect("valid settings");
        let limits = config.limits().expect("settings that agree");
        let with = |name: &str, before: &Access| {
            let mut access = Access::default();
            access.add_account(name).expect("few");
            access.succeed(before).expect("few");
            access
        };
        let first = with("A", &Access::default());
        let mut settings = Settings::new(&first, &limits);
        let second = with("B", &first);
        settings.take_over(&second, &limits);
        let known: Vec<_> = (0..4).map(|number| settings.account(number)).collect();
        assert_eq!(known, [Some("$G"), Some("A"), Some("B"), None]);
    }
}
