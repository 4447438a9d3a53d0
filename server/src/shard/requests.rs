//! Requests whose replies the server looks after: those with a deadline, whose late replies nobody wants, and
//! those that gather several replies.
//!
//! They are kept by the requester's shard, where the replies arrive, by reply subject and correlation id. A
//! request that was answered, or asked for nothing of this, is not kept.

use super::identity::{AccountId, Nanos};
use super::metrics::Counter;
use super::router::subjects::SubjectId;
use super::{Effects, Shard};
use crate::shard::delivery::{Message, deadline};
use crate::shard::mesh::batch::MeshPayload;
use crate::shard::work::EMPTY;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::command::Publish;
use ringbolt_protocol::headers;
use std::collections::BTreeSet;

/// Requests a shard looks after; the replies to more of them are delivered whenever they come.
const REQUESTS_MAX: usize = 65_536;
/// A request is remembered this long after its deadline: a later reply is delivered.
const LATE_NANOS_MAX: u64 = 60_000_000_000;
/// The deadline of a request that gathers and names none.
const GATHER_NANOS_MAX: u64 = 60_000_000_000;
/// Replies one request may gather.
pub const GATHER_MAX: u32 = 1_000_000;

/// Whose reply it is: account, reply subject and correlation id.
type Key = (AccountId, Box<str>, u64);

#[derive(Clone, Copy, Debug)]
struct Request {
    deadline: Nanos,
    /// Replies it gathers; 0: it gathers none.
    wanted: u32,
    got: u32,
    /// It has all it wanted, or its time is over.
    over: bool,
}

/// A request that gathers no more: its key, and the replies it got.
type Gathered = (Key, u32);

#[derive(Debug)]
pub struct Requests {
    open: HashMap<Key, Request, FixedState>,
    /// How many there are of each reply subject.
    subjects: HashMap<(AccountId, Box<str>), u32, FixedState>,
    /// By when something is to be done about them.
    due: BTreeSet<(Nanos, Key)>,
    gathered: Vec<Gathered>,
}

impl Default for Requests {
    fn default() -> Requests {
        let state = FixedState::with_seed(0);
        Requests {
            open: HashMap::with_hasher(state.clone()),
            subjects: HashMap::with_hasher(state),
            due: BTreeSet::new(),
            gathered: Vec::new(),
        }
    }
}

impl Requests {
    /// Whether no request is looked after.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether replies on this subject are looked after.
    #[inline]
    pub fn concern(&self, account: AccountId, subject: &str) -> bool {
        !self.is_idle() && self.concern_subject(account, subject)
    }

    #[cold]
    fn concern_subject(&self, account: AccountId, subject: &str) -> bool {
        self.subjects.contains_key(&(account, Box::from(subject)))
    }

    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Looks after the replies to a request from now on. Returns whether there was room.
    fn watch(&mut self, key: Key, deadline: Nanos, wanted: u32) -> bool {
        if self.open.len() >= REQUESTS_MAX || self.open.contains_key(&key) {
            return false;
        }
        *self.subjects.entry((key.0, key.1.clone())).or_default() += 1;
        self.due.insert((deadline, key.clone()));
        self.open.insert(key, Request { deadline, wanted, got: 0, over: false });
        true
    }

    fn forget(&mut self, key: &Key) {
        let Some(request) = self.open.remove(key) else { return };
        self.due.remove(&(due_at(&request), key.clone()));
        let subject = (key.0, key.1.clone());
        if let Some(count) = self.subjects.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                self.subjects.remove(&subject);
            }
        }
    }

    /// A reply arrived. Returns whether the requester still wants it.
    fn wants(&mut self, key: &Key, now: Nanos) -> bool {
        let Some(request) = self.open.get_mut(key) else { return true };
        if request.over || now >= request.deadline {
            return false;
        }
        request.got += 1;
        match (request.wanted, request.got) {
            (0, _) => self.forget(key),
            (wanted, got) if got == wanted => self.end(key),
            _ => {}
        }
        true
    }

    /// A request gathers no more; it is remembered, for what comes too late.
    fn end(&mut self, key: &Key) {
        let Some(request) = self.open.get_mut(key) else { return };
        self.due.remove(&(due_at(request), key.clone()));
        request.over = true;
        if request.wanted > 0 {
            self.gathered.push((key.clone(), request.got));
        }
        self.due.insert((due_at(request), key.clone()));
    }

    fn pass_time(&mut self, now: Nanos) {
        while let Some((at, key)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            match self.open.get(&key) {
                Some(request) if !request.over => self.end(&key),
                Some(_) => self.forget(&key),
                None => {
                    self.due.remove(&(at, key));
                }
            }
        }
    }
}

/// When a request ends, or is forgotten.
fn due_at(request: &Request) -> Nanos {
    let late = if request.over { LATE_NANOS_MAX } else { 0 };
    Nanos(request.deadline.0.saturating_add(late))
}

impl Shard {
    /// Looks after the replies to a request that asks for it by its headers.
    #[cold]
    pub(super) fn watch_request(&mut self, account: AccountId, publish: &Publish<'_>) {
        let block = &publish.payload[..publish.header_bytes as usize];
        let gather = headers::find(block, headers::GATHER);
        let wanted = gather.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let deadline = deadline(block, self.identity.unix_epoch_nanos);
        let reply = publish.reply.and_then(|reply| std::str::from_utf8(reply).ok());
        let (Some(reply), true) = (reply, deadline.is_some() || wanted > 0) else { return };
        let now = self.delivery.now;
        let deadline = deadline.unwrap_or(Nanos(now.0.saturating_add(GATHER_NANOS_MAX)));
        let key = (account, Box::from(reply), publish.correlation_id);
        if !self.requests.watch(key, deadline, wanted.min(GATHER_MAX)) {
            self.delivery.counters.add(Counter::RequestsUnwatched, 1);
        }
    }

    /// Whether replies on this subject are looked after.
    #[cold]
    pub(super) fn watches_subject(&mut self, account: AccountId, subject: SubjectId) -> bool {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, _, _) = space.subjects.route(subject, &space.router);
        self.requests.concern(account, subject)
    }

    /// Whether a message of this shard's clients is a reply that comes too late.
    #[cold]
    pub(super) fn is_late(&mut self, account: AccountId, subject: SubjectId, correlation_id: u64) -> bool {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, _, _) = space.subjects.route(subject, &space.router);
        if !self.requests.concern(account, subject) {
            return false;
        }
        let subject = subject.to_owned();
        self.comes_late(account, &subject, correlation_id)
    }

    /// Whether a message is a reply that comes too late; to be asked if its subject is looked after.
    #[cold]
    pub(super) fn comes_late(&mut self, account: AccountId, subject: &str, correlation_id: u64) -> bool {
        let key = (account, Box::from(subject), correlation_id);
        let late = !self.requests.wants(&key, self.delivery.now);
        self.delivery.counters.add(Counter::RepliesLate, u64::from(late));
        late
    }

    pub(super) fn request_time(&mut self, now: Nanos) {
        self.requests.pass_time(now);
    }

    /// Tells requesters that gather no more how many replies they got, behind the last of them.
    #[inline]
    pub(super) fn settle_requests(&mut self, effects: &mut Effects) {
        if !self.requests.gathered.is_empty() {
            self.tell_gathered(effects);
        }
    }

    #[cold]
    fn tell_gathered(&mut self, effects: &mut Effects) {
        for ((account, reply, correlation_id), got) in std::mem::take(&mut self.requests.gathered) {
            let mut block = Vec::new();
            headers::with(b"", &[(headers::GATHERED, got.to_string().as_bytes())], &mut block);
            let header_bytes = block.len() as u32;
            let payload = MeshPayload::Copied(&block);
            let end = Message { account, correlation_id, header_bytes, payload, ..EMPTY };
            self.say(&reply, &end, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(correlation_id: u64) -> Key {
        (AccountId::GLOBAL, "inbox.1".into(), correlation_id)
    }

    #[test]
    fn a_reply_is_wanted_until_the_deadline_and_forgotten_a_while_after() {
        let mut requests = Requests::default();
        assert!(requests.watch(key(1), Nanos(100), 0) && requests.watch(key(2), Nanos(100), 0));
        assert!(!requests.watch(key(2), Nanos(100), 0), "it is known");
        assert!(requests.wants(&key(1), Nanos(99)), "in time");
        requests.pass_time(Nanos(100));
        assert!(!requests.wants(&key(2), Nanos(101)), "late");
        assert!(requests.concern(AccountId::GLOBAL, "inbox.1") && requests.gathered.is_empty());
        requests.pass_time(Nanos(100 + LATE_NANOS_MAX));
        assert!(requests.wants(&key(2), Nanos(200 + LATE_NANOS_MAX)), "forgotten");
        assert_eq!((requests.count(), requests.subjects.len(), requests.due.len()), (0, 0, 0));
    }

    #[test]
    fn a_request_gathers_so_many_replies_or_until_its_deadline() {
        let mut requests = Requests::default();
        requests.watch(key(1), Nanos(100), 2);
        requests.watch(key(2), Nanos(100), 2);
        assert!(requests.wants(&key(1), Nanos(1)) && requests.wants(&key(1), Nanos(2)));
        assert!(!requests.wants(&key(1), Nanos(3)), "two were wanted");
        assert!(requests.wants(&key(2), Nanos(4)));
        assert_eq!(std::mem::take(&mut requests.gathered), [(key(1), 2)]);
        requests.pass_time(Nanos(100));
        assert_eq!(std::mem::take(&mut requests.gathered), [(key(2), 1)]);
        requests.pass_time(Nanos(u64::MAX));
        assert_eq!((requests.count(), requests.due.len()), (0, 0));
    }

    #[test]
    fn only_so_many_requests_are_looked_after() {
        let mut requests = Requests::default();
        (0..REQUESTS_MAX as u64).for_each(|number| assert!(requests.watch(key(number), Nanos(1), 0)));
        assert!(!requests.watch(key(u64::MAX), Nanos(1), 0));
    }
}
