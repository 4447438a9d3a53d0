//! Requests whose replies the server looks after: those with a deadline, whose late replies nobody wants, and
//! those that gather several replies.
//!
//! They are kept by the requester's shard, where the replies arrive, by reply subject and correlation id. A
//! request that was answered, or asked for nothing of this, is not kept. Nobody but the requester misses a
//! reply or is told how many there were: what others are subscribed to is no business of its headers.

use crate::identity::{AccountId, ConnectionId, HashSeed, Nanos};
use crate::ledger::may_have;
use crate::message::Publication;
use crate::metrics::Counter;
use crate::outcome::{Gathered, Outcome};
use crate::steps::WATCH_STEPS;
use crate::turn::Turn;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::subject::Subject;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::hash::BuildHasher;
use std::rc::Rc;

/// Requests a shard looks after; the replies to more of them are delivered whenever they come.
const REQUESTS_MAX: usize = 65_536;
/// A request is remembered this long after its deadline: a later reply is delivered.
const LATE_NANOS_MAX: u64 = 60_000_000_000;
/// What lies further ahead than this is no deadline of a request.
const DEADLINE_NANOS_MAX: u64 = 24 * 3600 * 1_000_000_000;
/// The deadline of a request that gathers and names none.
const GATHER_NANOS_MAX: u64 = 60_000_000_000;
/// Replies one request may gather.
pub const GATHER_MAX: u32 = 1_000_000;

/// Whose reply it is: account, reply subject and correlation id.
type Key = (AccountId, Rc<str>, u64);

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

#[derive(Debug)]
pub struct Requests {
    open: HashMap<Key, Request, FixedState>,
    /// How many there are by hash of account and reply subject: every message of the shard is looked up here
    /// while there are any.
    subjects: HashMap<u64, u32, FixedState>,
    /// By when something is to be done about them.
    due: BTreeSet<(Nanos, Key)>,
    /// By who asked: a request ends with its client.
    by_requester: BTreeMap<ConnectionId, Own>,
    /// Memory that all of it takes, roughly.
    bytes: usize,
    state: FixedState,
}

/// The requests of one client, and the memory they take.
#[derive(Debug, Default)]
struct Own {
    keys: BTreeSet<Key>,
    bytes: usize,
}

/// What a request takes in the tables it stands in, beside its subject.
const REQUEST_BYTES: usize =
    (2 * size_of::<(Key, Request)>() + size_of::<(Nanos, Key)>() + size_of::<Key>()) * 3 / 2;

fn bytes_of(key: &Key) -> usize {
    REQUEST_BYTES + key.1.len()
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
            by_requester: BTreeMap::new(),
            bytes: 0,
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

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a client may have another request looked after that takes so many bytes.
    fn has_room_for(&self, requester: ConnectionId, bytes: usize, bytes_max: usize) -> bool {
        let own = self.by_requester.get(&requester).map_or((0, 0), |own| (own.keys.len(), own.bytes));
        may_have(own.0, 1, self.open.len(), REQUESTS_MAX) && may_have(own.1, bytes, self.bytes, bytes_max)
    }

    /// Looks after the replies to a request from now on. Returns whether there was room.
    fn watch(
        &mut self,
        key: Key,
        requester: ConnectionId,
        deadline: Nanos,
        wanted: u32,
        bytes_max: usize,
    ) -> bool {
        let bytes = bytes_of(&key);
        if !self.has_room_for(requester, bytes, bytes_max) || self.open.contains_key(&key) {
            return false;
        }
        let subject = self.hash(key.0, &key.1);
        *self.subjects.entry(subject).or_default() += 1;
        self.due.insert((deadline, key.clone()));
        let own = self.by_requester.entry(requester).or_default();
        own.keys.insert(key.clone());
        own.bytes += bytes;
        self.bytes += bytes;
        self.open.insert(key, Request { requester, deadline, wanted, got: 0, over: false });
        debug_assert!(self.open.len() <= REQUESTS_MAX, "what is looked after is bounded");
        debug_assert_eq!(self.open.len(), self.due.len(), "every request is due at some time");
        true
    }

    fn forget(&mut self, key: &Key) {
        let Some(request) = self.open.remove(key) else { return };
        let was_due = self.due.remove(&(due_at(&request), key.clone()));
        debug_assert!(was_due, "a request that is kept is due at some time");
        let bytes = bytes_of(key);
        let Entry::Occupied(mut own) = self.by_requester.entry(request.requester) else {
            unreachable!("a request that is kept is somebody's");
        };
        let was_asked = own.get_mut().keys.remove(key);
        debug_assert!(was_asked, "a request that is kept is somebody's");
        own.get_mut().bytes -= bytes;
        if own.get().keys.is_empty() {
            own.remove();
        }
        self.bytes -= bytes;
        let subject = self.hash(key.0, &key.1);
        debug_assert!(self.subjects.contains_key(&subject), "its subject was counted");
        if let Some(count) = self.subjects.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                self.subjects.remove(&subject);
            }
        }
    }

    /// Looks after the replies to a request that asks for it by its headers, from now on.
    #[cold]
    pub fn watch_asked(&mut self, publication: &Publication<'_>, bytes_max: usize, turn: &mut Turn<'_>) {
        let marks = publication.marks;
        let reply = publication.reply.and_then(|reply| Subject::relaxed(reply).ok());
        let (Some(reply), true) = (reply, marks.deadline.is_some() || marks.gather > 0) else { return };
        debug_assert!(publication.header_bytes > 0, "what is asked for stands in headers");
        turn.charge(WATCH_STEPS);
        let within = |nanos: u64| Nanos(turn.now.0.saturating_add(nanos));
        let deadline = marks.deadline.unwrap_or(within(GATHER_NANOS_MAX)).min(within(DEADLINE_NANOS_MAX));
        let key = (publication.account, Rc::from(reply.as_str()), publication.correlation_id);
        let (requester, wanted) = (publication.publisher.connection, marks.gather.min(GATHER_MAX));
        if !self.watch(key, requester, deadline, wanted, bytes_max) {
            turn.counters.add(Counter::RequestsUnwatched, 1);
        }
    }

    /// A message arrived on a subject that is looked after. Returns the requester if it is a reply that the
    /// requester does not want any more.
    #[cold]
    pub fn late(
        &mut self,
        account: AccountId,
        subject: &str,
        correlation_id: u64,
        turn: &mut Turn<'_>,
    ) -> Option<ConnectionId> {
        let late = self.take_reply(&(account, Rc::from(subject), correlation_id), turn);
        turn.counters.add(Counter::RepliesLate, u64::from(late.is_some()));
        late
    }

    fn take_reply(&mut self, key: &Key, turn: &mut Turn<'_>) -> Option<ConnectionId> {
        let request = self.open.get_mut(key)?;
        if request.over || turn.now >= request.deadline {
            return Some(request.requester);
        }
        request.got += 1;
        debug_assert!(request.wanted == 0 || request.got <= request.wanted, "it was over before");
        match (request.wanted, request.got) {
            (0, _) => self.forget(key),
            (wanted, got) if got == wanted => self.end(key, turn),
            _ => {}
        }
        None
    }

    /// A request gathers no more; it is remembered, for what comes too late.
    fn end(&mut self, key: &Key, turn: &mut Turn<'_>) {
        let Some(request) = self.open.get_mut(key) else { return };
        debug_assert!(!request.over, "a request ends once");
        debug_assert!(request.got <= request.wanted, "it gathers what it wanted at most");
        let was_due = self.due.remove(&(due_at(request), key.clone()));
        debug_assert!(was_due, "a request that is kept is due at some time");
        request.over = true;
        if request.wanted > 0 {
            turn.outcomes.push(Outcome::Gathered(Gathered {
                requester: request.requester,
                account: key.0,
                reply: Rc::clone(&key.1),
                correlation_id: key.2,
                replies: request.got,
            }));
        }
        self.due.insert((due_at(request), key.clone()));
        debug_assert_eq!(self.open.len(), self.due.len(), "every request is due at some time");
    }

    /// A client is gone: nobody waits for its replies. At most so many are forgotten; returns how many were.
    pub fn forget_those_of(&mut self, requester: ConnectionId, most: usize, turn: &mut Turn<'_>) -> usize {
        let mut forgotten = 0;
        while forgotten < most
            && let Some(own) = self.by_requester.get(&requester)
            && let Some(key) = own.keys.first().cloned()
        {
            turn.charge(WATCH_STEPS);
            self.forget(&key);
            forgotten += 1;
        }
        forgotten
    }

    /// Recounts what is kept.
    pub fn check(&self) {
        assert_eq!(self.due.len(), self.open.len(), "every request is due at some time");
        let is_due = |(key, request): (&Key, &Request)| self.due.contains(&(due_at(request), key.clone()));
        assert!(self.open.iter().all(is_due), "a request is due by its deadline");
        let owns = || self.by_requester.values();
        let owned = owns().map(|own| own.keys.len()).sum::<usize>();
        assert_eq!(owned, self.open.len(), "every request is somebody's");
        let bytes = |own: &Own| own.keys.iter().map(bytes_of).sum::<usize>();
        assert!(owns().all(|own| own.bytes == bytes(own) && own.bytes > 0), "memory by requester");
        assert_eq!(self.bytes, owns().map(|own| own.bytes).sum::<usize>(), "memory of all requests");
        let by_subject: u32 = self.subjects.values().sum();
        assert_eq!(by_subject as usize, self.open.len(), "requests by the subjects of their replies");
    }

    fn hash(&self, account: AccountId, subject: &str) -> u64 {
        self.state.hash_one((account, subject))
    }

    pub fn pass_time(&mut self, turn: &mut Turn<'_>) {
        while let Some((at, key)) = self.due.first().filter(|(at, _)| *at <= turn.now).cloned() {
            match self.open.get(&key) {
                Some(request) if !request.over => self.end(&key, turn),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Effects;
    use crate::metrics::Counters;
    use crate::outcome::Outcomes;
    use crate::random::Random;

    const REQUESTER: ConnectionId = ConnectionId { slot: 7, generation: 1 };
    const OTHER: ConnectionId = ConnectionId { slot: 8, generation: 1 };

    /// Where memory is no matter.
    fn watch(requests: &mut Requests, key: Key, from: ConnectionId, deadline: Nanos, wanted: u32) -> bool {
        requests.watch(key, from, deadline, wanted, usize::MAX)
    }

    fn key(correlation_id: u64) -> Key {
        (AccountId::GLOBAL, "inbox.1".into(), correlation_id)
    }

    /// Requests at one moment. Returns what was gathered.
    fn at<R>(now: u64, act: impl FnOnce(&mut Turn<'_>) -> R) -> (R, Vec<Gathered>) {
        let (mut effects, mut counters) = (Effects::default(), Counters::default());
        let (mut random, mut outcomes) = (Random::new(1), Outcomes::default());
        let turn = &mut Turn::new(Nanos(now), &mut effects, &mut counters, &mut random, &mut outcomes);
        let result = act(turn);
        let gathered = std::iter::from_fn(|| outcomes.pop()).filter_map(|outcome| match outcome {
            Outcome::Gathered(gathered) => Some(gathered),
            _ => None,
        });
        (result, gathered.collect())
    }

    fn gathered(correlation_id: u64, replies: u32) -> Gathered {
        let (account, reply, correlation_id) = key(correlation_id);
        Gathered { requester: REQUESTER, account, reply, correlation_id, replies }
    }

    #[test]
    fn a_reply_is_wanted_until_the_deadline_and_forgotten_a_while_after() {
        let mut requests = Requests::new(HashSeed::new(1));
        assert!(
            watch(&mut requests, key(1), REQUESTER, Nanos(100), 0)
                && watch(&mut requests, key(2), REQUESTER, Nanos(100), 0)
        );
        assert!(!watch(&mut requests, key(2), REQUESTER, Nanos(100), 0), "it is known");
        assert_eq!(at(99, |turn| requests.take_reply(&key(1), turn)).0, None, "in time");
        assert_eq!(at(100, |turn| requests.pass_time(turn)).1, [], "nothing was gathered");
        requests.check();
        assert_eq!(at(101, |turn| requests.take_reply(&key(2), turn)).0, Some(REQUESTER), "late");
        assert!(requests.concern(AccountId::GLOBAL, "inbox.1"));
        at(100 + LATE_NANOS_MAX, |turn| requests.pass_time(turn));
        let late = at(200 + LATE_NANOS_MAX, |turn| requests.take_reply(&key(2), turn)).0;
        assert_eq!(late, None, "forgotten");
        assert_eq!((requests.count(), requests.subjects.len(), requests.due.len()), (0, 0, 0));
    }

    #[test]
    fn a_request_gathers_so_many_replies_or_until_its_deadline() {
        let mut requests = Requests::new(HashSeed::new(1));
        watch(&mut requests, key(1), REQUESTER, Nanos(100), 2);
        watch(&mut requests, key(2), REQUESTER, Nanos(100), 2);
        let came = [1, 2, 3].map(|now| at(now, |turn| requests.take_reply(&key(1), turn)));
        assert_eq!(came.each_ref().map(|(late, _)| *late), [None, None, Some(REQUESTER)], "two were wanted");
        assert_eq!(came.map(|(_, gathered)| gathered), [vec![], vec![gathered(1, 2)], vec![]]);
        assert_eq!(at(4, |turn| requests.take_reply(&key(2), turn)).0, None);
        assert_eq!(at(100, |turn| requests.pass_time(turn)).1, [gathered(2, 1)]);
        requests.check();
        at(u64::MAX, |turn| requests.pass_time(turn));
        assert_eq!((requests.count(), requests.due.len()), (0, 0));
    }

    #[test]
    fn one_client_has_half_of_the_requests_looked_after_at_most() {
        let mut requests = Requests::new(HashSeed::new(1));
        let half = REQUESTS_MAX as u64 / 2;
        (0..half).for_each(|number| assert!(watch(&mut requests, key(number), REQUESTER, Nanos(1), 0)));
        assert!(!watch(&mut requests, key(half), REQUESTER, Nanos(1), 0));
        assert!(watch(&mut requests, key(half), OTHER, Nanos(1), 0), "others have room");
    }

    #[test]
    fn requests_are_looked_after_as_far_as_memory_goes() {
        let mut requests = Requests::new(HashSeed::new(1));
        let most = 100 * bytes_of(&key(1));
        let watched = |requests: &mut Requests, from, requester| {
            (from..).take_while(|&number| requests.watch(key(number), requester, Nanos(1), 0, most)).count()
        };
        assert_eq!(watched(&mut requests, 0, REQUESTER), 50);
        assert_eq!(watched(&mut requests, 1000, OTHER), 25);
        assert_eq!(at(1, |turn| requests.forget_those_of(REQUESTER, 10, turn)).0, 10);
        at(1, |turn| requests.forget_those_of(REQUESTER, usize::MAX, turn));
        requests.check();
        assert_eq!(requests.bytes(), 25 * bytes_of(&key(1)));
    }

    #[test]
    fn a_request_ends_with_its_client_and_leaves_room_for_others() {
        let mut requests = Requests::new(HashSeed::new(1));
        for number in 0..1000 {
            assert!(watch(&mut requests, key(number), REQUESTER, Nanos(number), 0));
        }
        assert!(watch(&mut requests, key(u64::MAX), OTHER, Nanos(1), 0));
        assert_eq!(at(1, |turn| requests.forget_those_of(REQUESTER, 10, turn)).0, 10);
        at(1, |turn| requests.forget_those_of(REQUESTER, usize::MAX, turn));
        requests.check();
        assert_eq!((requests.count(), requests.due.len(), requests.subjects.len()), (1, 1, 1));
        assert_eq!(at(2, |turn| requests.take_reply(&key(u64::MAX), turn)).0, Some(OTHER));
    }
}
