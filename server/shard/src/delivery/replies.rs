//! The answers a client may give though it may not publish there: to the reply subjects of what it was asked.

use crate::access::Responses;
use crate::identity::{HashSeed, Nanos};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Reply subjects kept for one client; those that expire first go first.
const REPLIES_MAX: usize = 4096;

/// By reply subject.
#[derive(Debug)]
pub struct Replies {
    rule: Responses,
    open: HashMap<Box<[u8]>, Reply, FixedState>,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    /// Answers left, if they are counted.
    left: Option<u32>,
    until: Nanos,
}

impl Replies {
    pub fn new(rule: Responses, seed: HashSeed) -> Replies {
        Replies { rule, open: HashMap::with_hasher(seed.table()) }
    }

    /// The same answers, under a rule that changed.
    pub fn ruled_by(self, rule: Responses) -> Replies {
        Replies { rule, ..self }
    }

    /// A request was delivered.
    #[cold]
    pub fn expect(&mut self, now: Nanos, subject: &[u8]) {
        if self.open.len() >= REPLIES_MAX {
            self.open.retain(|_, reply| reply.until > now);
        }
        if self.open.len() >= REPLIES_MAX {
            let first = self.open.iter().min_by_key(|(_, reply)| reply.until).map(|(key, _)| key.clone());
            first.map(|key| self.open.remove(&key));
        }
        let nanos_max = self.rule.nanos_max;
        let until = Nanos(nanos_max.map_or(u64::MAX, |nanos| now.0.saturating_add(nanos)));
        self.open.insert(subject.into(), Reply { left: self.rule.messages_max, until });
        debug_assert!(self.open.len() <= REPLIES_MAX, "room was made");
    }

    /// Whether an answer may be given now; counts it.
    pub fn take(&mut self, now: Nanos, subject: &[u8]) -> bool {
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
