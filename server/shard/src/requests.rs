//! Requests whose replies the server looks after: those with a deadline, whose late replies nobody wants, and
//! those that gather several replies.
//!
//! They are kept by the requester's shard, where the replies arrive, by reply subject and correlation id. A
//! request that was answered, or asked for nothing of this, is not kept. Nobody but the requester misses a
//! reply or is told how many there were: what others are subscribed to is no business of its headers.

use super::identity::{AccountId, ConnectionId, HashSeed, Nanos};
use super::metrics::Counter;
use super::router::subjects::SubjectId;
use super::{Effects, Shard};
use crate::delivery::{Message, deadline};
use crate::mesh::batch::MeshPayload;
use crate::work::EMPTY;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::command::Publish;
use ringbolt_protocol::headers;
use ringbolt_protocol::subject::Subject;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

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
    requester: ConnectionId,
    deadline: Nanos,
    /// Replies it gathers; 0: it gathers none.
    wanted: u32,
    got: u32,
    /// It has all it wanted, or its time is over.
    over: bool,
}

/// A request that gathers no more: whose it is, its key, and the replies it got.
type Gathered = (ConnectionId, Key, u32);

#[derive(Debug)]
pub struct Requests {
    open: HashMap<Key, Request, FixedState>,
    /// How many there are by hash of account and reply subject: every message of the shard is looked up here
    /// while there are any.
    subjects: HashMap<u64, u32, FixedState>,
    /// By when something is to be done about them.
    due: BTreeSet<(Nanos, Key)>,
    gathered: Vec<Gathered>,
    state: FixedState,
}

impl Requests {
    /// Clients choose the keys: the seed is one they do not know.
    pub fn new(hash_seed: HashSeed) -> Requests {
        let state = hash_seed.table();
        Requests {
            open: HashMap::with_hasher(state.clone()),
            subjects: HashMap::with_hasher(state.clone()),
            state,
            due: BTreeSet::new(),
            gathered: Vec::new(),
        }
    }

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
        self.subjects.contains_key(&self.hash(account, subject))
    }

    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Looks after the replies to a request from now on. Returns whether there was room.
    fn watch(&mut self, key: Key, requester: ConnectionId, deadline: Nanos, wanted: u32) -> bool {
        if self.open.len() >= REQUESTS_MAX || self.open.contains_key(&key) {
            return false;
        }
        let subject = self.hash(key.0, &key.1);
        *self.subjects.entry(subject).or_default() += 1;
        self.due.insert((deadline, key.clone()));
        self.open.insert(key, Request { requester, deadline, wanted, got: 0, over: false });
        true
    }

    fn forget(&mut self, key: &Key) {
        let Some(request) = self.open.remove(key) else { return };
        self.due.remove(&(due_at(&request), key.clone()));
        let subject = self.hash(key.0, &key.1);
        if let Some(count) = self.subjects.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                self.subjects.remove(&subject);
            }
        }
    }

    /// A reply arrived. Returns the requester if it does not want it any more.
    fn late(&mut self, key: &Key, now: Nanos) -> Option<ConnectionId> {
        let request = self.open.get_mut(key)?;
        if request.over || now >= request.deadline {
            return Some(request.requester);
        }
        request.got += 1;
        match (request.wanted, request.got) {
            (0, _) => self.forget(key),
            (wanted, got) if got == wanted => self.end(key),
            _ => {}
        }
        None
    }

    /// A request gathers no more; it is remembered, for what comes too late.
    fn end(&mut self, key: &Key) {
        let Some(request) = self.open.get_mut(key) else { return };
        self.due.remove(&(due_at(request), key.clone()));
        request.over = true;
        if request.wanted > 0 {
            self.gathered.push((request.requester, key.clone(), request.got));
        }
        self.due.insert((due_at(request), key.clone()));
    }

    fn hash(&self, account: AccountId, subject: &str) -> u64 {
        self.state.hash_one((account, subject))
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
    pub(super) fn watch_request(&mut self, id: ConnectionId, account: AccountId, publish: &Publish<'_>) {
        let block = &publish.payload[..publish.header_bytes as usize];
        let gather = headers::find(block, headers::GATHER);
        let wanted = gather.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let deadline = deadline(block, self.identity.unix_epoch_nanos);
        let reply = publish.reply.and_then(|reply| Subject::relaxed(reply).ok());
        let (Some(reply), true) = (reply, deadline.is_some() || wanted > 0) else { return };
        let now = self.delivery.now;
        let deadline = deadline.unwrap_or(Nanos(now.0.saturating_add(GATHER_NANOS_MAX)));
        let key = (account, Box::from(reply.as_str()), publish.correlation_id);
        if !self.requests.watch(key, id, deadline, wanted.min(GATHER_MAX)) {
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

    /// The connection that does not want a message of this shard's clients any more: a reply too late.
    #[cold]
    pub(super) fn late_for(
        &mut self,
        account: AccountId,
        subject: SubjectId,
        correlation_id: u64,
    ) -> Option<ConnectionId> {
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, _, _) = space.subjects.route(subject, &space.router);
        let subject = self.requests.concern(account, subject).then(|| subject.to_owned())?;
        self.late_for_text(account, &subject, correlation_id)
    }

    /// Likewise, by the subject's text; to be asked if it is looked after.
    #[cold]
    pub(super) fn late_for_text(
        &mut self,
        account: AccountId,
        subject: &str,
        correlation_id: u64,
    ) -> Option<ConnectionId> {
        let late = self.requests.late(&(account, Box::from(subject), correlation_id), self.delivery.now);
        self.delivery.counters.add(Counter::RepliesLate, u64::from(late.is_some()));
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
        for (id, (account, reply, correlation_id), got) in std::mem::take(&mut self.requests.gathered) {
            let mut block = Vec::new();
            headers::with(b"", &[(headers::GATHERED, got.to_string().as_bytes())], &mut block);
            let (header_bytes, payload) = (block.len() as u32, MeshPayload::Copied(&block));
            if self.delivery.sessions.get(id).is_none() {
                continue;
            }
            let end = Message { account, correlation_id, header_bytes, payload, ..EMPTY };
            self.tell(id, &reply, &end, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTER: ConnectionId = ConnectionId { slot: 7, generation: 1 };

    fn key(correlation_id: u64) -> Key {
        (AccountId::GLOBAL, "inbox.1".into(), correlation_id)
    }

    #[test]
    fn a_reply_is_wanted_until_the_deadline_and_forgotten_a_while_after() {
        let mut requests = Requests::new(HashSeed::new(1));
        assert!(
            requests.watch(key(1), REQUESTER, Nanos(100), 0)
                && requests.watch(key(2), REQUESTER, Nanos(100), 0)
        );
        assert!(!requests.watch(key(2), REQUESTER, Nanos(100), 0), "it is known");
        assert_eq!(requests.late(&key(1), Nanos(99)), None, "in time");
        requests.pass_time(Nanos(100));
        assert_eq!(requests.late(&key(2), Nanos(101)), Some(REQUESTER), "late");
        assert!(requests.concern(AccountId::GLOBAL, "inbox.1") && requests.gathered.is_empty());
        requests.pass_time(Nanos(100 + LATE_NANOS_MAX));
        assert_eq!(requests.late(&key(2), Nanos(200 + LATE_NANOS_MAX)), None, "forgotten");
        assert_eq!((requests.count(), requests.subjects.len(), requests.due.len()), (0, 0, 0));
    }

    #[test]
    fn a_request_gathers_so_many_replies_or_until_its_deadline() {
        let mut requests = Requests::new(HashSeed::new(1));
        requests.watch(key(1), REQUESTER, Nanos(100), 2);
        requests.watch(key(2), REQUESTER, Nanos(100), 2);
        let late = [1, 2, 3].map(|at| requests.late(&key(1), Nanos(at)));
        assert_eq!(late, [None, None, Some(REQUESTER)], "two were wanted");
        assert_eq!(requests.late(&key(2), Nanos(4)), None);
        assert_eq!(std::mem::take(&mut requests.gathered), [(REQUESTER, key(1), 2)]);
        requests.pass_time(Nanos(100));
        assert_eq!(std::mem::take(&mut requests.gathered), [(REQUESTER, key(2), 1)]);
        requests.pass_time(Nanos(u64::MAX));
        assert_eq!((requests.count(), requests.due.len()), (0, 0));
    }

    #[test]
    fn only_so_many_requests_are_looked_after() {
        let mut requests = Requests::new(HashSeed::new(1));
        (0..REQUESTS_MAX as u64)
            .for_each(|number| assert!(requests.watch(key(number), REQUESTER, Nanos(1), 0)));
        assert!(!requests.watch(key(u64::MAX), REQUESTER, Nanos(1), 0));
    }
}
