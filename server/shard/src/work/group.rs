//! One queue group on one shard: its members, and the messages that wait for one of them.

use super::balance::{Balance, Choice, Load};
use super::members::{Member, Members};
use super::options::WorkOptions;
use super::stranded::Search;
use super::task::{Envelope, Task, TaskId};
use crate::delivery::Delivery;
use crate::identity::{AccountId, ConnectionId, HashSeed};
use crate::lanes::{LANES, Lane, Scheduler};
use crate::table::Key;
use crate::turn::Turn;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::headers;
use std::cell::Cell;
use std::collections::BTreeSet;

/// Waiting messages of a lane that are looked at for one that a free member may have.
const LOOK_AHEAD: usize = 16;
/// Once so many members were looked at for the messages that wait, no further message is.
const LOOKED_AT_MAX: usize = 1 << 15;
/// Waiting messages that are looked at in one go for those that nobody here wants, and members asked for it.
const STRANDED_LOOK: usize = 1024;
const STRANDED_STEPS: usize = 1 << 14;
/// Stands for a deadline where there is none.
const NEVER: u64 = u64::MAX;

/// Each in its own place: a table that grows moves all it has.
pub type Tasks = HashMap<TaskId, Box<Task>, FixedState>;

/// A message and the member that is to have it.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub id: TaskId,
    /// Key of the member in its group.
    pub member: Key,
    pub subscription: Key,
    pub connection: ConnectionId,
}

/// See the module.
#[derive(Debug)]
pub struct Group {
    pub account: AccountId,
    pub name: Box<str>,
    pub options: WorkOptions,
    pub members: Members,
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
    scheduler: Scheduler,
    /// For messages that nobody here wants.
    pub search: Search,
    /// How often the members of other shards changed.
    pub changes_elsewhere: u64,
}

/// What a group takes in the tables it stands in, beside its members and texts.
const GROUP_BYTES: usize = size_of::<Group>() * 3 / 2 + 384;

impl Group {
    /// Memory it takes, roughly, beside its messages.
    pub fn own_bytes(&self) -> usize {
        GROUP_BYTES + 2 * self.name.len() + self.pattern.len() + self.members.bytes()
    }

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
            members: Members::new(hash_seed),
            mixed: false,
            pattern: pattern.into(),
            waiting: Default::default(),
            waiting_count: 0,
            tasks: 0,
            bytes: 0,
            scheduler: Scheduler::default(),
            search: Search::default(),
            changes_elsewhere: 0,
        }
    }

    /// Recounts what waits.
    pub fn check(&self) {
        self.members.check(&self.options.balance);
        let waiting: usize = self.waiting.iter().map(BTreeSet::len).sum();
        assert_eq!(self.waiting_count, waiting, "messages of a group that wait");
        assert!(waiting + self.in_flight() <= self.tasks, "a message waits or is held, not both");
    }

    /// Whether no more may wait for a member or rest.
    pub fn is_full(&self) -> bool {
        debug_assert!(self.in_flight() <= self.tasks, "what members have is kept");
        self.tasks - self.in_flight() >= self.options.pending_max as usize
    }

    pub fn in_flight(&self) -> usize {
        self.members.held()
    }

    pub fn waiting(&self) -> usize {
        self.waiting_count
    }

    pub fn join(&mut self, subscription: Key, connection: ConnectionId, pattern: &str, native: bool) {
        let other_dialect = self.members.iter().next().is_some_and(|member| member.native != native);
        self.mixed |= *self.pattern != *pattern || other_dialect;
        self.members.join((subscription, connection, native), pattern, &self.options.balance);
    }

    /// A member is given no more. What it holds stays its own.
    pub fn leave(&mut self, member: Key) {
        self.members.leave(member, &self.options.balance);
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

    /// Waiting messages that no member wants, of the next ones to be looked at, and how many those were.
    pub fn stranded(&mut self, tasks: &Tasks, delivery: &Delivery) -> (Vec<TaskId>, usize) {
        let Some((first_lane, place)) = self.search.place() else { return (Vec::new(), 0) };
        let choosy = || self.mixed || self.members.iter().any(|member| member.is_choosy(delivery));
        if self.waiting_count == 0 || !self.members.is_empty() && !choosy() {
            self.search.end();
            return (Vec::new(), 0);
        }
        let most = (STRANDED_STEPS / self.members.count().max(1)).clamp(1, STRANDED_LOOK);
        let lanes = self.waiting.iter().enumerate().skip(first_lane);
        let mut rest = lanes.flat_map(|(lane, queue)| {
            let from = if lane == first_lane { place } else { (0, 0) };
            queue.range(from..).map(move |&place| (lane, place))
        });
        let mut ids: Vec<TaskId> = rest.by_ref().take(most).map(|(_, (_, id))| id).collect();
        let (next, looked_at) = (rest.next(), ids.len());
        self.search.go_on(next);
        ids.retain(|id| self.is_stranded(&tasks[id], delivery));
        (ids, looked_at)
    }

    /// Whether nobody here wants a message, so that it may go to another shard.
    pub fn is_stranded(&self, task: &Task, delivery: &Delivery) -> bool {
        !self.is_wanted(task.envelope(), delivery)
    }

    /// The search goes on from this message, which it has come past.
    pub fn search_from(&mut self, id: TaskId, task: &Task) {
        self.search.go_back((task.lane() as usize, place_of(id, task)));
    }

    /// Whether a message is one for a member.
    pub fn is_wanted(&self, envelope: Envelope<'_>, delivery: &Delivery) -> bool {
        self.members.iter().any(|member| member.wants(envelope, delivery))
    }

    /// Likewise, for whom is charged for the members that were looked at.
    pub fn is_wanted_for(&self, envelope: Envelope<'_>, delivery: &Delivery, turn: &mut Turn<'_>) -> bool {
        let place = self.members.iter().position(|member| member.wants(envelope, delivery));
        turn.charge(place.unwrap_or(self.members.count()));
        place.is_some()
    }

    /// The next message and the member that takes it. The message waits no more. Who caused it is charged
    /// a step for each member that was asked.
    pub fn next(&mut self, tasks: &Tasks, delivery: &Delivery, turn: &mut Turn<'_>) -> Option<Given> {
        let looked_at = Cell::new(0);
        let given = self.find_next(tasks, delivery, turn.random.number(), &looked_at);
        turn.charge(looked_at.get());
        given
    }

    fn find_next(
        &mut self,
        tasks: &Tasks,
        delivery: &Delivery,
        random: u64,
        looked_at: &Cell<usize>,
    ) -> Option<Given> {
        let is_free = |member: &Member| {
            looked_at.update(|count| count + 1);
            self.is_free(member)
        };
        let nobody = || self.is_taken() || !self.members.iter().any(is_free);
        if self.waiting_count == 0 || nobody() {
            return None;
        }
        let lanes = self.lanes_served();
        let waits = |group: &Group, lane: usize| lane < lanes && !group.waiting[lane].is_empty();
        let heads: [usize; LANES] = std::array::from_fn(|lane| usize::from(waits(self, lane)));
        let first = self.scheduler.next(&heads)?;
        let others = Lane::ALL.into_iter().take(lanes).filter(|&lane| lane != first);
        for lane in std::iter::once(first).chain(others) {
            let Some((id, place)) = self.first_of(lane, tasks, delivery, random, looked_at) else { continue };
            self.remove(id, &tasks[&id]);
            let waits = std::array::from_fn(|lane| waits(self, lane));
            self.scheduler.served(lane, 1, waits, delivery.lane_shares());
            let member = self.members.give(place, id);
            let own = self.members.at(place);
            let held = self.members.held_with(own);
            debug_assert!(held <= self.options.in_flight_max, "nobody is given more than it may have");
            return Some(Given { id, member, subscription: own.subscription, connection: own.connection });
        }
        None
    }

    /// The first message of a lane that somebody takes, and the place of that member.
    fn first_of(
        &self,
        lane: Lane,
        tasks: &Tasks,
        delivery: &Delivery,
        random: u64,
        looked_at: &Cell<usize>,
    ) -> Option<(TaskId, usize)> {
        // One at least, of each lane.
        let goes_on = |&(number, _): &(usize, _)| number == 0 || looked_at.get() < LOOKED_AT_MAX;
        let ahead = self.waiting[lane as usize].iter().take(LOOK_AHEAD).enumerate().take_while(goes_on);
        let chosen = |(_, &(_, id))| {
            let task = tasks.get(&id)?;
            Some((id, self.choose(task, delivery, random, looked_at)?))
        };
        { ahead }.find_map(chosen)
    }

    /// Whether a message waits that a member could be given.
    pub fn keeps_waiting(&self, tasks: &Tasks, delivery: &Delivery) -> bool {
        let (mut lanes, looked_at) = (Lane::ALL.into_iter().take(self.lanes_served()), Cell::new(0));
        lanes.any(|lane| self.first_of(lane, tasks, delivery, 0, &looked_at).is_some())
    }

    /// Whether everyone has as much as he may: what the many are asked that come while nobody is free.
    fn is_taken(&self) -> bool {
        let most = self.options.in_flight_max as usize;
        !self.members.some_are_leaving() && self.in_flight() >= self.members.connections() * most
    }

    /// Lanes whose messages may be given out now: the critical one alone, when no more is free than is kept
    /// for it.
    fn lanes_served(&self) -> usize {
        let all = self.members.connections() * self.options.in_flight_max as usize;
        // However much is reserved, the others are not shut out for ever.
        let reserved = (self.options.reserve as usize).min(all.saturating_sub(1));
        if all.saturating_sub(self.in_flight()) > reserved { LANES } else { 1 }
    }

    fn is_free(&self, member: &Member) -> bool {
        let (held, most) = (self.members.held_with(member), self.options.in_flight_max);
        held < most && (!self.options.breaker || held < member.breaker.admits(most))
    }

    /// Of the free members the one that the group's rule says; one that has not had the message before one
    /// that has.
    fn choose(
        &self,
        task: &Task,
        delivery: &Delivery,
        random: u64,
        looked_at: &Cell<usize>,
    ) -> Option<usize> {
        let key = match &self.options.balance {
            Balance::Key(header) => {
                headers::find(task.parts().0, header).map(|value| self.members.ring.hash(value))
            }
            _ => None,
        };
        let among = |tried: bool| {
            let home = key.map(|hash| self.members.along_ring(hash));
            let choice = Choice { count: self.members.count(), turn: self.members.turn(), random, home };
            self.options.balance.choose(choice, |place| {
                looked_at.update(|count| count + 1);
                let member = self.members.at(place);
                let able = self.is_free(member)
                    && self.members.may_have_room(member, task)
                    && task.tried.contains(&member.connection) == tried
                    && member.wants(task.envelope(), delivery);
                able.then_some(Load { outstanding: self.members.held_with(member), ..member.load })
            })
        };
        among(false).or_else(|| if task.tried.is_empty() { None } else { among(true) })
    }
}

fn place_of(id: TaskId, task: &Task) -> (u64, TaskId) {
    (task.deadline.map_or(NEVER, |deadline| deadline.0), id)
}
