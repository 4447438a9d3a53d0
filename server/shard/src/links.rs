//! Messages that are also those of another account.
//!
//! A service's answers come back without anything being kept: the reply subject on the other side holds
//! the account and the subject to answer to, and a keyed hash that nobody else can make.

use super::delivery::Message;
use super::publish::FanOut;
use super::reserved::{self, SERVICE_REPLIES};
use super::{AccountId, Effects, Shard};
use crate::access::{Link, LinkKind};
use ringbolt_protocol::subject::Subject;
use std::hash::Hasher;

/// Services that follow one another.
const DEPTH_MAX: usize = 4;

/// Links by the account they begin in.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_account: Vec<Vec<Link>>,
    /// Accounts that answer requests of others.
    serving: Vec<bool>,
    key: (u64, u64),
}

impl Links {
    pub(super) fn new(links: &[Link], key: (u64, u64)) -> Links {
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

    pub(super) fn key(&self) -> (u64, u64) {
        self.key
    }

    /// Whether a message of an account may concern others.
    #[inline]
    pub(super) fn concern(&self, account: AccountId) -> bool {
        let place = usize::from(account.0);
        self.by_account.get(place).is_some_and(|links| !links.is_empty())
            || self.serving.get(place).is_some_and(|&serving| serving)
    }

    fn of(&self, account: AccountId) -> &[Link] {
        self.by_account.get(usize::from(account.0)).map_or(&[], Vec::as_slice)
    }

    /// Where an answer goes: `_R_.`, a keyed hash, the account, the subject.
    fn reply_of(&self, account: AccountId, reply: &[u8]) -> Option<String> {
        let reply = std::str::from_utf8(reply).ok()?;
        let seal = self.seal(account, reply);
        Some(format!("{SERVICE_REPLIES}{seal:016x}.{}.{reply}", account.0))
    }

    /// The account and subject that an answer is for.
    pub(super) fn answered<'s>(&self, subject: &'s str) -> Option<(AccountId, &'s str)> {
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

impl Shard {
    /// Delivers a message in the accounts that have it from this one. Returns whether anyone took it.
    ///
    /// As with nats-server: what a service is asked goes on to services behind it, but to no stream, and
    /// what a stream carries is for the subscriptions of its account and goes no further.
    #[cold]
    pub(super) fn route_links(&mut self, message: &Message<'_>, depth: usize, effects: &mut Effects) -> bool {
        if depth >= DEPTH_MAX {
            return false;
        }
        let mut taken = false;
        // Between accounts no subject becomes one of the server's own that was none.
        let speaks_as_server = |subject: &str| {
            reserved::is_servers(subject.as_bytes()) && !reserved::is_servers(message.subject.as_bytes())
        };
        if let Some((account, reply)) = self.links.answered(message.subject)
            && !speaks_as_server(reply)
        {
            taken |= self.route_in(account, reply, message.reply, message, depth + 1, effects);
        }
        for place in 0..self.links.of(message.account).len() {
            let link = &self.links.of(message.account)[place];
            let Some(subject) = link.map(message.subject) else { continue };
            if speaks_as_server(&subject) {
                continue;
            }
            let (to, kind) = (AccountId(link.to), link.kind);
            // An account may be its own service; once is enough.
            if depth > 0 && (kind == LinkKind::Stream || to == message.account) {
                continue;
            }
            let reply = match (kind, message.reply) {
                (LinkKind::Service, Some(reply)) => self.links.reply_of(message.account, reply),
                _ => None,
            };
            let reply = reply.as_ref().map(|reply| reply.as_bytes()).or(message.reply);
            let depth = if kind == LinkKind::Stream { DEPTH_MAX } else { depth + 1 };
            taken |= self.route_in(to, &subject, reply, message, depth, effects);
        }
        taken
    }

    /// Delivers a message in an account under a subject of its own there, `depth` links away from where it
    /// was published.
    pub(super) fn route_in(
        &mut self,
        account: AccountId,
        subject: &str,
        reply: Option<&[u8]>,
        message: &Message<'_>,
        depth: usize,
        effects: &mut Effects,
    ) -> bool {
        let Ok(subject) = Subject::relaxed(subject.as_bytes()) else { return false };
        let Some(space) = self.spaces.get_mut(usize::from(account.0)) else { return false };
        let subject_id = space.subjects.resolve(subject);
        let (text, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        let there = Message { account, subject: text, subject_id, reply, ..*message };
        let foreign = route.foreign || self.delivery.is_foreign(reply);
        let (delivery, random) = (&mut self.delivery, &mut self.random);
        let mut fan_out = FanOut { delivery, random, subject_hash, hops: 0, foreign };
        let mut taken = !route.is_empty() && fan_out.everyone(route, &there, effects);
        if self.links.concern(account) {
            let there = Message { account, subject: subject.as_str(), subject_id, reply, ..*message };
            taken |= self.route_links(&there, depth, effects);
        }
        taken
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
