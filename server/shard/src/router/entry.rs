//! The interest in one pattern, and its union over all patterns a subject matches: the route.

use super::subscribers::{Subscribers, Target};
use crate::identity::{ShardId, ShardSet};
use crate::limits::Limits;
use crate::steps::{BYTES_A_STEP, MEMBER_STEPS};
use foldhash::quality::FixedState;
use smallvec::SmallVec;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::rc::Rc;

/// Few, as most subjects have; two take no more room than the head of a longer list.
pub type Targets = SmallVec<[Target; 2]>;

/// Interest in one pattern. Nearly always it is one subscription, which stands where the pattern does:
/// among very many patterns, every pointer followed is a wait for memory.
#[derive(Debug, Default)]
pub(super) enum Entry {
    #[default]
    Nobody,
    One(Target),
    Many(Box<Interest>),
}

/// Interest of more than one subscription, of groups, or of other shards.
#[derive(Debug, Default)]
pub(super) struct Interest {
    plain: Subscribers,
    remote: ShardSet,
    groups: BTreeMap<Rc<str>, Group>,
}

/// What a group takes in its map, which is two thirds full, and its name beside its letters.
const GROUP_BYTES: usize = (size_of::<Group>() + size_of::<Rc<str>>()) * 3 / 2 + 16;

/// One queue group of one pattern.
#[derive(Debug, Default)]
struct Group {
    local: Subscribers,
    remote: Vec<(ShardId, u32)>,
}

impl Entry {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Entry::Nobody)
    }

    pub(super) fn add_local(&mut self, group: Option<&str>, target: Target) -> u32 {
        if self.is_empty() && group.is_none() {
            *self = Entry::One(target);
            return 1;
        }
        let subscribers = self.many().subscribers(group);
        subscribers.push(target);
        subscribers.len() as u32
    }

    pub(super) fn remove_local(&mut self, group: Option<&str>, target: Target) -> u32 {
        let subscribers = self.many().subscribers(group);
        subscribers.remove(target);
        let left = subscribers.len() as u32;
        self.settle(group);
        left
    }

    pub(super) fn set_remote(&mut self, group: Option<&str>, shard: ShardId, count: u32) {
        let interest = self.many();
        match group {
            None if count > 0 => interest.remote.insert(shard),
            None => interest.remote.remove(shard),
            Some(name) => {
                let remote = &mut interest.group(name).remote;
                remote.retain(|&(other, _)| other != shard);
                if count > 0 {
                    remote.push((shard, count));
                    remote.sort_unstable();
                }
                debug_assert!(remote.windows(2).all(|pair| pair[0].0 < pair[1].0), "a shard is there once");
            }
        }
        self.settle(group);
    }

    /// Memory taken beside the enum itself, roughly, but for what groups other than this one take beyond
    /// being there.
    pub(super) fn heap_bytes(&self, group: Option<&str>) -> usize {
        let Entry::Many(interest) = self else { return 0 };
        let of_group = |name: &str| interest.groups.get(name).map_or(0, |group| group.heap_bytes(name));
        interest.heap_bytes() + group.map_or(0, of_group)
    }

    /// All of it, counted anew.
    pub(super) fn whole_heap_bytes(&self) -> usize {
        let Entry::Many(interest) = self else { return 0 };
        let groups = interest.groups.iter().map(|(name, group)| group.heap_bytes(name));
        interest.heap_bytes() + groups.sum::<usize>()
    }

    /// Recounts who is there.
    pub(super) fn check(&self) {
        let Entry::Many(interest) = self else { return };
        interest.plain.check();
        for group in interest.groups.values() {
            group.local.check();
            assert!(
                !group.local.is_empty() || !group.remote.is_empty(),
                "a group without members is forgotten"
            );
        }
    }

    fn many(&mut self) -> &mut Interest {
        if let Entry::Nobody | Entry::One(_) = self {
            let mut interest = Box::<Interest>::default();
            if let Entry::One(target) = self {
                interest.plain.push(*target);
            }
            *self = Entry::Many(interest);
        }
        match self {
            Entry::Many(interest) => interest,
            Entry::Nobody | Entry::One(_) => unreachable!("just made many"),
        }
    }

    /// Forgets the group that changed if it has no members, and takes the shortest form.
    fn settle(&mut self, changed: Option<&str>) {
        let Entry::Many(interest) = self else { return };
        if let Some(name) = changed
            && let Some(group) = interest.groups.get(name)
            && group.local.is_empty()
            && group.remote.is_empty()
        {
            interest.groups.remove(name);
        }
        if interest.remote.is_empty() && interest.groups.is_empty() {
            match interest.plain.only() {
                Some(target) => *self = Entry::One(target),
                None if interest.plain.is_empty() => *self = Entry::Nobody,
                None => {}
            }
        }
    }
}

impl Group {
    fn heap_bytes(&self, name: &str) -> usize {
        self.local.heap_bytes() + self.remote.capacity() * size_of::<(ShardId, u32)>() + name.len()
    }
}

impl Interest {
    /// Without what groups take beyond being there.
    fn heap_bytes(&self) -> usize {
        size_of::<Interest>() + self.plain.heap_bytes() + self.groups.len() * GROUP_BYTES
    }

    fn subscribers(&mut self, group: Option<&str>) -> &mut Subscribers {
        match group {
            None => &mut self.plain,
            Some(name) => &mut self.group(name).local,
        }
    }

    fn group(&mut self, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.into(), Group::default());
        }
        self.groups.get_mut(name).expect("inserted above")
    }
}

/// Everyone a message on one subject goes to.
#[derive(Debug, Default)]
pub struct Route {
    /// Every one of these gets a copy.
    pub plain: Targets,
    /// Every one of these shards gets a copy for its own plain subscriptions.
    pub remote: ShardSet,
    /// One member of each of these gets a copy. By name.
    pub groups: Vec<GroupRoute>,
    /// Every connection is in it once at most: whether several messages may go to one receiver before any
    /// goes to the next.
    pub by_receiver: bool,
    /// The subject is beyond what native clients are promised.
    pub foreign: bool,
    /// A message costs more than its bytes, which whoever sent them pays for anyway.
    costly: Cell<bool>,
    /// Steps that finding the route took, for the first message to pay.
    unpaid: Cell<u32>,
}

/// Beyond so many, messages that come together are delivered one by one.
const BY_RECEIVER_MAX: usize = 1 << 13;

/// What a message to so few costs, its bytes pay for.
const FEW: usize = 4;

/// A queue group over all patterns the subject matches: members of one name are one group.
#[derive(Debug)]
pub struct GroupRoute {
    pub name: Rc<str>,
    pub local: Targets,
    pub remote: Vec<(ShardId, u32)>,
}

impl GroupRoute {
    /// Members on all shards.
    pub fn members(&self) -> u32 {
        self.local.len() as u32 + self.remote.iter().map(|&(_, count)| count).sum::<u32>()
    }

    /// Takes in the members of the same group by another pattern. Returns whether it is the same.
    fn takes_in(&mut self, other: &GroupRoute) -> bool {
        let same = self.name == other.name;
        if same {
            self.local.extend_from_slice(&other.local);
            for &(shard, count) in &other.remote {
                match self.remote.binary_search_by_key(&shard, |&(known, _)| known) {
                    Ok(place) => self.remote[place].1 += count,
                    Err(place) => self.remote.insert(place, (shard, count)),
                }
            }
        }
        same
    }

    /// The shard that a hash belongs to, the same wherever it is asked, each as often as it has members.
    /// When members come or go, only hashes of their shards move (weighted rendezvous hashing).
    pub fn home(&self, own: ShardId, state: &FixedState, hash: u64) -> ShardId {
        let local = std::iter::once((own, self.local.len() as u32));
        let score = |(shard, members): (ShardId, u32)| {
            let number = state.hash_one((shard, hash)) >> 11;
            let chance = (number as f64 + 0.5) / (1u64 << 53) as f64;
            (-f64::from(members) / chance.ln(), shard)
        };
        let scores = self.remote.iter().copied().chain(local).map(score);
        scores
            .max_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal))
            .map_or(own, |best| best.1)
    }

    /// The shard that holds the member `number`, counted behind this shard's own.
    pub fn remote_shard(&self, number: u32) -> Option<ShardId> {
        debug_assert!(number < self.members(), "there is a member of that number");
        let mut rest = number.checked_sub(self.local.len() as u32)?;
        for &(shard, count) in &self.remote {
            if rest < count {
                return Some(shard);
            }
            rest -= count;
        }
        None
    }
}

impl Route {
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.remote.is_empty() && self.groups.is_empty()
    }

    /// Whether [`Route::steps`] are to be charged for a message.
    #[inline]
    pub fn is_costly(&self) -> bool {
        self.costly.get()
    }

    /// Steps that a message, or a run, of so many bytes takes beside reading it and choosing members.
    #[cold]
    pub fn steps(&self, bytes: usize) -> usize {
        let copies = self.copies();
        self.costly.set(copies > FEW || self.groups.len() > FEW);
        let walked = self.walk_steps();
        if copies > FEW { walked + copies * (1 + bytes / BYTES_A_STEP) } else { walked }
    }

    /// Steps that finding the route took, for who asks first.
    pub fn walk_steps(&self) -> usize {
        self.unpaid.take() as usize
    }

    /// Whether a message of so many bytes to those here is more than one piece.
    #[cold]
    pub fn is_wide(&self, bytes: usize, limits: &Limits) -> bool {
        let copied = if bytes < limits.shared_payload_bytes_min { bytes } else { 0 };
        let steps = self.plain.len() * (1 + copied / BYTES_A_STEP) + self.groups.len() * MEMBER_STEPS;
        steps > limits.piece_steps as usize && self.plain.len() + self.groups.len() > FEW
    }

    /// Bytes that a run may have that takes no more steps than these.
    #[cold]
    pub fn bytes_within(&self, steps: i64) -> usize {
        let each = steps / self.copies().max(1) as i64 - 1;
        each.max(0) as usize * BYTES_A_STEP
    }

    fn copies(&self) -> usize {
        self.plain.len() + self.remote.len()
    }

    pub fn group(&self, name: &str) -> Option<&GroupRoute> {
        let place = self.groups.binary_search_by(|group| (*group.name).cmp(name)).ok()?;
        Some(&self.groups[place])
    }

    /// What it takes beside itself, names of groups aside.
    pub(super) fn heap_bytes(&self) -> usize {
        let targets = |targets: &Targets| {
            if targets.spilled() { targets.capacity() * size_of::<Target>() } else { 0 }
        };
        let group = |group: &GroupRoute| {
            targets(&group.local) + group.remote.capacity() * size_of::<(ShardId, u32)>()
        };
        let groups = self.groups.capacity() * size_of::<GroupRoute>();
        targets(&self.plain) + groups + self.groups.iter().map(group).sum::<usize>()
    }

    /// To be called once all entries are merged, for which so many nodes were visited.
    pub(super) fn settle(&mut self, nodes: usize) {
        let members = |group: &GroupRoute| 1 + group.local.len() + group.remote.len();
        let merged = self.plain.len() + self.groups.iter().map(members).sum::<usize>();
        self.unpaid.set((nodes + merged) as u32);
        self.costly.set(true);
        self.groups.sort_by(|one, other| one.name.cmp(&other.name));
        self.groups.dedup_by(|more, kept| kept.takes_in(more));
        debug_assert!(self.groups.iter().all(|group| group.members() > 0), "one of each can be chosen");
        self.by_receiver = self.groups.is_empty()
            && match &self.plain[..] {
                [] | [_] => true,
                // Of so many nobody asks.
                targets if targets.len() > BY_RECEIVER_MAX => false,
                targets => {
                    let mut slots: Vec<u32> = targets.iter().map(|target| target.slot).collect();
                    slots.sort_unstable();
                    slots.windows(2).all(|pair| pair[0] != pair[1])
                }
            };
    }

    pub(super) fn clear(&mut self) {
        self.plain.clear();
        self.remote = ShardSet::default();
        self.groups.clear();
    }

    #[inline]
    pub(super) fn merge(&mut self, entry: &Entry) {
        match entry {
            Entry::Nobody => {}
            Entry::One(target) => self.plain.push(*target),
            Entry::Many(interest) => self.merge_many(interest),
        }
    }

    fn merge_many(&mut self, interest: &Interest) {
        self.plain.extend(interest.plain.iter());
        self.remote = self.remote.union(interest.remote);
        self.groups.extend(interest.groups.iter().map(|(name, group)| GroupRoute {
            name: Rc::clone(name),
            local: group.local.iter().collect(),
            remote: group.remote.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(own: ShardId, members: &[(ShardId, u32)]) -> GroupRoute {
        let target = |number| Target { subscription: number, slot: number };
        let count = members.iter().find(|&&(shard, _)| shard == own).map_or(0, |&(_, count)| count);
        GroupRoute {
            name: "g".into(),
            local: (0..count).map(target).collect(),
            remote: members.iter().copied().filter(|&(shard, _)| shard != own).collect(),
        }
    }

    #[test]
    fn a_hash_has_the_same_home_wherever_it_is_asked() {
        let state = FixedState::with_seed(1);
        let members = [(0, 2u32), (1, 3), (2, 1), (5, 4)];
        let mut counts = [0; 6];
        for hash in 0..10_000 {
            let homes = [0, 1, 2, 3, 5].map(|own| seen_from(own, &members).home(own, &state, hash));
            assert!(homes.windows(2).all(|pair| pair[0] == pair[1]), "{hash}: {homes:?}");
            counts[usize::from(homes[0])] += 1;
        }
        for (shard, count) in members {
            let share = f64::from(counts[usize::from(shard)]) / (1000.0 * f64::from(count));
            assert!((0.9..1.1).contains(&share), "shard {shard} with {count} of 10 members: {counts:?}");
        }
        assert_eq!(counts[3] + counts[4], 0, "no members there");
    }

    #[test]
    fn only_hashes_of_the_shard_that_loses_a_member_move() {
        let state = FixedState::with_seed(1);
        let (before, after) = ([(0, 2u32), (1, 3), (2, 2)], [(0, 2u32), (1, 2), (2, 2)]);
        let home = |members: &[(ShardId, u32)], hash| seen_from(0, members).home(0, &state, hash);
        for hash in 0..10_000 {
            let (was, is) = (home(&before, hash), home(&after, hash));
            assert!(was == is || was == 1, "{hash} moved from {was} to {is}");
        }
    }
}
