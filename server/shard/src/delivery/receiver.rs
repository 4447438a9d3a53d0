//! The receiving half of a connection: what waits for it, what it is subscribed to, and how it wants its
//! deliveries. The sending half is in `clients`.

use super::outbox::Outbox;
use super::replies::Replies;
use crate::event::Dialect;
use crate::identity::{ConnectionId, HashSeed, PublisherId, ShardId};
use crate::router::subjects::SubjectId;
use crate::table::Key;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Receiver {
    pub id: ConnectionId,
    /// It was not told to close: otherwise nothing more is queued for it, and what it sends is ignored.
    pub open: bool,
    /// Messages may carry headers.
    pub headers: bool,
    /// Takes DELIVER_BATCH.
    pub batches: bool,
    /// It is told when it is not read from.
    pub flow: bool,
    /// Never cut for being slow: a subscription asked for drops instead.
    pub lenient: bool,
    /// Each of its deliveries is looked at.
    pub watch: Option<Box<Watch>>,
    pub messages_out: u64,
    pub bytes_out: u64,
    /// Reasons for which the edge was told not to receive: full outboxes and links.
    pub pauses: u32,
    /// What its client said waits for a turn: the edge was told not to receive, too.
    pub deferred: bool,
    /// Answers that wait for other shards; later ones queue after them.
    pub answers: Answers,
    pub outbox: Outbox,
    pub subscriptions: Subscriptions,
    /// Memory that these take.
    pub interest_bytes: usize,
    /// Numbers that a native client gave subjects.
    pub names: Option<Box<HashMap<SubjectId, u32, FixedState>>>,
}

/// Answers as they are sent, each with the interest that it waits for. Made with the first.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "most connections have none, and there are many")]
pub struct Answers(Option<Box<VecDeque<(u64, Answer)>>>);

type Answer = Cow<'static, [u8]>;

impl Answers {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn push(&mut self, sequence: u64, answer: Answer) {
        let queue = self.0.get_or_insert_default();
        debug_assert!(queue.back().is_none_or(|&(last, _)| last <= sequence), "answers keep their order");
        queue.push_back((sequence, answer));
    }

    /// The next one if it is the one that waited for that.
    pub fn pop_of(&mut self, sequence: u64) -> Option<Answer> {
        let queue = self.0.as_mut()?;
        if queue.front().is_none_or(|&(own, _)| own != sequence) {
            return None;
        }
        let (_, answer) = queue.pop_front()?;
        if queue.is_empty() {
            self.0 = None;
        }
        Some(answer)
    }

    pub fn take(&mut self) -> impl Iterator<Item = Answer> + use<> {
        self.0.take().into_iter().flat_map(|queue| *queue).map(|(_, answer)| answer)
    }

    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|queue| queue.iter()).map(|&(sequence, _)| sequence)
    }
}

/// Why deliveries of a connection are looked at.
#[derive(Debug, Default)]
pub struct Watch {
    /// Own messages do not come back to own subscriptions.
    pub no_echo: bool,
    /// It may answer what it is asked, and nothing else.
    pub replies: Option<Replies>,
}

/// Keys in the shard's table, by what the client calls its subscriptions. Made with the first.
#[derive(Debug)]
pub enum Subscriptions {
    Native(Option<Box<Keys<u32>>>),
    Nats(Option<Box<Keys<Box<[u8]>>>>),
}

type Keys<N> = HashMap<N, Key, FixedState>;

impl Subscriptions {
    pub fn count(&self) -> usize {
        match self {
            Subscriptions::Native(map) => map.as_ref().map_or(0, |map| map.len()),
            Subscriptions::Nats(map) => map.as_ref().map_or(0, |map| map.len()),
        }
    }

    pub fn by_number(&self, number: u32) -> Option<Key> {
        let Subscriptions::Native(map) = self else { return None };
        map.as_ref()?.get(&number).copied()
    }

    pub fn by_sid(&self, sid: &[u8]) -> Option<Key> {
        let Subscriptions::Nats(map) = self else { return None };
        map.as_ref()?.get(sid).copied()
    }

    /// `number` is a native client's name of it, `sid` a NATS client's.
    pub fn insert(&mut self, (number, sid): (u32, &[u8]), key: Key, seed: HashSeed) {
        let before = match self {
            Subscriptions::Native(map) => {
                map.get_or_insert_with(|| Box::new(HashMap::with_hasher(seed.table()))).insert(number, key)
            }
            Subscriptions::Nats(map) => map
                .get_or_insert_with(|| Box::new(HashMap::with_hasher(seed.table())))
                .insert(sid.into(), key),
        };
        debug_assert!(before.is_none(), "a name in use is refused or left as it is");
    }

    /// Forgets the subscription of this key, and no other of that name.
    pub fn remove(&mut self, (number, sid): (u32, &[u8]), key: Key) {
        match self {
            Subscriptions::Native(Some(map)) if map.get(&number) == Some(&key) => drop(map.remove(&number)),
            Subscriptions::Nats(Some(map)) if map.get(sid) == Some(&key) => drop(map.remove(sid)),
            Subscriptions::Native(_) | Subscriptions::Nats(_) => {}
        }
    }

    /// All of them, in the order they were made as far as keys tell.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = match self {
            Subscriptions::Native(map) => map.iter().flat_map(|map| map.values().copied()).collect(),
            Subscriptions::Nats(map) => map.iter().flat_map(|map| map.values().copied()).collect(),
        };
        keys.sort_unstable();
        keys
    }
}

impl Receiver {
    pub fn new(id: ConnectionId, dialect: Dialect, lenient: bool) -> Receiver {
        let native = dialect == Dialect::Native;
        Receiver {
            id,
            open: true,
            headers: native,
            batches: false,
            flow: false,
            lenient,
            watch: None,
            messages_out: 0,
            bytes_out: 0,
            pauses: 0,
            deferred: false,
            answers: Answers::default(),
            outbox: Outbox::new(dialect),
            interest_bytes: 0,
            subscriptions: if native { Subscriptions::Native(None) } else { Subscriptions::Nats(None) },
            names: None,
        }
    }

    /// What the client calls a subject, as long as that is in force when it reads it.
    #[inline]
    pub fn number(&self, subject: SubjectId) -> Option<u32> {
        self.names.as_ref()?.get(&subject).copied()
    }

    /// Whether it asked not to get what that publisher sends, which is itself.
    #[inline(never)]
    pub fn declines(&self, publisher: PublisherId, own: ShardId) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.no_echo)
            && publisher == PublisherId { shard: own, connection: self.id }
    }

    /// Sets why its deliveries are looked at; not at all if there is no reason.
    pub fn set_watch(&mut self, watch: Watch) {
        let looks = watch.no_echo || watch.replies.is_some();
        self.watch = looks.then(|| Box::new(watch));
    }

    pub fn take_watch(&mut self) -> Watch {
        self.watch.take().map(|watch| *watch).unwrap_or_default()
    }
}

/// The receiving halves of a shard, by slot.
#[derive(Debug, Default)]
pub struct Receivers {
    slots: Vec<Option<Box<Receiver>>>,
    count: usize,
    /// Those of them that speak the native dialect.
    natives: usize,
}

impl Receivers {
    pub fn insert(&mut self, receiver: Receiver) {
        debug_assert!(receiver.open && receiver.outbox.is_empty(), "a connection begins with nothing");
        let slot = receiver.id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "the edge re-used a slot before it reported the close");
        self.natives += usize::from(receiver.outbox.dialect() == Dialect::Native);
        self.slots[slot] = Some(Box::new(receiver));
        self.count += 1;
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Box<Receiver>> {
        let native = self.get(id)?.outbox.dialect() == Dialect::Native;
        debug_assert!(self.count > 0 && self.natives >= usize::from(native), "it was counted in");
        self.natives -= usize::from(native);
        self.count -= 1;
        self.slots[id.slot as usize].take()
    }

    #[inline]
    pub fn get(&self, id: ConnectionId) -> Option<&Receiver> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|receiver| receiver.id == id)
    }

    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Receiver> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|receiver| receiver.id == id)
    }

    /// By slot alone, for subscriptions, which never outlive their connection.
    #[inline]
    pub fn at(&mut self, slot: u32) -> Option<&mut Receiver> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Whether there is a connection in a slot.
    pub fn has(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_some)
    }

    /// Whether any connection speaks the native dialect.
    #[inline]
    pub fn has_natives(&self) -> bool {
        self.natives > 0
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Receiver> {
        self.slots.iter().flatten().map(|receiver| &**receiver)
    }

    /// Recounts what is counted.
    pub fn check(&self) {
        assert_eq!(self.count, self.iter().count(), "connections");
        let natives = self.iter().filter(|receiver| receiver.outbox.dialect() == Dialect::Native);
        assert_eq!(self.natives, natives.count(), "native connections");
        let in_place = |(slot, receiver): (usize, &Option<Box<Receiver>>)| {
            receiver.as_ref().is_none_or(|receiver| receiver.id.slot as usize == slot)
        };
        assert!(self.slots.iter().enumerate().all(in_place), "a connection is in its slot");
    }
}
