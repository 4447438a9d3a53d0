//! The members of one queue group: who they are, whose turn it is, and what each has in hand.

use super::balance::{Balance, Load};
use super::breaker::Breaker;
use super::ring::Ring;
use super::room::WaitId;
use super::task::{Envelope, Task, TaskId};
use crate::delivery::Delivery;
use crate::identity::{ConnectionId, HashSeed};
use crate::lanes::Lane;
use crate::table::{Key, Table};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::subject::{Pattern, Subject};
use slab::Slab;
use std::collections::BTreeSet;

/// A subscription of the group.
#[derive(Debug)]
pub struct Member {
    /// Key in the shard's table of subscriptions.
    pub subscription: Key,
    pub connection: ConnectionId,
    /// Key of what its connection holds.
    holder: usize,
    /// Its place in the turns; without one it has unsubscribed, and has still to settle what it holds.
    place: Option<u32>,
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
    pub fn matches(&self, subject: &str) -> bool {
        let matches = || {
            let pattern = Pattern::relaxed(self.pattern.as_bytes());
            pattern.is_ok_and(|pattern| pattern.matches(&Subject::trusted(subject)))
        };
        *self.pattern == *subject || matches()
    }

    pub fn is_choosy(&self, delivery: &Delivery) -> bool {
        delivery.is_choosy(self.subscription, self.connection)
    }
}

/// What a connection holds, of all its subscriptions to the group, those it has left included.
#[derive(Clone, Copy, Default, Debug)]
struct Holder {
    held: u32,
    subscriptions: u32,
    refused: Option<Refused>,
}

/// What an outbox had no room for. Until there may be room, only what is smaller and more important is tried:
/// what is as important would take the room that it waits for.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub wait: WaitId,
    pub lane: Lane,
    pub bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Members {
    /// Those that are given messages, and those that have left and have still something to settle.
    table: Table<Member>,
    of_subscription: HashMap<Key, Key, FixedState>,
    /// Numbers of those that are given messages. Before `turn` stand those that had their turn in this round.
    turns: Vec<u32>,
    turn: usize,
    holders: Slab<Holder>,
    holder_of: HashMap<ConnectionId, usize, FixedState>,
    held: usize,
    /// Where keys belong; empty for a group that has none.
    pub ring: Ring,
}

/// What a member takes in the tables it stands in, with what is known of its connection.
const MEMBER_BYTES: usize = size_of::<Member>() + 2 * size_of::<(Key, Key)>();

impl Members {
    /// Memory that those take who are given messages, roughly.
    pub fn bytes(&self) -> usize {
        self.turns.len() * MEMBER_BYTES + self.ring.bytes()
    }

    pub fn new(hash_seed: HashSeed) -> Members {
        Members {
            table: Table::default(),
            of_subscription: HashMap::with_hasher(hash_seed.table()),
            turns: Vec::new(),
            turn: 0,
            holders: Slab::new(),
            holder_of: HashMap::with_hasher(hash_seed.table()),
            held: 0,
            ring: Ring::new(hash_seed),
        }
    }

    pub fn join(
        &mut self,
        (subscription, connection, native): (Key, ConnectionId, bool),
        pattern: &str,
        balance: &Balance,
    ) {
        let new = || self.holders.insert(Holder::default());
        let holder = *self.holder_of.entry(connection).or_insert_with(new);
        self.holders[holder].subscriptions += 1;
        let key = self.table.insert(Member {
            subscription,
            connection,
            holder,
            place: Some(self.turns.len() as u32),
            pattern: pattern.into(),
            native,
            held: BTreeSet::new(),
            load: Load::default(),
            breaker: Breaker::default(),
        });
        self.turns.push(key.index());
        let other = self.of_subscription.insert(subscription, key);
        debug_assert!(other.is_none(), "a subscription joins once");
        if let Balance::Key(_) = balance {
            self.ring.join(connection, holder as u32, key.index());
        }
    }

    /// A member is given no more. What it holds stays its own.
    pub fn leave(&mut self, key: Key, balance: &Balance) {
        let Some(member) = self.table.get_mut(key) else { return };
        let (connection, holder) = (member.connection, member.holder);
        let Some(place) = member.place else { return };
        let known = self.of_subscription.remove(&member.subscription);
        debug_assert_eq!(known, Some(key), "a member is found by its subscription");
        self.close_gap(place as usize);
        self.table[key].place = None;
        if let Balance::Key(_) = balance {
            self.ring.leave(connection, holder as u32, key.index());
        }
        debug_assert!(self.holders[holder].subscriptions > 0, "it was counted when it joined");
        self.holders[holder].subscriptions -= 1;
        self.forget_idle(key);
    }

    /// The place of a member that left is taken by others, so that everyone still has one turn in this round:
    /// those who had it stay before `turn`, and those who have not after it.
    fn close_gap(&mut self, mut gap: usize) {
        debug_assert!(self.turn <= self.turns.len(), "a round ends with the last member");
        if gap < self.turn {
            self.turn -= 1;
            self.turns[gap] = self.turns[self.turn];
            self.table.at_mut(self.turns[gap]).place = Some(gap as u32);
            gap = self.turn;
        }
        self.turns.swap_remove(gap);
        if let Some(&moved) = self.turns.get(gap) {
            self.table.at_mut(moved).place = Some(gap as u32);
        }
    }

    /// Who has left and holds nothing is forgotten, and a connection of which nobody is left.
    fn forget_idle(&mut self, key: Key) {
        let member = &self.table[key];
        let (connection, holder) = (member.connection, member.holder);
        if member.place.is_none() && member.held.is_empty() {
            self.table.remove(key);
        }
        if self.holders[holder].subscriptions == 0 && self.holders[holder].held == 0 {
            self.holders.remove(holder);
            let found = self.holder_of.remove(&connection);
            debug_assert_eq!(found, Some(holder), "a connection is found by its id");
        }
    }

    /// A member is given a message, and has had its turn. Returns its key.
    pub fn give(&mut self, place: usize, id: TaskId) -> Key {
        self.turn = place + 1;
        let index = self.turns[place];
        let member = self.table.at_mut(index);
        let new = member.held.insert(id);
        debug_assert!(new, "a message is given to one member at a time");
        self.held += 1;
        self.holders[member.holder].held += 1;
        self.table.key_at(index)
    }

    /// A message is no longer held by that member. Returns whether that had left and is forgotten.
    pub fn let_go(&mut self, key: Key, id: TaskId) -> bool {
        let Some(member) = self.table.get_mut(key) else { return false };
        if !member.held.remove(&id) {
            return false;
        }
        let holder = &mut self.holders[member.holder];
        debug_assert!(self.held > 0 && holder.held > 0, "it was counted when it was given");
        self.held -= 1;
        holder.held -= 1;
        let last = member.place.is_none() && member.held.is_empty();
        if last {
            self.forget_idle(key);
        }
        last
    }

    /// The connection of a member had no room for a message.
    pub fn had_no_room(&mut self, key: Key, refused: Refused) {
        let Some(member) = self.table.get(key) else { return };
        self.holders[member.holder].refused = Some(refused);
    }

    /// What a connection had no room for last.
    pub fn refused_by(&self, connection: ConnectionId) -> Option<Refused> {
        self.holders[*self.holder_of.get(&connection)?].refused
    }

    /// A connection may have room. Returns what it had none for.
    pub fn ask_again(&mut self, connection: ConnectionId) -> Option<Refused> {
        self.holders[*self.holder_of.get(&connection)?].refused.take()
    }

    /// Whether the connection of a member may have room for such a message.
    pub fn may_have_room(&self, member: &Member, task: &Task) -> bool {
        let refused = &self.holders[member.holder].refused;
        refused.is_none_or(|refused| task.lane() < refused.lane && task.weight() < refused.bytes)
    }

    /// Whether that member of that connection has a message to settle.
    pub fn holds(&self, key: Key, connection: ConnectionId, id: TaskId) -> bool {
        let member = self.table.get(key);
        member.is_some_and(|member| member.connection == connection && member.held.contains(&id))
    }

    /// The member that a subscription is.
    pub fn of(&self, subscription: Key) -> Option<Key> {
        self.of_subscription.get(&subscription).copied()
    }

    /// A member, unless it has left.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Member> {
        self.table.get_mut(key).filter(|member| member.place.is_some())
    }

    /// What a member holds, also after it has left.
    pub fn held_by(&self, key: Key) -> impl Iterator<Item = TaskId> {
        self.table.get(key).into_iter().flat_map(|member| member.held.iter().copied())
    }

    /// Those that have left and have still something to settle.
    pub fn leaving(&self) -> impl Iterator<Item = (Key, &Member)> {
        self.table.iter().filter(|(_, member)| member.place.is_none())
    }

    /// Those that are given messages, with their keys.
    pub fn keyed(&self) -> impl Iterator<Item = (Key, &Member)> {
        self.table.iter().filter(|(_, member)| member.place.is_some())
    }

    /// Connections that had no room last.
    pub fn refusals(&self) -> usize {
        self.holders.iter().filter(|(_, holder)| holder.refused.is_some()).count()
    }

    /// Those that are given messages, in no order that is promised.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.turns.iter().map(|&index| self.table.at(index))
    }

    /// The member at a place in the turns.
    pub fn at(&self, place: usize) -> &Member {
        self.table.at(self.turns[place])
    }

    /// Places of members from the one that a hash belongs to on.
    pub fn along_ring(&self, hash: u64) -> impl Iterator<Item = usize> {
        self.ring.from(hash).filter_map(|index| self.table.at(index).place).map(|place| place as usize)
    }

    /// Where the search for a member begins.
    pub fn turn(&self) -> usize {
        self.turn
    }

    pub fn count(&self) -> usize {
        self.turns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether some have left and have still something to settle.
    pub fn some_are_leaving(&self) -> bool {
        self.table.len() > self.turns.len()
    }

    pub fn connections(&self) -> usize {
        self.holders.len()
    }

    /// Messages that members have.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Messages that the connection of a member has.
    pub fn held_with(&self, member: &Member) -> u32 {
        self.holders[member.holder].held
    }

    /// Recounts who is there and what they have.
    pub fn check(&self, balance: &Balance) {
        let held: usize = self.table.iter().map(|(_, member)| member.held.len()).sum();
        assert_eq!(self.held, held, "messages that members have");
        let holders: u32 = self.holders.iter().map(|(_, holder)| holder.held).sum();
        assert_eq!(self.held, holders as usize, "messages that connections have");
        let subscriptions: u32 = self.holders.iter().map(|(_, holder)| holder.subscriptions).sum();
        assert_eq!(self.turns.len(), subscriptions as usize, "subscriptions of all connections");
        assert_eq!(self.turns.len(), self.of_subscription.len(), "a member is found by its subscription");
        assert_eq!(self.holders.len(), self.holder_of.len(), "a connection is found by its id");
        let is_somebody = |(_, holder): (usize, &Holder)| holder.subscriptions > 0 || holder.held > 0;
        assert!(self.holders.iter().all(is_somebody), "who has nothing is forgotten");
        let is_asked = |(_, holder): (usize, &Holder)| holder.refused.is_none() || holder.subscriptions > 0;
        assert!(self.holders.iter().all(is_asked), "who is given nothing refuses nothing");
        let mut placed = 0;
        for (key, member) in self.table.iter() {
            assert!(member.place.is_some() || !member.held.is_empty(), "who has nothing has left");
            let there = member.place.is_none_or(|place| self.turns[place as usize] == key.index());
            assert!(there, "a member is at its place");
            placed += usize::from(member.place.is_some());
        }
        assert_eq!(self.turns.len(), placed, "every place is a member's");
        let keyed = matches!(balance, Balance::Key(_));
        assert_eq!(self.ring.check(), if keyed { placed } else { 0 }, "members on the ring");
    }
}
