//! Messages that are also those of another account.
//!
//! A service's answers come back without anything being kept: the reply subject on the other side holds
//! the account and the subject to answer to, and a keyed hash that nobody else can make.

use crate::access::{Link, LinkKind};
use crate::identity::AccountId;
use crate::reserved::{self, SERVICE_REPLIES};
use std::hash::Hasher;

/// Services that follow one another.
const DEPTH_MAX: usize = 4;

/// A message in an account, so many links away from where it was published.
#[derive(Clone, Debug)]
pub struct Hop {
    pub account: AccountId,
    pub subject: String,
    pub reply: Option<Vec<u8>>,
    pub depth: usize,
}

/// Links by the account they begin in.
#[derive(Debug, Default)]
pub struct Links {
    by_account: Vec<Vec<Link>>,
    /// Accounts that answer requests of others.
    serving: Vec<bool>,
    key: (u64, u64),
}

impl Links {
    pub fn new(links: &[Link], key: (u64, u64)) -> Links {
        let numbers = links.iter().flat_map(|link| [link.from, link.to]);
        let accounts = numbers.max().map_or(0, |last| usize::from(last) + 1);
        let mut by_account = vec![Vec::new(); accounts];
        let mut serving = vec![false; accounts];
        for link in links {
            by_account[usize::from(link.from)].push(link.clone());
            serving[usize::from(link.to)] |= link.kind == LinkKind::Service;
        }
        Links { by_account, serving, key }
    }

    pub fn key(&self) -> (u64, u64) {
        self.key
    }

    /// Whether a message of an account may concern others.
    #[inline]
    pub fn concern(&self, account: AccountId) -> bool {
        let place = usize::from(account.0);
        self.by_account.get(place).is_some_and(|links| !links.is_empty())
            || self.serving.get(place).is_some_and(|&serving| serving)
    }

    fn of(&self, account: AccountId) -> &[Link] {
        self.by_account.get(usize::from(account.0)).map_or(&[], Vec::as_slice)
    }

    /// Where a message goes from an account, in the order of its links.
    ///
    /// As with nats-server: what a service is asked goes on to services after it, but to no stream, and
    /// what a stream carries is for the subscriptions of its account and goes no further.
    pub fn next(&self, from: &Hop) -> Vec<Hop> {
        let mut hops = Vec::new();
        if from.depth >= DEPTH_MAX || !self.concern(from.account) {
            return hops;
        }
        // Between accounts no subject becomes one of the server's own that was none.
        let speaks_as_server = |subject: &str| {
            reserved::is_servers(subject.as_bytes()) && !reserved::is_servers(from.subject.as_bytes())
        };
        if let Some((account, subject)) = self.answered(&from.subject)
            && !speaks_as_server(subject)
        {
            let (subject, reply) = (subject.to_owned(), from.reply.clone());
            hops.push(Hop { account, subject, reply, depth: from.depth + 1 });
        }
        for link in self.of(from.account) {
            let Some(subject) = link.map(&from.subject).filter(|subject| !speaks_as_server(subject)) else {
                continue;
            };
            let account = AccountId(link.to);
            // An account may be its own service; once is enough.
            if from.depth > 0 && (link.kind == LinkKind::Stream || account == from.account) {
                continue;
            }
            let sealed = match (link.kind, &from.reply) {
                (LinkKind::Service, Some(reply)) => self.reply_of(from.account, reply),
                _ => None,
            };
            let reply = sealed.map(String::into_bytes).or_else(|| from.reply.clone());
            let depth = if link.kind == LinkKind::Stream { DEPTH_MAX } else { from.depth + 1 };
            hops.push(Hop { account, subject, reply, depth });
        }
        let leads_on = |hop: &Hop| from.depth < hop.depth && hop.depth <= DEPTH_MAX;
        debug_assert!(hops.iter().all(leads_on), "every link comes nearer to the last");
        hops
    }

    /// Where an answer goes: `_R_.`, a keyed hash, the account, the subject.
    fn reply_of(&self, account: AccountId, reply: &[u8]) -> Option<String> {
        let reply = std::str::from_utf8(reply).ok()?;
        let seal = self.seal(account, reply);
        let sealed = format!("{SERVICE_REPLIES}{seal:016x}.{}.{reply}", account.0);
        debug_assert_eq!(self.answered(&sealed), Some((account, reply)), "an answer finds its way back");
        Some(sealed)
    }

    /// The account and subject that an answer is for.
    pub fn answered<'s>(&self, subject: &'s str) -> Option<(AccountId, &'s str)> {
        let mut parts = subject.strip_prefix(SERVICE_REPLIES)?.splitn(3, '.');
        let seal = u64::from_str_radix(parts.next()?, 16).ok()?;
        let account = AccountId(parts.next()?.parse().ok()?);
        let reply = parts.next()?;
        (self.seal(account, reply) == seal).then_some((account, reply))
    }

    /// SipHash-2-4 under the key of this process.
    fn seal(&self, account: AccountId, reply: &str) -> u64 {
        #[expect(deprecated, reason = "the one keyed hash of the standard library")]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.key.0, self.key.1);
        hasher.write_u16(account.0);
        hasher.write(reply.as_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_way_back_and_a_forged_one_finds_none() {
        let links = Links::new(&[], (1, 2));
        let reply = links.reply_of(AccountId(1), b"in.box.7").expect("text");
        assert_eq!(links.answered(&reply), Some((AccountId(1), "in.box.7")));
        for forged in [
            reply.replace("box", "bax"),
            reply.replace(".1.", ".0."),
            "_R_.0.1.in.box.7".to_owned(),
            "_R_.".to_owned(),
            "in.box.7".to_owned(),
        ] {
            assert_eq!(links.answered(&forged), None, "{forged}");
        }
        assert_eq!(Links::new(&[], (1, 3)).answered(&reply), None, "another process");
    }
}
