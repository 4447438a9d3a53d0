//! One queue group on one shard: its members, and the messages that wait for one of them.

use super::balance::{Balance, Choice, Load, Ring};
use super::breaker::Breaker;
use super::options::WorkOptions;
use super::task::{Envelope, Task, TaskId};
use crate::delivery::Delivery;
use crate::identity::{AccountId, ConnectionId, HashSeed, Nanos};
use crate::lanes::{LANES, Lane, Scheduler};
use crate::table::Key;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::headers;
use ringbolt_protocol::subject::{Pattern, Subject};
use slab::Slab;
use std::collections::BTreeSet;

/// Waiting messages of a lane that are looked at for one that a free member may have.
const LOOK_AHEAD: usize = 16;
/// Waiting messages that are looked at for one that nobody here wants.
const STRANDED_LOOK: usize = 1024;
/// Stands for a deadline where there is none.
const NEVER: u64 = u64::MAX;

pub type Tasks = HashMap<TaskId, Task, FixedState>;

/// A subscription of the group.
#[derive(Debug)]
pub struct Member {
    /// Key in the shard's table of subscriptions.
    pub subscription: Key,
    pub connection: ConnectionId,
    /// Key of what its connection holds.
    holder: usize,
    pub pattern: Box<str>,
    /// It speaks the native dialect.
    pub native: bool,
    /// What it was given and has not settled yet.
    pub held: BTreeSet<TaskId>,
    /// How fast it is and says it is; what it has is in `held`.
    pub load: Load,
    pub breaker: Breaker,
}

impl Member {
    /// Whether a message is one for it, and it may have it.
    pub fn wants(&self, envelope: Envelope<'_>, delivery: &Delivery) -> bool {
        let Envelope { subject, foreign, publisher } = envelope;
        !(foreign && self.native)
            && self.matches(subject)
            && delivery.may_have(self.subscription, self.connection, subject, publisher)
    }

    /// Whether it is subscribed to a subject.
    fn matches(&self, subject: &str) -> bool {
        let matches = || {
            let pattern = Pattern::relaxed(self.pattern.as_bytes());
            pattern.is_ok_and(|pattern| pattern.matches(&Subject::trusted(subject)))
        };
        *self.pattern == *subject || matches()
    }

    fn is_choosy(&self, delivery: &Delivery) -> bool {
        delivery.is_choosy(self.subscription, self.connection)
    }
}

/// What a connection holds, of all its subscriptions to the group, those it has left included.
#[derive(Clone, Copy, Default, Debug)]
struct Holder {
    held: u32,
    subscriptions: u32,
}

/// A message and the member that is to have it.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub id: TaskId,
    pub subscription: Key,
    pub connection: ConnectionId,
}

/// See the module.
#[derive(Debug)]
pub struct Group {
    pub account: AccountId,
    pub name: Box<str>,
    pub options: WorkOptions,
    pub members: Vec<Member>,
    holders: Slab<Holder>,
    holder_of: HashMap<ConnectionId, usize, FixedState>,
    /// Those that unsubscribed and have still to settle what they hold.
    leaving: Vec<Member>,
    /// Members have, or had, different patterns.
    mixed: bool,
    pattern: Box<str>,
    /// By lane: deadline and number. The earliest deadline goes first, and without one the oldest.
    waiting: [BTreeSet<(u64, TaskId)>; LANES],
    waiting_count: usize,
    /// Messages in whatever state, and those of them that a member has.
    pub tasks: usize,
    /// What they take.
    pub bytes: usize,
    held: usize,
    scheduler: Scheduler,
    ring: Ring,
    hash_seed: HashSeed,
    /// Where the search for a member begins.
    turn: usize,
}

impl Group {
    /// `pattern` is that of the first member.
    pub fn new(
        account: AccountId,
        name: &str,
        options: WorkOptions,
        pattern: &str,
        hash_seed: HashSeed,
    ) -> Group {
        Group {
            account,
            name: name.into(),
            options,
            members: Vec::new(),
            holders: Slab::new(),
            holder_of: HashMap::with_hasher(hash_seed.table()),
            leaving: Vec::new(),
            mixed: false,
            pattern: pattern.into(),
            waiting: Default::default(),
            waiting_count: 0,
            tasks: 0,
            bytes: 0,
            held: 0,
            scheduler: Scheduler::default(),
            ring: Ring::new(hash_seed, std::iter::empty()),
            hash_seed,
            turn: 0,
        }
    }

    /// Recounts what waits and what members have.
    pub fn check(&self) {
        let waiting: usize = self.waiting.iter().map(BTreeSet::len).sum();
        assert_eq!(self.waiting_count, waiting, "messages of a group that wait");
        let members = self.members.iter().chain(&self.leaving);
        assert_eq!(
            self.held,
            members.map(|member| member.held.len()).sum::<usize>(),
            "messages that members have"
        );
        let holders: u32 = self.holders.iter().map(|(_, holder)| holder.held).sum();
        assert_eq!(self.held, holders as usize, "messages that connections have");
        assert!(waiting + self.held <= self.tasks, "a message waits or is held, not both");
        let subscriptions: u32 = self.holders.iter().map(|(_, holder)| holder.subscriptions).sum();
        assert_eq!(self.members.len(), subscriptions as usize, "subscriptions of all connections");
        assert_eq!(self.holders.len(), self.holder_of.len(), "a connection is found by its id");
        let is_somebody = |(_, holder): (usize, &Holder)| holder.subscriptions > 0 || holder.held > 0;
        assert!(self.holders.iter().all(is_somebody), "who has nothing is forgotten");
        assert!(self.leaving.iter().all(|member| !member.held.is_empty()), "who has nothing has left");
    }

    /// Whether that subscription of that connection has a message to settle.
    pub fn holds(&self, subscription: Key, connection: ConnectionId, id: TaskId) -> bool {
        let mut all = self.members.iter().chain(&self.leaving);
        let is = |member: &Member| (member.subscription, member.connection) == (subscription, connection);
        all.any(|member| is(member) && member.held.contains(&id))
    }

    /// Whether no more may wait for a member or rest.
    pub fn is_full(&self) -> bool {
        debug_assert!(self.held <= self.tasks, "what members have is kept");
        self.tasks - self.held >= self.options.pending_max as usize
    }

    pub fn in_flight(&self) -> usize {
        self.held
    }

    pub fn waiting(&self) -> usize {
        self.waiting_count
    }

    pub fn join(&mut self, subscription: Key, connection: ConnectionId, pattern: &str, native: bool) {
        debug_assert!(self.member(subscription).is_none(), "a subscription joins once");
        let other_dialect = self.members.first().is_some_and(|member| member.native != native);
        self.mixed |= *self.pattern != *pattern || other_dialect;
        let (pattern, held) = (pattern.into(), BTreeSet::new());
        let (load, breaker) = (Load::default(), Breaker::default());
        let new = || self.holders.insert(Holder::default());
        let holder = *self.holder_of.entry(connection).or_insert_with(new);
        self.holders[holder].subscriptions += 1;
        self.members.push(Member { subscription, connection, holder, pattern, native, held, load, breaker });
        self.renew_ring();
    }

    /// A member is given no more. What it holds stays its own.
    pub fn leave(&mut self, subscription: Key) {
        let gone: Vec<Member> =
            self.members.extract_if(.., |member| member.subscription == subscription).collect();
        debug_assert_eq!(gone.len(), 1, "who leaves is a member, once");
        for member in gone {
            debug_assert!(self.holders[member.holder].subscriptions > 0, "it was counted when it joined");
            self.holders[member.holder].subscriptions -= 1;
            self.forget_holder(member.connection, member.holder);
            if !member.held.is_empty() {
                self.leaving.push(member);
            }
        }
        self.renew_ring();
    }

    /// What the subscriptions of a connection hold that it has unsubscribed.
    pub fn left_by(&self, connection: ConnectionId) -> Vec<TaskId> {
        let own = self.leaving.iter().filter(|member| member.connection == connection);
        own.flat_map(|member| member.held.iter().copied()).collect()
    }

    /// Who neither is a member nor holds anything is nobody.
    fn forget_holder(&mut self, connection: ConnectionId, holder: usize) {
        if self.holders[holder].subscriptions == 0 && self.holders[holder].held == 0 {
            self.holders.remove(holder);
            let found = self.holder_of.remove(&connection);
            debug_assert_eq!(found, Some(holder), "a connection is found by its id");
        }
    }

    /// A message is no longer held by that subscription.
    pub fn let_go(&mut self, subscription: Key, id: TaskId) {
        let mut all = self.members.iter_mut().chain(&mut self.leaving);
        let holds = |member: &mut &mut Member| member.subscription == subscription && member.held.remove(&id);
        let Some(member) = all.find_map(|mut member| holds(&mut member).then_some(member)) else { return };
        let (connection, holder) = (member.connection, member.holder);
        debug_assert!(self.held > 0 && self.holders[holder].held > 0, "it was counted when it was given");
        self.held -= 1;
        self.holders[holder].held -= 1;
        self.leaving.retain(|member| !member.held.is_empty());
        self.forget_holder(connection, holder);
    }

    fn renew_ring(&mut self) {
        if let Balance::Key(_) = self.options.balance {
            // A connection has the same places with all its subscriptions: a key stays with it, whatever the
            // subject.
            let number = |member: &Member| {
                u64::from(member.connection.slot) << 32 | u64::from(member.connection.generation)
            };
            self.ring = Ring::new(self.hash_seed, self.members.iter().map(number));
        }
    }

    pub fn member(&mut self, subscription: Key) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.subscription == subscription)
    }

    /// The member that was given a message, if it is one still and has not settled it.
    pub fn holder(&mut self, subscription: Key, id: TaskId) -> Option<&mut Member> {
        self.member(subscription).filter(|member| member.held.contains(&id))
    }

    pub fn put(&mut self, id: TaskId, task: &Task) {
        let new = self.waiting[task.lane() as usize].insert(place_of(id, task));
        debug_assert!(new, "a message waits once");
        self.waiting_count += usize::from(new);
    }

    pub fn remove(&mut self, id: TaskId, task: &Task) -> bool {
        let removed = self.waiting[task.lane() as usize].remove(&place_of(id, task));
        debug_assert!(removed && self.waiting_count > 0, "a message that waits was put there");
        self.waiting_count -= usize::from(removed);
        removed
    }

    /// The newest message of the least important lane below `lane`.
    pub fn least_below(&self, lane: Lane) -> Option<TaskId> {
        let below = Lane::ALL.into_iter().rev().take_while(|other| *other > lane);
        below.filter_map(|other| self.waiting[other as usize].last()).map(|&(_, id)| id).next()
    }

    /// The newest message of the least important lane.
    pub fn least(&self) -> Option<TaskId> {
        let last = |lane: &BTreeSet<(u64, TaskId)>| lane.last().map(|&(_, id)| id);
        self.waiting.iter().rev().find_map(last)
    }

    /// Waiting messages whose deadline is past.
    pub fn expired(&self, now: Nanos) -> Vec<TaskId> {
        let past = |lane: &BTreeSet<(u64, TaskId)>| {
            lane.range(..=(now.0.min(NEVER - 1), TaskId::MAX)).map(|&(_, id)| id).collect::<Vec<_>>()
        };
        self.waiting.iter().flat_map(past).collect()
    }

    /// Waiting messages that no member wants, of the first so many.
    pub fn stranded(&self, tasks: &Tasks, delivery: &Delivery) -> Vec<TaskId> {
        let choosy = || self.mixed || self.members.iter().any(|member| member.is_choosy(delivery));
        if self.waiting_count == 0 || !self.members.is_empty() && !choosy() {
            return Vec::new();
        }
        let first = self.waiting.iter().flatten().take(STRANDED_LOOK).map(|&(_, id)| id);
        let stays = |task: &Task| {
            let envelope = task.envelope();
            // Else two shards whose members may not have it would hand it to each other for ever.
            let matches = |member: &Member| member.matches(&task.subject);
            let enough = task.handed_over && self.members.iter().any(matches);
            enough || self.is_wanted(envelope, delivery)
        };
        let wanted = |id: &TaskId| tasks.get(id).is_some_and(stays);
        first.filter(|id| !wanted(id)).collect()
    }

    /// Whether a message is one for a member.
    pub fn is_wanted(&self, envelope: Envelope<'_>, delivery: &Delivery) -> bool {
        self.members.iter().any(|member| member.wants(envelope, delivery))
    }

    /// The next message and the member that takes it, unless that is among `full`. The message waits no more.
    pub fn next(&mut self, tasks: &Tasks, delivery: &Delivery, full: &[Key], random: u64) -> Option<Given> {
        let nobody = self.is_taken() || !self.members.iter().any(|member| self.is_free(member));
        if self.waiting_count == 0 || nobody {
            return None;
        }
        let lanes = self.lanes_served();
        let waits = |group: &Group, lane: usize| lane < lanes && !group.waiting[lane].is_empty();
        let heads: [usize; LANES] = std::array::from_fn(|lane| usize::from(waits(self, lane)));
        let first = self.scheduler.next(&heads)?;
        let others = Lane::ALL.into_iter().take(lanes).filter(|&lane| lane != first);
        for lane in std::iter::once(first).chain(others) {
            let candidates = self.waiting[lane as usize].iter().take(LOOK_AHEAD);
            let found = candidates.into_iter().find_map(|&(_, id)| {
                let task = tasks.get(&id)?;
                Some((id, self.choose(task, delivery, full, random)?))
            });
            let Some((id, place)) = found else { continue };
            self.remove(id, &tasks[&id]);
            let waits = std::array::from_fn(|lane| waits(self, lane));
            self.scheduler.served(lane, 1, waits, delivery.lane_shares());
            self.turn = place + 1;
            let member = &mut self.members[place];
            let new = member.held.insert(id);
            debug_assert!(new, "a message is given to one member at a time");
            self.held += 1;
            self.holders[member.holder].held += 1;
            let held = self.holders[member.holder].held;
            debug_assert!(held <= self.options.in_flight_max, "nobody is given more than it may have");
            return Some(Given { id, subscription: member.subscription, connection: member.connection });
        }
        None
    }

    /// Whether everyone has as much as he may: what the many are asked that come while nobody is free.
    fn is_taken(&self) -> bool {
        let most = self.options.in_flight_max as usize;
        self.leaving.is_empty() && self.held >= self.holders.len() * most
    }

    /// Lanes whose messages may be given out now: the critical one alone, when no more is free than is kept
    /// for it.
    fn lanes_served(&self) -> usize {
        let all = self.holders.len() * self.options.in_flight_max as usize;
        // However much is reserved, the others are not shut out for ever.
        let reserved = (self.options.reserve as usize).min(all.saturating_sub(1));
        if all.saturating_sub(self.held) > reserved { LANES } else { 1 }
    }

    fn held_by(&self, member: &Member) -> u32 {
        self.holders[member.holder].held
    }

    fn is_free(&self, member: &Member) -> bool {
        let (held, most) = (self.held_by(member), self.options.in_flight_max);
        held < most && (!self.options.breaker || held < member.breaker.admits(most))
    }

    /// Of the free members the one that the group's rule says; one that has not had the message before one
    /// that has.
    fn choose(&self, task: &Task, delivery: &Delivery, full: &[Key], random: u64) -> Option<usize> {
        let key = match &self.options.balance {
            Balance::Key(header) => headers::find(task.parts().0, header).map(|value| self.ring.hash(value)),
            _ => None,
        };
        let choice = Choice { ring: &self.ring, turn: self.turn, random, key };
        let among = |tried: bool| {
            self.options.balance.choose(self.members.len(), &choice, |place| {
                let member = &self.members[place];
                let able = self.is_free(member)
                    && !full.contains(&member.subscription)
                    && task.tried.contains(&member.connection) == tried
                    && member.wants(task.envelope(), delivery);
                able.then_some(Load { outstanding: self.held_by(member), ..member.load })
            })
        };
        among(false).or_else(|| if task.tried.is_empty() { None } else { among(true) })
    }
}

fn place_of(id: TaskId, task: &Task) -> (u64, TaskId) {
    (task.deadline.map_or(NEVER, |deadline| deadline.0), id)
}
