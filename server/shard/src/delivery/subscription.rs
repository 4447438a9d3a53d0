//! One subscription of this shard, and what its deliveries begin with.

use crate::access::Permissions;
use crate::identity::AccountId;
use crate::limits::SlowConsumerPolicy;
use crate::table::Key;
use crate::work::options::own_name;
use std::rc::Rc;

#[derive(Debug)]
pub struct Subscription {
    pub slot: u32,
    pub account: AccountId,
    /// A native client's number for it.
    pub client_id: u32,
    /// What a NATS client's deliveries say of it; empty for a native client.
    pub line: Box<[u8]>,
    /// Length of the NATS client's id for it, which stands before the last blank of `line`.
    pub sid_bytes: u32,
    /// A wildcard that may not take everything it matches.
    pub filter: Option<Rc<Permissions>>,
    /// No wildcard: every delivery has the pattern as its subject.
    pub exact: bool,
    /// What its client asked for when its outbox is full.
    pub policy: Option<SlowConsumerPolicy>,
    /// The group of acknowledged messages it is a member of.
    pub work: Option<Key>,
    /// Subscriptions that were made on this shard before it.
    pub made: u64,
    pub delivered: u64,
    pub deliveries_max: u64,
    pub pattern: Box<str>,
    pub group: Option<Box<str>>,
    /// Memory it takes, with what it was the first to add to the patterns.
    pub bytes: usize,
}

/// What a subscription takes in the shard's table and among those of its client, beside its texts.
pub const SUBSCRIPTION_BYTES: usize = size_of::<Subscription>() * 3 / 2 + 64;

impl Subscription {
    /// Whether its client may read a subject that the pattern matches.
    #[inline(never)]
    pub fn may_have(&self, subject: &str) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.may_receive(subject, self.group.as_deref().map(own_name)))
    }

    /// Memory it takes, roughly, beside what the patterns do.
    pub fn own_bytes(&self) -> usize {
        let group = self.group.as_ref().map_or(0, |group| group.len());
        SUBSCRIPTION_BYTES + self.line.len() + self.sid_bytes as usize + self.pattern.len() + group
    }

    /// The part of a delivery's line that is the same for every message: for an exact pattern up to
    /// the blank after the id, otherwise what follows the subject. Nothing without an id.
    pub fn nats_line(pattern: &str, exact: bool, sid: &[u8]) -> Box<[u8]> {
        if sid.is_empty() {
            return Box::default();
        }
        let mut line = Vec::with_capacity(pattern.len() + sid.len() + 8);
        if exact {
            line.extend_from_slice(b"HMSG ");
            line.extend_from_slice(pattern.as_bytes());
        }
        debug_assert!(!sid.contains(&b' '), "an id is one word");
        line.push(b' ');
        line.extend_from_slice(sid);
        line.push(b' ');
        line.into()
    }

    /// Appends what a delivery without headers begins with, up to the blank before its size.
    pub fn begin(&self, subject: &str, out: &mut Vec<u8>) {
        debug_assert!(!self.is_native(), "a native client's deliveries have no line");
        debug_assert!(!self.exact || *subject == *self.pattern, "an exact pattern matches itself alone");
        if self.exact {
            return out.extend_from_slice(&self.line[1..]);
        }
        out.extend_from_slice(b"MSG ");
        out.extend_from_slice(subject.as_bytes());
        out.extend_from_slice(&self.line);
    }

    /// Whether that is `line`.
    pub fn begins(&self, subject: &str, line: &[u8]) -> bool {
        if self.exact {
            return self.line[1..] == *line;
        }
        line.len() == 4 + subject.len() + self.line.len() && line.ends_with(&self.line)
    }

    /// The client's id for it, byte for byte; empty for a native client.
    pub fn sid(&self) -> &[u8] {
        let end = self.line.len().saturating_sub(1);
        debug_assert!(self.sid_bytes as usize <= end, "the id is a part of the line");
        &self.line[end - self.sid_bytes as usize..end]
    }

    /// Whether a native client gets its deliveries.
    #[inline]
    pub fn is_native(&self) -> bool {
        self.line.is_empty()
    }
}
