//! One connection as its shard knows it: stage, unfinished frame, outbox, subscriptions, subjects.

use super::delivery::Outbox;
use super::event::Dialect;
use super::identity::{AccountId, ConnectionId, HashSeed, Nanos};
use super::nats::NatsSession;
use super::report::Traffic;
use super::router::subjects::SubjectId;
use super::table::Key;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Connected; only HELLO, or a CONNECT with credentials, is acceptable.
    AwaitingHello,
    /// What the client claims to be is being verified; what it says meanwhile waits.
    Verifying,
    Ready,
    /// Told to close: input is ignored, nothing new is queued.
    Closing,
}

/// Limits that a client was told, and that do not shrink while it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Promise {
    pub payload_bytes_max: u32,
    pub subscriptions_max: u32,
}

#[derive(Debug)]
pub struct Session {
    pub id: ConnectionId,
    pub stage: Stage,
    pub account: AccountId,
    /// Its deliveries are looked at: it wants no echo, or keeps replies.
    pub watched: bool,
    /// Own messages come back to own subscriptions.
    pub echo: bool,
    /// Messages may carry headers.
    pub headers: bool,
    /// May answer what it is asked, so the reply subjects of its deliveries are kept.
    pub keeps_replies: bool,
    pub traffic: Traffic,
    /// Of a native client: what its WELCOME said, or more by now.
    pub promise: Promise,
    /// Takes DELIVER_BATCH.
    pub batches: bool,
    /// It is told when it is no longer read from.
    pub flow: bool,
    /// Never cut for being slow: a subscription asked for drops instead.
    pub lenient: bool,
    pub pings_outstanding: u8,
    /// Reasons for which the edge was told not to receive: full outboxes and links.
    pub pauses: u32,
    pub opened_at: Nanos,
    pub received_at: Nanos,
    /// The beginning of a frame whose rest has not arrived.
    pub partial: Vec<u8>,
    pub outbox: Outbox,
    /// The client's subscription number → key in the shard's table. Made with the first.
    pub subscriptions: Option<Box<HashMap<u32, Key, FixedState>>>,
    pub interned: Option<Box<Interned>>,
    /// What only a NATS client has.
    pub nats: Option<Box<NatsSession>>,
}

impl Session {
    /// A connection that speaks the native dialect.
    pub fn new(id: ConnectionId, now: Nanos, lenient: bool) -> Session {
        Session {
            id,
            stage: Stage::AwaitingHello,
            account: AccountId::GLOBAL,
            watched: false,
            echo: true,
            headers: true,
            keeps_replies: false,
            batches: false,
            flow: false,
            traffic: Traffic::default(),
            promise: Promise::default(),
            lenient,
            pings_outstanding: 0,
            pauses: 0,
            opened_at: now,
            received_at: now,
            partial: Vec::new(),
            outbox: Outbox::new(Dialect::Native),
            subscriptions: None,
            interned: None,
            nats: None,
        }
    }

    /// A connection that speaks the NATS protocol.
    pub fn new_nats(id: ConnectionId, now: Nanos, lenient: bool, nats: NatsSession) -> Session {
        Session {
            headers: false,
            outbox: Outbox::new(Dialect::Nats),
            nats: Some(Box::new(nats)),
            ..Session::new(id, now, lenient)
        }
    }

    pub fn subscription(&self, client_id: u32) -> Option<Key> {
        self.subscriptions.as_ref()?.get(&client_id).copied()
    }

    pub fn subscription_count(&self) -> usize {
        let native = self.subscriptions.as_ref().map_or(0, |map| map.len());
        native + self.nats.as_ref().map_or(0, |nats| nats.subscriptions.len())
    }

    /// Keys of all its subscriptions.
    pub fn subscription_keys(&self) -> Vec<Key> {
        let native = self.subscriptions.iter().flat_map(|map| map.values());
        let nats = self.nats.iter().flat_map(|nats| nats.subscriptions.values());
        let mut keys: Vec<Key> = native.chain(nats).copied().collect();
        keys.sort_unstable();
        keys
    }

    /// One of its subscriptions is gone: that of this key, and no other. `number` is a native client's id of
    /// it, `sid` a NATS client's.
    pub fn forget_subscription(&mut self, (number, sid): (u32, &[u8]), key: Key) {
        if let Some(map) = &mut self.subscriptions
            && map.get(&number) == Some(&key)
        {
            map.remove(&number);
        }
        if let Some(nats) = &mut self.nats
            && nats.subscriptions.get(sid) == Some(&key)
        {
            nats.subscriptions.remove(sid);
        }
    }

    /// Keys of all its subscriptions, which it forgets.
    pub fn take_subscriptions(&mut self) -> Vec<Key> {
        let keys = self.subscription_keys();
        self.subscriptions = None;
        if let Some(nats) = &mut self.nats {
            nats.subscriptions.clear();
        }
        keys
    }
}

/// Subjects a connection gave numbers to, both ways.
#[derive(Debug)]
pub struct Interned {
    by_number: Vec<Option<SubjectId>>,
    by_subject: HashMap<SubjectId, u32, FixedState>,
}

impl Interned {
    pub fn new(hash_seed: HashSeed) -> Interned {
        Interned { by_number: Vec::new(), by_subject: HashMap::with_hasher(hash_seed.table()) }
    }

    /// Defines a number, and returns the subject it stood for before.
    pub fn define(&mut self, number: u32, subject: SubjectId) -> Option<SubjectId> {
        let place = number as usize;
        if self.by_number.len() <= place {
            self.by_number.resize(place + 1, None);
        }
        let before = self.by_number[place].replace(subject);
        if let Some(before) = before
            && self.by_subject.get(&before) == Some(&number)
        {
            self.by_subject.remove(&before);
        }
        self.by_subject.insert(subject, number);
        before
    }

    #[inline]
    pub fn subject(&self, number: u32) -> Option<SubjectId> {
        self.by_number.get(number as usize).copied().flatten()
    }

    #[inline]
    pub fn number(&self, subject: SubjectId) -> Option<u32> {
        self.by_subject.get(&subject).copied()
    }

    pub fn subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.by_number.iter().copied().flatten()
    }
}

/// All connections of a shard, by slot.
#[derive(Debug, Default)]
pub struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    count: usize,
    /// Those of them that speak the native dialect.
    natives: usize,
}

impl Sessions {
    pub fn insert(&mut self, session: Session) {
        let slot = session.id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "the edge re-used a slot before it reported the close");
        self.natives += usize::from(session.nats.is_none());
        self.slots[slot] = Some(Box::new(session));
        self.count += 1;
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Box<Session>> {
        let native = self.get(id)?.nats.is_none();
        self.natives -= usize::from(native);
        self.count -= 1;
        self.slots[id.slot as usize].take()
    }

    pub fn get(&self, id: ConnectionId) -> Option<&Session> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|session| session.id == id)
    }

    #[inline]
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|session| session.id == id)
    }

    /// By slot alone, for subscriptions, which never outlive their connection.
    #[inline]
    pub fn at(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
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

    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.slots.iter().flatten().map(|session| session.id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().flatten().map(|session| &mut **session)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten().map(|session| &**session)
    }
}
