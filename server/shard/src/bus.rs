//! Everything of a shard but the sending halves of its clients: they call it, and it calls none of them.

use crate::access::Access;
use crate::accounts::Accounts;
use crate::closing::CloseReason;
use crate::event::Close;
use crate::identity::{ConnectionId, HashSeed, Nanos, ShardId};
use crate::ledger::Kind;
use crate::limits::{Limits, UNADMITTED_BYTES_MAX};
use crate::metrics::{Counter, Counters};
use crate::moment;
use crate::outcome::Outcome;
use crate::outlets::Outlets;
use crate::requests::Requests;
use crate::router::subjects::Subjects;
use crate::turn::Turn;
use crate::wide::Wide;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Answers of all connections that may wait for other shards.
pub const WAITING_ANSWERS_MAX: usize = 1 << 16;

/// What a shard tells its clients about the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerIdentity {
    pub server_id: String,
    pub server_name: String,
    pub version: String,
    /// A secret of this process, by which answers of other accounts' services are known.
    pub reply_key: (u64, u64),
    /// Unix time of the beginning of the shards' clock.
    pub unix_epoch_nanos: u64,
    /// Host and port NATS clients are told.
    pub nats: Option<(String, u16)>,
}

impl ServerIdentity {
    /// A moment as text (RFC 3339).
    pub fn time_text(&self, at: Nanos) -> String {
        moment::text(self.unix_epoch_nanos.saturating_add(at.0))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Bus {
    pub identity: ServerIdentity,
    pub accounts: Accounts,
    pub requests: Requests,
    /// Messages that are delivered in pieces.
    pub wide: Wide,
    pub outlets: Outlets,
    /// New work is refused: the shard ends.
    pub draining: bool,
    /// Subject numbers held by all connections.
    pub interned_subjects: u64,
    /// Bytes kept of clients that were not admitted.
    pub unadmitted_bytes: usize,
}

impl Bus {
    pub fn new(
        own: ShardId,
        limits: Rc<Limits>,
        access: &Access,
        identity: ServerIdentity,
        seed: HashSeed,
    ) -> Bus {
        Bus {
            accounts: Accounts::new(access, identity.reply_key, seed, &limits),
            requests: Requests::new(seed),
            wide: Wide::default(),
            outlets: Outlets::new(own, limits, seed),
            identity,
            draining: false,
            interned_subjects: 0,
            unadmitted_bytes: 0,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.outlets.limits
    }

    /// Memory that is taken by what is kept for clients.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        let Outlets { delivery, work, ledger, .. } = &self.outlets;
        delivery.outbox_bytes() + delivery.pool.lent_bytes() + work.bytes() + ledger.total()
    }

    /// Sheds lanes if memory has run short, or takes them again.
    #[inline]
    pub fn look_at_memory(&mut self, turn: &mut Turn<'_>) {
        let bytes = self.memory_bytes();
        if self.outlets.delivery.emergency.turns_at(bytes) {
            self.turn_emergency(bytes, turn);
        }
    }

    /// Whether half of what may wait for a turn or for room waits.
    #[inline]
    pub fn is_short_of_room(&self) -> bool {
        self.outlets.ledger.of(Kind::Deferred) >= self.limits().deferred_bytes_max / 2
    }

    /// Looks at what has bounds of its own, and grows slowly.
    pub fn weigh_others(&mut self) {
        let subjects = self.accounts.spaces().map(|space| space.subjects.bytes()).sum::<usize>();
        let work = &self.outlets.work;
        let bytes = work.other_bytes() + work.groups_bytes() + self.requests.bytes() + subjects;
        self.outlets.ledger.set(Kind::Others, bytes);
    }

    /// Whether so many answers wait for other shards that further ones are refused.
    pub fn has_no_room_for_answers(&self) -> bool {
        self.outlets.mesh.interest.waiting() >= WAITING_ANSWERS_MAX
    }

    /// Gives an answer in the order of the client's operations: after those that wait for other shards. One
    /// that promises that earlier subscriptions are in force waits until they are.
    pub fn answer_in_order(
        &mut self,
        id: ConnectionId,
        answer: Cow<'static, [u8]>,
        promises: bool,
        turn: &mut Turn<'_>,
    ) {
        let interest = &self.outlets.mesh.interest;
        let (in_force, full) = (interest.is_in_force(), self.has_no_room_for_answers());
        let Some(receiver) = self.outlets.delivery.receivers.get(id) else { return };
        if receiver.answers.is_empty() && (in_force || !promises) {
            return self.outlets.delivery.send_answer(id, |out| out.extend_from_slice(&answer), turn);
        }
        if full {
            // The protocol has no word for it: like a client that does not read its answers.
            return self.outlets.delivery.cut(id, turn);
        }
        self.hold_answer(id, answer);
    }

    /// Keeps an answer until the interest that it promises is in force.
    pub fn hold_answer(&mut self, id: ConnectionId, answer: Cow<'static, [u8]>) {
        let Some(receiver) = self.outlets.delivery.receivers.get_mut(id) else { return };
        assert!(self.outlets.mesh.interest.waiting() < WAITING_ANSWERS_MAX, "further ones are refused");
        receiver.answers.push(self.outlets.mesh.interest.hold(id), answer);
    }

    /// Gives the answers whose wait is over.
    pub fn release_answers(&mut self, turn: &mut Turn<'_>) {
        while let Some((sequence, id)) = self.outlets.mesh.interest.release() {
            let receiver = self.outlets.delivery.receivers.get_mut(id);
            let next = receiver.and_then(|own| own.answers.pop_of(sequence));
            if let Some(answer) = next {
                self.outlets.delivery.send_answer(id, |out| out.extend_from_slice(&answer), turn);
            }
        }
    }

    /// Gives the answers that a client waits for, which is to close.
    pub fn release_answers_of(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.outlets.delivery.receivers.get_mut(id) else { return };
        for answer in receiver.answers.take() {
            self.outlets.delivery.send_answer(id, |out| out.extend_from_slice(&answer), turn);
        }
    }

    /// Nothing more is queued for a connection, and what it sends is ignored: it ends once it has read what
    /// is queued.
    pub fn end(&mut self, id: ConnectionId, reason: CloseReason, turn: &mut Turn<'_>) {
        let Some(receiver) = self.outlets.delivery.receivers.get_mut(id) else { return };
        if !std::mem::take(&mut receiver.open) {
            return;
        }
        turn.counters.add(reason.counter(), 1);
        turn.outcomes.push(Outcome::Leave(id));
        turn.effects.close.push((id, Close::Flush, reason));
    }

    /// Brings the gauges up to date.
    pub fn refresh_gauges(&self, counters: &mut Counters) {
        let (delivery, work) = (&self.outlets.delivery, &self.outlets.work);
        counters.set(Counter::Connections, delivery.receivers.len() as u64);
        counters.set(Counter::Subscriptions, delivery.subscriptions.len() as u64);
        counters.set(Counter::InternedSubjects, self.interned_subjects);
        counters.set(Counter::PublishersPaused, delivery.paused_publishers());
        let sum = |of: fn(&Subjects) -> u64| self.accounts.spaces().map(|space| of(&space.subjects)).sum();
        counters.set(Counter::SubjectsCached, sum(|subjects| subjects.len() as u64));
        counters.set(Counter::RouteCacheHits, sum(|subjects| subjects.hits));
        counters.set(Counter::RouteCacheMisses, sum(|subjects| subjects.misses));
        counters.set(Counter::RoutesBytes, sum(|subjects| subjects.routes_bytes() as u64));
        counters.set(Counter::MemorySubjects, sum(|subjects| subjects.bytes() as u64));
        counters.set(Counter::BufferPoolHits, delivery.pool.hits);
        counters.set(Counter::BufferPoolMisses, delivery.pool.misses);
        counters.set(Counter::BufferPoolFree, delivery.pool.free() as u64);
        let (kept, in_flight) = work.counts();
        counters.set(Counter::WorkMessages, kept);
        counters.set(Counter::WorkInFlight, in_flight);
        counters.set(Counter::WorkBytes, work.bytes() as u64);
        let (letters, bytes) = work.letters_kept();
        counters.set(Counter::DeadLettersKept, letters);
        counters.set(Counter::DeadLettersBytes, bytes);
        counters.set(Counter::RequestsWatched, self.requests.count() as u64);
        let ledger = &self.outlets.ledger;
        for (gauge, bytes) in [
            (Counter::OutboxBytes, delivery.outbox_bytes() + delivery.pool.lent_bytes()),
            (Counter::MemoryWork, work.bytes() + work.other_bytes()),
            (Counter::MemoryBegun, ledger.of(Kind::Begun)),
            (Counter::MemoryDeferred, ledger.of(Kind::Deferred) + ledger.of(Kind::Wide)),
            (Counter::MemoryGathered, ledger.of(Kind::Gathered)),
            (Counter::MemoryInterest, self.interest_taken()),
            (Counter::MemoryRequests, self.requests.bytes()),
            (Counter::MemoryConnections, ledger.of(Kind::Connections)),
        ] {
            counters.set(gauge, bytes as u64);
        }
        counters.set(Counter::MessagesWaiting, ledger.uncalled() as u64);
        counters.set(Counter::EmergencyLevel, delivery.emergency.level() as u64);
        let (bytes, batches) = self.outlets.mesh.pending();
        counters.set(Counter::MeshPendingBytes, bytes as u64);
        counters.set(Counter::MeshDepthBatches, batches as u64);
    }

    /// Recounts every running sum.
    pub fn check(&self) {
        self.outlets.check();
        self.requests.check();
        assert_eq!(self.accounts.check(), self.interned_subjects, "subjects that clients have pinned");
        assert!(self.unadmitted_bytes <= UNADMITTED_BYTES_MAX, "what strangers sent is bounded");
        let receivers = &self.outlets.delivery.receivers;
        // Of each in order; what is left of who was given its answers early is skipped when it is due.
        let mut held: BTreeMap<ConnectionId, Vec<u64>> = BTreeMap::new();
        for (sequence, id) in self.outlets.mesh.interest.held() {
            held.entry(id).or_default().push(sequence);
        }
        for receiver in receivers.iter().filter(|receiver| !receiver.answers.is_empty()) {
            let waits: Vec<u64> = receiver.answers.sequences().collect();
            assert_eq!(held.get(&receiver.id), Some(&waits), "answers that wait for other shards");
        }
    }
}
