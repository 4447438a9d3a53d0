//! The shard's table of subjects: text to a small number, with the route cached beside it.
//!
//! The table is bounded. A subject that a connection interned is pinned; the others are evicted by a
//! clock hand when the table is full. When everything is pinned, a subject is routed through a
//! scratch entry that is overwritten by the next one. Routes take a bounded amount of memory beside: those
//! found first are forgotten first, and found anew when they are asked for.

use super::{Route, Router, kind_of};
use crate::HashSeed;
use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use ringbolt_protocol::subject::Subject;
use ringbolt_protocol::swar;
use std::collections::VecDeque;
use std::hash::BuildHasher;

/// Index of a subject in its shard's table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubjectId(u32);

impl SubjectId {
    /// Of what was not looked up; no entry has it.
    pub const NONE: SubjectId = SubjectId(u32::MAX);
}

/// The entry every unpinned subject shares when the table is full of pinned ones.
const SCRATCH: SubjectId = SubjectId(0);
/// A longer text is routed through the scratch entry: the table is not to be filled with what no program
/// uses.
const TEXT_BYTES_MAX: usize = 256;
/// A place of the index, of which an eighth is free: a number and a byte of its hash.
const INDEX_BYTES: usize = (size_of::<u32>() + 1) * 8 / 7;
/// Generation of a route that was never computed.
const NEVER: u64 = 0;

#[derive(Debug)]
struct Entry {
    text: CompactString,
    hash: u64,
    route: Route,
    /// The router's generation of its kind when `route` was computed.
    generation: u64,
    kind: u8,
    /// It is among those whose routes take memory.
    heavy: bool,
    pins: u32,
    /// Used since the clock hand last passed.
    recent: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Subjects {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    hand: u32,
    subjects_max: usize,
    /// What texts take beside their entries.
    texts_bytes: usize,
    /// What routes take beside their entries, and those who have such, the oldest first.
    routes_bytes: usize,
    routes_bytes_max: usize,
    heavy: VecDeque<SubjectId>,
    state: FixedState,
    pub hits: u64,
    pub misses: u64,
}

impl Subjects {
    pub fn new(seed: HashSeed, subjects_max: usize, routes_bytes_max: usize) -> Subjects {
        assert!(subjects_max < u32::MAX as usize, "every subject has a number");
        let scratch = Entry {
            text: CompactString::default(),
            hash: 0,
            route: Route::default(),
            generation: NEVER,
            kind: 0,
            heavy: false,
            pins: 1,
            recent: false,
        };
        Subjects {
            index: HashTable::new(),
            entries: vec![scratch],
            hand: 0,
            subjects_max,
            texts_bytes: 0,
            routes_bytes: 0,
            routes_bytes_max,
            heavy: VecDeque::new(),
            state: seed.table(),
            hits: 0,
            misses: 0,
        }
    }

    /// The hash every shard of this process agrees on.
    #[inline]
    pub fn hash(&self, subject: Subject<'_>) -> u64 {
        self.state.hash_one(subject.as_bytes())
    }

    /// Resolves text that a client calls a subject; `None` if it is none by the rules of NATS. What is in
    /// the table was looked at when it came there.
    #[inline]
    pub fn resolve_relaxed(&mut self, text: &[u8]) -> Option<SubjectId> {
        let hash = self.state.hash_one(text);
        if let Some(known) = self.find(hash, text) {
            return Some(known);
        }
        Subject::relaxed(text).ok().map(|subject| self.insert(subject, hash))
    }

    #[inline]
    pub fn resolve(&mut self, subject: Subject<'_>) -> SubjectId {
        let hash = self.hash(subject);
        match self.find(hash, subject.as_bytes()) {
            Some(known) => known,
            None => self.insert(subject, hash),
        }
    }

    /// Resolves the bytes of a subject that another shard has in its table, with that table's hash.
    #[inline]
    pub fn resolve_of_shard(&mut self, text: &[u8], hash: u64) -> SubjectId {
        debug_assert_eq!(self.state.hash_one(text), hash, "shards hash alike");
        match self.find(hash, text) {
            Some(known) => known,
            None => self.insert_of_shard(text, hash),
        }
    }

    #[cold]
    fn insert_of_shard(&mut self, text: &[u8], hash: u64) -> SubjectId {
        let text = std::str::from_utf8(text).expect("the other shard has it as text");
        self.insert(Subject::trusted(text), hash)
    }

    /// A subject that is in the table; this counts as a use.
    #[inline]
    fn find(&mut self, hash: u64, text: &[u8]) -> Option<SubjectId> {
        let entries = &self.entries;
        let same = |&index: &u32| {
            let entry = &entries[index as usize];
            entry.hash == hash && swar::same(entry.text.as_bytes(), text)
        };
        let index = *self.index.find(hash, same)?;
        self.entries[index as usize].recent = true;
        Some(SubjectId(index))
    }

    /// Whether a number still stands for that text; a yes counts as a use.
    #[inline]
    pub fn is(&mut self, id: SubjectId, text: &[u8]) -> bool {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return false };
        let same = swar::same(entry.text.as_bytes(), text);
        entry.recent |= same;
        same
    }

    /// Resolves and pins, for as long as a connection has it interned. `None`: the table is full of
    /// pinned subjects.
    pub fn pin(&mut self, subject: Subject<'_>) -> Option<SubjectId> {
        let id = self.resolve(subject);
        if id == SCRATCH {
            return None;
        }
        self.entries[id.0 as usize].pins += 1;
        Some(id)
    }

    pub fn unpin(&mut self, id: SubjectId) {
        let entry = &mut self.entries[id.0 as usize];
        assert!(entry.pins > 0 && id != SCRATCH, "unpinned more often than pinned");
        entry.pins -= 1;
    }

    /// The route of a subject, computed again if interest changed since.
    #[inline]
    pub fn route(&mut self, id: SubjectId, router: &Router) -> (&str, u64, &Route) {
        let entry = &self.entries[id.0 as usize];
        let entry = if entry.generation == router.generation(entry.kind) {
            self.hits += 1;
            &self.entries[id.0 as usize]
        } else {
            self.refresh(id, router)
        };
        (&entry.text, entry.hash, &entry.route)
    }

    /// Forgets the cached route of exactly this subject.
    pub fn invalidate(&mut self, subject: Subject<'_>) {
        let hash = self.hash(subject);
        let entries = &self.entries;
        let same = |&index: &u32| *entries[index as usize].text == *subject.as_str();
        if let Some(&index) = self.index.find(hash, same) {
            self.entries[index as usize].generation = NEVER;
        }
        self.entries[0].generation = NEVER;
    }

    /// Recounts the subjects. Returns how often they are pinned.
    pub fn check(&self) -> u64 {
        assert_eq!(self.index.len() + 1, self.entries.len(), "all but the scratch entry are found");
        assert_eq!(self.entries[0].pins, 1, "the scratch entry is nobody's");
        let routes = self.entries.iter().map(|entry| entry.route.heap_bytes());
        assert_eq!(self.routes_bytes, routes.sum::<usize>(), "bytes of routes");
        let texts = self.entries.iter().map(|entry| text_bytes(&entry.text));
        assert_eq!(self.texts_bytes, texts.sum::<usize>(), "bytes of subjects");
        let heavy = self.entries.iter().filter(|entry| entry.heavy);
        assert_eq!(self.heavy.len(), heavy.count(), "routes that take memory are found");
        let light = |entry: &Entry| entry.heavy || entry.route.heap_bytes() == 0;
        assert!(self.entries.iter().all(light), "a route that takes memory can be forgotten");
        self.entries[1..].iter().map(|entry| u64::from(entry.pins)).sum()
    }

    /// What the routes take beside the table.
    pub fn routes_bytes(&self) -> usize {
        self.routes_bytes
    }

    /// What the table takes, and the routes.
    pub fn bytes(&self) -> usize {
        let table = self.entries.capacity() * size_of::<Entry>() + self.index.capacity() * INDEX_BYTES;
        table + self.texts_bytes + self.routes_bytes
    }

    /// Subjects in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    #[cold]
    fn insert(&mut self, subject: Subject<'_>, hash: u64) -> SubjectId {
        let index = if subject.as_str().len() > TEXT_BYTES_MAX {
            SCRATCH.0
        } else if self.index.len() < self.subjects_max {
            self.entries.push(Entry {
                text: CompactString::default(),
                hash: 0,
                route: Route::default(),
                generation: NEVER,
                kind: 0,
                heavy: false,
                pins: 0,
                recent: true,
            });
            (self.entries.len() - 1) as u32
        } else {
            self.evict()
        };
        let entry = &mut self.entries[index as usize];
        self.texts_bytes -= text_bytes(&entry.text);
        entry.text = subject.as_str().into();
        self.texts_bytes += text_bytes(&entry.text);
        entry.hash = hash;
        entry.kind = kind_of(subject.as_str(), &self.state);
        entry.generation = NEVER;
        if index != SCRATCH.0 {
            entry.recent = true;
            let entries = &self.entries;
            self.index.insert_unique(hash, index, |&other| entries[other as usize].hash);
        }
        debug_assert!(self.index.len() <= self.subjects_max, "the table is bounded");
        debug_assert_eq!(self.index.len() + 1, self.entries.len(), "all but the scratch entry are found");
        SubjectId(index)
    }

    #[cold]
    #[inline(never)]
    fn refresh(&mut self, id: SubjectId, router: &Router) -> &Entry {
        self.misses += 1;
        let entry = &mut self.entries[id.0 as usize];
        debug_assert_ne!(router.generation(entry.kind), NEVER, "a route that is computed has a generation");
        let before = entry.route.heap_bytes();
        router.match_into(Subject::trusted(&entry.text), &mut entry.route);
        entry.route.foreign = Subject::new(entry.text.as_bytes()).is_err();
        entry.route.by_receiver &= !entry.route.foreign;
        entry.generation = router.generation(entry.kind);
        let after = entry.route.heap_bytes();
        if after != before {
            self.routes_bytes = self.routes_bytes - before + after;
            if !std::mem::replace(&mut entry.heavy, true) {
                self.heavy.push_back(id);
            }
            while self.routes_bytes > self.routes_bytes_max && self.forget_oldest_route(id) {}
        }
        &self.entries[id.0 as usize]
    }

    /// Makes room, but not of that one. Returns whether there was another.
    fn forget_oldest_route(&mut self, kept: SubjectId) -> bool {
        let Some(oldest) = self.heavy.pop_front() else { return false };
        if oldest == kept {
            self.heavy.push_back(kept);
            return self.heavy.len() > 1;
        }
        let entry = &mut self.entries[oldest.0 as usize];
        entry.heavy = false;
        entry.generation = NEVER;
        let route = std::mem::take(&mut entry.route);
        debug_assert!(route.heap_bytes() <= self.routes_bytes, "it was counted when it was found");
        self.routes_bytes -= route.heap_bytes();
        true
    }

    /// Frees the next unpinned entry that was not used for a whole round of the hand.
    fn evict(&mut self) -> u32 {
        let count = self.entries.len() as u32;
        // Two rounds clear every `recent`; a bounded look keeps one message from paying for a large
        // table full of pins.
        for _ in 0..(2 * count).min(256) {
            self.hand = if self.hand + 1 >= count { 1 } else { self.hand + 1 };
            if self.hand >= count {
                break;
            }
            let entry = &mut self.entries[self.hand as usize];
            if entry.pins > 0 {
                continue;
            }
            if std::mem::take(&mut entry.recent) {
                continue;
            }
            debug_assert_ne!(self.hand, SCRATCH.0, "the scratch entry is nobody's to evict");
            let (hash, hand) = (entry.hash, self.hand);
            if let Ok(place) = self.index.find_entry(hash, |&index| index == hand) {
                place.remove();
            }
            return hand;
        }
        SCRATCH.0
    }
}

fn text_bytes(text: &CompactString) -> usize {
    if text.is_heap_allocated() { text.capacity() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Target;
    use ringbolt_protocol::subject::Pattern;

    fn subject(text: &str) -> Subject<'_> {
        Subject::new(text.as_bytes()).expect("a subject")
    }

    #[test]
    fn a_subject_keeps_its_number_and_a_pinned_one_survives_a_flood() {
        let mut subjects = Subjects::new(HashSeed::new(1), 64, 1 << 20);
        let pinned = subjects.pin(subject("keep.me")).expect("room");
        for number in 0..10_000 {
            subjects.resolve(subject(&format!("flood.{number}")));
            assert!(subjects.len() <= 64);
        }
        assert_eq!(subjects.resolve(subject("keep.me")), pinned);
    }

    #[test]
    fn a_table_full_of_pins_still_routes_and_refuses_further_pins() {
        let mut subjects = Subjects::new(HashSeed::new(1), 4, 1 << 20);
        for number in 0..4 {
            subjects.pin(subject(&format!("pin.{number}"))).expect("room");
        }
        assert_eq!(subjects.pin(subject("one.more")), None);
        let mut router = Router::new(HashSeed::new(1));
        let pattern = Pattern::new(b"other.*").expect("pattern");
        router.subscribe(pattern, None, Target { subscription: 9, slot: 0 });
        for text in ["other.a", "else", "other.b"] {
            let id = subjects.resolve(subject(text));
            let (name, _, route) = subjects.route(id, &router);
            assert_eq!(name, text);
            assert_eq!(route.plain.len(), usize::from(text.starts_with("other")), "{text}");
        }
    }

    #[test]
    fn a_cached_route_follows_changes_of_interest() {
        let mut subjects = Subjects::new(HashSeed::new(1), 16, 1 << 20);
        let mut router = Router::new(HashSeed::new(1));
        let id = subjects.resolve(subject("a.b"));
        assert!(subjects.route(id, &router).2.is_empty());
        let target = Target { subscription: 1, slot: 1 };
        let exact = Pattern::new(b"a.b").expect("pattern");
        router.subscribe(exact, None, target);
        subjects.invalidate(subject("a.b"));
        assert_eq!(subjects.route(id, &router).2.plain[..], [target]);
        let wild = Pattern::new(b"a.*").expect("pattern");
        router.set_remote(wild, None, 3, 1);
        assert!(subjects.route(id, &router).2.remote.contains(3));
        router.unsubscribe(exact, None, target);
        subjects.invalidate(subject("a.b"));
        assert!(subjects.route(id, &router).2.plain.is_empty());
    }

    #[test]
    fn a_wildcard_outdates_routes_of_subjects_that_begin_like_it_and_no_others() {
        let mut subjects = Subjects::new(HashSeed::new(1), 16, 1 << 20);
        let mut router = Router::new(HashSeed::new(1));
        let ids = ["a.b", "b.b", "a", "c"].map(|text| subjects.resolve(subject(text)));
        let target = Target { subscription: 1, slot: 1 };
        for (pattern, matched, outdated) in [
            ("a.*", [true, false, false, false], 2),
            ("b.>", [false, true, false, false], 1),
            ("*.b", [true, true, false, false], 4),
            (">", [true; 4], 4),
            ("d.>", [false; 4], 0),
        ] {
            for id in ids {
                subjects.route(id, &router);
            }
            let before = subjects.misses;
            let pattern = Pattern::new(pattern.as_bytes()).expect("pattern");
            router.subscribe(pattern, None, target);
            let found = ids.map(|id| !subjects.route(id, &router).2.is_empty());
            assert_eq!((found, subjects.misses - before), (matched, outdated), "{pattern:?}");
            router.unsubscribe(pattern, None, target);
        }
    }

    #[test]
    fn routes_take_a_bounded_amount_of_memory_and_stay_true() {
        const ROUTES_BYTES_MAX: usize = 64 << 10;
        let mut subjects = Subjects::new(HashSeed::new(1), 256, ROUTES_BYTES_MAX);
        let mut router = Router::new(HashSeed::new(1));
        let everything = Pattern::new(b">").expect("pattern");
        for number in 0..1000 {
            router.subscribe(everything, None, Target { subscription: number, slot: number });
        }
        let one_route = 8 * 1024;
        for number in 0..1000 {
            let id = subjects.resolve(subject(&format!("s.{}", number % 200)));
            assert_eq!(subjects.route(id, &router).2.plain.len(), 1000);
            subjects.check();
            assert!(subjects.routes_bytes <= ROUTES_BYTES_MAX.max(one_route));
        }
        // One that is larger than all may be is there as long as nothing else is asked for.
        for number in 1000..20_000 {
            router.subscribe(everything, None, Target { subscription: number, slot: number });
        }
        for text in ["s.1", "s.2", "s.1"] {
            let id = subjects.resolve(subject(text));
            assert_eq!(subjects.route(id, &router).2.plain.len(), 20_000);
            subjects.check();
            assert_eq!(subjects.heavy.len(), 1);
        }
    }
}
