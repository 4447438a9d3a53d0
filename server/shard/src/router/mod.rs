//! Who wants a subject: this shard's subscriptions and the other shards' interest.
//!
//! Patterns without wildcards live in one hash table (the exact-match fast path), the others in a
//! trie of tokens. What a subject matches is cached with the subject (`subjects`), so the structures
//! here are walked once a subject, not once a message.

pub mod entry;
pub mod subjects;
mod subscribers;
pub mod trie;

pub use entry::{GroupRoute, Route};
pub use subscribers::Target;

use super::identity::{HashSeed, ShardId};
use compact_str::CompactString;
use entry::Entry;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ringbolt_protocol::subject::{Pattern, Subject};
use std::hash::BuildHasher;
use trie::{NODE_BYTES, Trie};

/// All interest known to one shard.
#[derive(Debug)]
pub struct Router {
    exact: HashMap<CompactString, Entry, FixedState>,
    wildcards: Trie,
    /// By kind of subject: bumped by every change of a wildcard that subjects of the kind may match. Cached
    /// routes of older generations are stale.
    generations: Box<[u64; KINDS]>,
    /// Memory that patterns and their entries take, but for the nodes of the trie.
    entries_bytes: usize,
    state: FixedState,
}

/// What an entry takes in the table, which is two thirds full.
const EXACT_BYTES: usize = (size_of::<(CompactString, Entry)>() + 1) * 3 / 2;

/// Subjects are told apart by their first token: whose wildcard begins with another one changes nothing for
/// them.
const KINDS: usize = 256;

/// The kind of a subject, or of a pattern's subjects if it begins with a token of its own.
pub fn kind_of(text: &str, state: &FixedState) -> u8 {
    let first = text.split_once('.').map_or(text, |(first, _)| first);
    state.hash_one(first) as u8
}

/// Which cached routes a change made stale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stale {
    /// Only the route of the subject equal to the pattern.
    One,
    /// Any.
    All,
}

impl Router {
    pub fn new(seed: HashSeed) -> Router {
        let state = seed.table();
        Router {
            exact: HashMap::with_hasher(state.clone()),
            wildcards: Trie::new(state.clone()),
            generations: Box::new([1; KINDS]),
            entries_bytes: 0,
            state,
        }
    }

    /// Adds a subscription of this shard; returns how many it now has for that pattern and group.
    pub fn subscribe(&mut self, pattern: Pattern<'_>, group: Option<&str>, target: Target) -> u32 {
        self.change(pattern, group, |entry| entry.add_local(group, target))
    }

    /// Removes one; returns how many are left.
    pub fn unsubscribe(&mut self, pattern: Pattern<'_>, group: Option<&str>, target: Target) -> u32 {
        self.change(pattern, group, |entry| entry.remove_local(group, target))
    }

    /// Another shard has `count` subscriptions of that pattern and group.
    pub fn set_remote(&mut self, pattern: Pattern<'_>, group: Option<&str>, shard: ShardId, count: u32) {
        self.change(pattern, group, |entry| entry.set_remote(group, shard, count));
    }

    /// Computes the route of a subject into `route`, which is cleared first.
    pub fn match_into(&self, subject: Subject<'_>, route: &mut Route) {
        route.clear();
        if let Some(entry) = self.exact.get(subject.as_str()) {
            debug_assert!(!entry.is_empty(), "what nobody wants is not kept");
            route.merge(entry);
        }
        let nodes = self.wildcards.matches(subject, |entry| route.merge(entry));
        route.settle(nodes);
    }

    /// Of the routes of subjects of that kind.
    #[inline]
    pub fn generation(&self, kind: u8) -> u64 {
        self.generations[usize::from(kind)]
    }

    /// Memory that all of it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.entries_bytes + self.wildcards.nodes_bytes()
    }

    /// Memory that a pattern takes at most, as the first to be subscribed to.
    pub fn bytes_of(pattern: Pattern<'_>) -> usize {
        if pattern.has_wildcard() {
            pattern.tokens().count() * NODE_BYTES
        } else {
            exact_bytes(pattern.as_str())
        }
    }

    /// Patterns known, for tests and bounds.
    pub fn patterns(&self) -> usize {
        self.exact.len() + self.wildcards.patterns()
    }

    /// Recounts the patterns.
    pub fn check(&self) {
        assert!(self.exact.values().all(|entry| !entry.is_empty()), "what nobody wants is not kept");
        self.exact.values().for_each(Entry::check);
        self.wildcards.check();
        let own = self.exact.keys().map(|text| exact_bytes(text)).sum::<usize>();
        let entries = self.exact.values().map(Entry::whole_heap_bytes).sum::<usize>();
        assert_eq!(self.entries_bytes, own + entries + self.wildcards.entries_bytes(), "memory of patterns");
    }

    pub fn staleness(pattern: Pattern<'_>) -> Stale {
        if pattern.has_wildcard() { Stale::All } else { Stale::One }
    }

    /// A wildcard changes.
    fn outdate(&mut self, pattern: &str) {
        if pattern.starts_with(['*', '>']) {
            self.generations.iter_mut().for_each(|generation| *generation += 1);
        } else {
            self.generations[usize::from(kind_of(pattern, &self.state))] += 1;
        }
    }

    fn change<R>(
        &mut self,
        pattern: Pattern<'_>,
        group: Option<&str>,
        edit: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        let (mut before, mut after) = (0, 0);
        let counted = |entry: &mut Entry| {
            before = entry.heap_bytes(group);
            let result = edit(entry);
            after = entry.heap_bytes(group);
            result
        };
        let result = if pattern.has_wildcard() {
            self.outdate(pattern.as_str());
            self.wildcards.change(pattern, counted)
        } else {
            let text = pattern.as_str();
            let own_bytes = exact_bytes(text);
            if !self.exact.contains_key(text) {
                self.exact.insert(text.into(), Entry::default());
                self.entries_bytes += own_bytes;
            }
            let entry = self.exact.get_mut(text).expect("inserted above");
            let result = counted(entry);
            if entry.is_empty() {
                self.exact.remove(text);
                self.entries_bytes -= own_bytes;
            }
            result
        };
        debug_assert!(self.entries_bytes + after >= before, "what ends was counted");
        self.entries_bytes = self.entries_bytes + after - before;
        result
    }
}

/// What a pattern without wildcards takes: a short one has no memory of its own.
fn exact_bytes(text: &str) -> usize {
    EXACT_BYTES + if text.len() > size_of::<CompactString>() { text.len() } else { 0 }
}
