//! Messages that must be acknowledged: queue groups whose members settle what they are given.
//!
//! A message of such a group is kept by the shard that has the member until it is acknowledged or dead.
//! All of it is in memory and bounded: a group by `pending`, a member by `inflight`, the shard by
//! `work_bytes_max`.

pub mod acknowledgement;
pub mod balance;
pub mod breaker;
mod bury;
mod check;
pub mod death;
mod group;
mod hand_over;
pub mod letters;
mod members;
mod offers;
pub mod options;
pub mod ring;
mod room;
pub mod seen;
mod serve;
mod settle;
mod stranded;
pub mod task;
mod time;
mod wheel;

use crate::identity::{AccountId, ConnectionId, HashSeed, Nanos};
use crate::lanes::Lane;
use crate::outcome::{BreakerChange, Outcome};
use crate::random::Random;
use crate::steps::{KEEP_STEPS, RING_STEPS};
use crate::table::{Key, Table};
use crate::turn::Turn;
use death::Death;
use foldhash::fast::FixedState;
use group::{Given, Group, Tasks};
use hashbrown::HashMap;
use letters::Letters;
use members::Refused;
use offers::Offers;
use options::WorkOptions;
use room::Rooms;
use seen::Seen;
use std::collections::{BTreeMap, BTreeSet};
use stranded::Stranded;
use task::{State, Task, TaskId};
use wheel::Wheel;

/// A member that asks for a longer delay waits this long.
const DELAY_NANOS_MAX: u64 = 24 * 3_600_000_000_000;

/// Why a delivery was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    Nak(Option<u64>),
    TimedOut,
    MemberGone,
}

/// All groups of a shard and their messages.
#[derive(Debug)]
pub struct Book {
    groups: Table<Group>,
    names: HashMap<(AccountId, Box<str>), Key, FixedState>,
    tasks: Tasks,
    wheel: Wheel,
    next: TaskId,
    bytes: usize,
    /// What groups take beside their messages.
    groups_bytes: usize,
    /// Messages that members have.
    in_flight: usize,
    /// Waiting messages that have a deadline, by it.
    deadlines: BTreeSet<(Nanos, TaskId)>,
    /// Members whose breakers are open, and their groups, by when these let something through.
    breakers: BTreeSet<(Nanos, Key, Key)>,
    /// Groups and their members that have left and have still something to settle.
    leaving: BTreeMap<ConnectionId, BTreeSet<(Key, Key)>>,
    /// Groups that may have something to deliver.
    ready: Vec<Key>,
    /// There is something in `ready`, `rooms` or `stranded` to be looked at when the event is handled.
    unsettled: bool,
    rooms: Rooms,
    stranded: Stranded,
    offers: Offers,
    /// Connections that may have other messages than before.
    changed: BTreeSet<ConnectionId>,
    seen: Seen,
    /// Messages that died.
    letters: Letters,
    hash_seed: HashSeed,
}

impl Book {
    pub fn new(hash_seed: HashSeed) -> Book {
        let state = hash_seed.table();
        Book {
            groups: Table::default(),
            names: HashMap::with_hasher(state.clone()),
            tasks: HashMap::with_hasher(state),
            wheel: Wheel::default(),
            letters: Letters::default(),
            next: 1,
            bytes: 0,
            groups_bytes: 0,
            in_flight: 0,
            deadlines: BTreeSet::new(),
            breakers: BTreeSet::new(),
            leaving: BTreeMap::new(),
            ready: Vec::new(),
            unsettled: false,
            rooms: Rooms::default(),
            stranded: Stranded::default(),
            offers: Offers::default(),
            changed: BTreeSet::new(),
            seen: Seen::new(hash_seed),
            hash_seed,
        }
    }

    fn name_of(&self, group: Key) -> Option<&str> {
        self.groups.get(group).map(|group| &*group.name)
    }

    /// Dead letters that are kept, and their bytes.
    pub fn letters_kept(&self) -> (u64, u64) {
        (self.letters.count() as u64, self.letters.bytes() as u64)
    }

    /// A subscription becomes a member; the options of the first are the group's.
    pub fn join(
        &mut self,
        account: AccountId,
        name: &str,
        options: WorkOptions,
        pattern: &str,
        (subscription, connection, native): (Key, ConnectionId, bool),
    ) -> Key {
        let name: Box<str> = name.into();
        let (groups, count) = (&mut self.groups, self.names.len());
        let key = *self.names.entry((account, name)).or_insert_with_key(|(account, name)| {
            groups.insert(Group::new(*account, name, options.clone(), pattern, self.hash_seed))
        });
        let is_new = self.names.len() > count;
        debug_assert_eq!(self.groups.len(), self.names.len(), "a name is that of a group");
        let group = &mut self.groups[key];
        let before = if is_new { 0 } else { group.own_bytes() };
        if group.members.is_empty() {
            group.options = options;
        }
        group.join(subscription, connection, pattern, native);
        self.groups_bytes += group.own_bytes() - before;
        self.wake(key);
        key
    }

    /// Steps that it takes to join a group or to leave it, beside those of the subscription.
    pub fn membership_steps(&self, key: Key) -> usize {
        match self.groups[key].options.balance {
            balance::Balance::Key(_) => RING_STEPS,
            _ => 0,
        }
    }

    /// A subscription ends. If its connection does too, others get what it had, at once; otherwise it may
    /// still settle that.
    pub fn leave(&mut self, key: Key, subscription: Key, gone: bool, turn: &mut Turn<'_>) {
        let Some(member) = self.groups[key].members.of(subscription) else { return };
        if gone {
            self.give_back(key, subscription, usize::MAX, turn);
        }
        let Some(left) = self.groups[key].members.get_mut(member) else { return };
        let connection = left.connection;
        if let breaker::State::Open(until) = left.breaker.state() {
            let known = self.breakers.remove(&(until, key, member));
            debug_assert!(known, "a breaker that is open is known");
        }
        if !left.held.is_empty() {
            self.leaving.entry(connection).or_default().insert((key, member));
        }
        // What it could not be given, another subscription of its connection may be.
        self.ask_again(key, connection);
        let group = &mut self.groups[key];
        self.groups_bytes -= group.own_bytes();
        group.leave(member);
        self.groups_bytes += group.own_bytes();
        self.look_for_stranded(key);
        self.wake(key);
        self.forget_if_over(key);
    }

    /// Others get what a subscription holds whose connection ends, at most so many messages. Returns how
    /// many.
    pub fn give_back(&mut self, key: Key, subscription: Key, most: usize, turn: &mut Turn<'_>) -> usize {
        let members = &self.groups[key].members;
        let held = members.of(subscription).into_iter().flat_map(|member| members.held_by(member));
        let held: Vec<TaskId> = held.take(most).collect();
        self.fail_all(&held, turn)
    }

    /// A connection ends: others get what it still holds of subscriptions that ended before, at most so many
    /// messages. Returns how many.
    pub fn connection_gone(&mut self, connection: ConnectionId, most: usize, turn: &mut Turn<'_>) -> usize {
        let left = self.leaving.get(&connection).into_iter().flatten();
        let held = left.flat_map(|&(key, member)| self.groups[key].members.held_by(member));
        let held: Vec<TaskId> = held.take(most).collect();
        let failed = self.fail_all(&held, turn);
        debug_assert!(
            failed == most || !self.leaving.contains_key(&connection),
            "with what it held it has left for good"
        );
        failed
    }

    fn fail_all(&mut self, held: &[TaskId], turn: &mut Turn<'_>) -> usize {
        turn.charge(held.len() * KEEP_STEPS);
        held.iter().for_each(|&id| self.fail(id, Failure::MemberGone, turn));
        held.len()
    }

    /// Takes a message in. A full group or shard sheds what is less important, or the message itself. Returns
    /// its number if it is kept, and how many were shed.
    fn add(&mut self, task: Task, bytes_max: usize) -> (Option<TaskId>, u64) {
        debug_assert_eq!(task.state, State::Waiting, "a new message waits");
        let (key, lane) = (task.group, task.lane());
        let bytes = task.weight();
        let mut shed = 0;
        while !self.has_room_for(&task, bytes_max) {
            let full = self.groups[key].is_full();
            // What the shard has no room for, the group gives that takes most of it.
            let most = if full { None } else { self.largest_but(key).and_then(Group::least) };
            let own = || self.groups[key].least_below(lane);
            let Some(id) = most.or_else(own) else { return (None, shed + 1) };
            let gone = self.finish(id);
            debug_assert!(gone.is_some(), "what is shed was kept");
            shed += 1;
        }
        let id = self.next;
        self.next += 1;
        self.bytes += bytes;
        debug_assert!(self.bytes <= bytes_max, "the shard has room for all it keeps");
        let group = &mut self.groups[key];
        group.tasks += 1;
        group.bytes += bytes;
        group.put(id, &task);
        self.deadlines.extend(task.deadline.map(|deadline| (deadline, id)));
        self.wake(key);
        let other = self.tasks.insert(id, Box::new(task));
        debug_assert!(other.is_none(), "a number is never used again");
        (Some(id), shed)
    }

    /// Whether its group and the shard have room for a message.
    fn has_room_for(&self, task: &Task, bytes_max: usize) -> bool {
        !self.groups[task.group].is_full() && self.bytes + task.weight() <= bytes_max
    }

    /// The group that takes most of the memory, if it is not this one.
    #[cold]
    fn largest_but(&self, key: Key) -> Option<&Group> {
        let (largest, group) = self.groups.iter().max_by_key(|(_, group)| group.bytes)?;
        (largest != key && group.bytes > self.groups[key].bytes).then_some(group)
    }

    /// A member was given a message.
    fn given(&mut self, given: Given, now: Nanos) {
        let Some(task) = self.tasks.get_mut(&given.id) else { return };
        debug_assert_eq!(task.state, State::Waiting, "a message is given to one member at a time");
        debug_assert!(task.accepted <= now, "time does not go back");
        let wait = self.groups[task.group].options.wait_nanos;
        let timer = self.wheel.start(Nanos(now.0 + wait), given.id);
        let Given { member, connection, .. } = given;
        task.state = State::InFlight { member, connection, timer: Some(timer) };
        if let Some(deadline) = task.deadline {
            self.deadlines.remove(&(deadline, given.id));
        }
        self.in_flight += 1;
        task.attempts = task.attempts.saturating_add(1);
        task.delivered = now;
        if !task.tried.contains(&given.connection) {
            task.tried.push(given.connection);
        }
    }

    /// A member could not be given a message after all.
    fn not_given(&mut self, given: Given) {
        let Some(task) = self.tasks.get(&given.id) else { return };
        debug_assert_eq!(task.state, State::Waiting, "it was given to nobody yet");
        let group = &mut self.groups[task.group];
        let holds = group.members.holds(given.member, given.connection, given.id);
        debug_assert!(holds, "it was to have it");
        group.put(given.id, task);
        group.members.let_go(given.member, given.id);
    }

    /// The connection of a member takes no message that is as large and no more important, until something
    /// has left its outbox; or, if `later`, until time passed.
    fn refused(&mut self, given: Given, (lane, bytes): (Lane, usize), later: bool) {
        let Some(task) = self.tasks.get(&given.id) else { return };
        let group = &mut self.groups[task.group];
        let before = group.members.refused_by(given.connection);
        let wait = match before {
            Some(refused) => refused.wait,
            None => self.rooms.wait(given.connection, task.group),
        };
        if later {
            self.rooms.ask_later(given.connection);
        }
        group.members.had_no_room(given.member, Refused { wait, lane, bytes });
        self.not_given(given);
    }

    /// A connection may have room for what a group has. Returns whether it had none before.
    fn ask_again(&mut self, key: Key, connection: ConnectionId) -> bool {
        let Some(group) = self.groups.get_mut(key) else { return false };
        let Some(refused) = group.members.ask_again(connection) else { return false };
        self.rooms.end(connection, refused.wait);
        true
    }

    /// Something of a connection's outbox has left.
    #[inline]
    pub fn room_of(&mut self, connection: ConnectionId) {
        if !self.rooms.is_empty() {
            self.offer(connection);
        }
    }

    #[cold]
    fn offer(&mut self, connection: ConnectionId) {
        self.rooms.left(connection);
        self.unsettled |= !self.rooms.is_settled();
    }

    fn has_expired(&self, id: TaskId, now: Nanos) -> bool {
        let deadline = self.tasks.get(&id).and_then(|task| task.deadline);
        deadline.is_some_and(|deadline| deadline <= now)
    }

    fn fail(&mut self, id: TaskId, failure: Failure, turn: &mut Turn<'_>) {
        let Some(task) = self.tasks.get(&id) else { return };
        debug_assert!(matches!(task.state, State::InFlight { .. }), "only who has a message fails it");
        // Who asks for a delay works, and who is gone is not given any more.
        if let (State::InFlight { member: key, .. }, Failure::Nak(None) | Failure::TimedOut) =
            (task.state, failure)
        {
            let group = &mut self.groups[task.group];
            let member = group.members.get_mut(key).filter(|_| group.options.breaker);
            if member.is_some_and(|member| member.breaker.failed(turn.now)) {
                let group = task.group;
                self.breaker_changed(group, key, turn);
            }
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.overload = matches!(failure, Failure::Nak(Some(_)) | Failure::TimedOut);
        let options = &self.groups[task.group].options;
        if task.tried.len() >= usize::from(options.poison_members) {
            return self.die(id, Death::Poison, turn);
        }
        if task.attempts >= options.deliveries_max {
            return self.die(id, Death::Exhausted, turn);
        }
        let rest = match failure {
            Failure::Nak(Some(delay)) => delay.min(DELAY_NANOS_MAX),
            Failure::MemberGone => 0,
            Failure::Nak(None) | Failure::TimedOut => {
                backoff(options.backoff_nanos, task.attempts, turn.random)
            }
        };
        self.take_back(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let key = task.group;
        if rest == 0 {
            self.wait(id);
        } else {
            task.state = State::Resting(self.wheel.start(Nanos(turn.now.0.saturating_add(rest)), id));
            self.wake(key);
        }
    }

    /// A message waits for a member again.
    fn wait(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.state = State::Waiting;
        let key = task.group;
        self.groups[key].put(id, task);
        self.deadlines.extend(task.deadline.map(|deadline| (deadline, id)));
        // Who wanted it may have left meanwhile.
        self.stranded.look_at(id);
        self.wake(key);
    }

    fn die(&mut self, id: TaskId, death: Death, turn: &mut Turn<'_>) {
        if let Some(task) = self.finish(id) {
            turn.outcomes.push(Outcome::Dead(death, task));
        }
    }

    /// Lets go of a message, wherever it is.
    fn finish(&mut self, id: TaskId) -> Option<Box<Task>> {
        self.take_back(id);
        let task = self.tasks.remove(&id)?;
        assert!(task.weight() <= self.bytes, "it was counted when it was kept");
        self.bytes -= task.weight();
        let group = &mut self.groups[task.group];
        assert!(group.tasks > 0 && task.weight() <= group.bytes, "its group counted it too");
        group.tasks -= 1;
        group.bytes -= task.weight();
        self.wake(task.group);
        self.forget_if_over(task.group);
        Some(task)
    }

    /// From its queue, its rest or its member; what state it is in then is the caller's to say.
    fn take_back(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let key = task.group;
        let group = &mut self.groups[key];
        match task.state {
            State::Waiting => {
                group.remove(id, task);
                if let Some(deadline) = task.deadline {
                    self.deadlines.remove(&(deadline, id));
                }
            }
            // The answer will find that it is another's no more.
            State::Offered(_) => {}
            State::Resting(timer) => {
                debug_assert!(self.wheel.is_of(timer, id), "a timer belongs to its message");
                self.wheel.stop(timer);
            }
            State::InFlight { member, connection, timer } => {
                let holds = group.members.holds(member, connection, id);
                debug_assert!(holds, "a message is held by whom it says");
                debug_assert!(
                    timer.is_none_or(|timer| self.wheel.is_of(timer, id)),
                    "a timer belongs to its message"
                );
                timer.into_iter().for_each(|timer| self.wheel.stop(timer));
                debug_assert!(self.in_flight > 0, "it was counted when it was given");
                self.in_flight -= 1;
                if group.members.let_go(member, id) {
                    self.forget_leaving(connection, (key, member));
                }
            }
        }
    }

    /// Who had left has settled the last of what it held.
    #[cold]
    fn forget_leaving(&mut self, connection: ConnectionId, member: (Key, Key)) {
        let Some(members) = self.leaving.get_mut(&connection) else { return };
        members.remove(&member);
        if members.is_empty() {
            self.leaving.remove(&connection);
        }
    }

    /// Whether a group may have something to deliver, or messages that nobody here wants.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Whether messages may have nobody here who wants them.
    pub fn has_stranded(&self) -> bool {
        !self.stranded.is_settled()
    }

    /// What waits in a group may have nobody here who wants it, or another shard who does.
    fn look_for_stranded(&mut self, key: Key) {
        if let Some(group) = self.groups.get_mut(key).filter(|group| group.waiting() > 0) {
            group.search.begin();
            self.stranded.look_at_group(key);
            self.unsettled = true;
        }
    }

    /// Members may have other messages than before.
    fn rights_changed_in(&mut self, key: Key) {
        self.look_for_stranded(key);
        self.wake(key);
    }

    /// A connection may have other messages than before: its groups are looked at when time passed, however
    /// often it changes its mind.
    pub fn rights_changed_of(&mut self, connection: ConnectionId) {
        self.changed.insert(connection);
    }

    /// Another shard has other members of a group than before, or they may have other messages.
    pub fn members_elsewhere(&mut self, account: AccountId, name: &str) {
        if let Some(&key) = self.names.get(&(account, name.into())) {
            self.groups[key].changes_elsewhere += 1;
            self.look_for_stranded(key);
        }
    }

    pub fn group_of(&self, key: Key) -> Option<(AccountId, &str)> {
        self.groups.get(key).map(|group| (group.account, &*group.name))
    }

    /// Has it told that a member's breaker changed.
    fn breaker_changed(&mut self, group: Key, key: Key, turn: &mut Turn<'_>) {
        let Some(member) = self.groups[group].members.get_mut(key) else { return };
        if let breaker::State::Open(until) = member.breaker.state() {
            self.breakers.insert((until, group, key));
        }
        let (connection, pattern) = (member.connection, member.pattern.clone());
        let change = BreakerChange { group, connection, pattern, state: member.breaker.state().name() };
        turn.outcomes.push(Outcome::Breaker(change));
        self.wake(group);
    }

    /// There may be something to deliver in a group, once the event is handled.
    fn wake(&mut self, group: Key) {
        self.ready.push(group);
        self.unsettled = true;
    }

    /// A group is forgotten with its last member and its last message.
    fn forget_if_over(&mut self, key: Key) {
        let Some(group) = self.groups.get(key) else { return };
        if group.members.is_empty() && group.tasks == 0 {
            let Some(group) = self.groups.remove(key) else { return };
            self.groups_bytes -= group.own_bytes();
            assert_eq!((group.bytes, group.waiting(), group.in_flight()), (0, 0, 0), "nothing is left in it");
            let named = self.names.remove(&(group.account, group.name));
            debug_assert_eq!(named, Some(key), "a group has its name");
            self.offers.forget(key);
        }
    }

    /// Messages kept, and those of them that a member has.
    pub fn counts(&self) -> (u64, u64) {
        (self.tasks.len() as u64, self.in_flight as u64)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory of groups and their members.
    pub fn groups_bytes(&self) -> usize {
        self.groups_bytes
    }

    /// Memory of dead letters, and of the ids of messages.
    pub fn other_bytes(&self) -> usize {
        self.letters.bytes() + self.seen.bytes()
    }
}

/// Exponential, from the least to the most, with full jitter: any time up to that is as likely, so that what
/// failed together does not come back together.
fn backoff((least, most): (u64, u64), attempts: u16, random: &mut Random) -> u64 {
    debug_assert!(least <= most, "the longest rest is no shorter than the first");
    let doublings = u32::from(attempts.saturating_sub(1)).min(32);
    let longest = least.saturating_mul(1 << doublings).min(most);
    const STEPS: u32 = 1 << 16;
    (u128::from(longest) * u128::from(random.below(STEPS) + 1) / u128::from(STEPS)) as u64
}
