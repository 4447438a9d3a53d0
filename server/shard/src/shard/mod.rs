//! One shard: its clients, the bus they share, and the one way in.

mod drain;
mod housekeeping;
mod leaving;
mod pace;
pub mod report;
mod settings;
mod settle;
mod shedding;
mod teardown;
mod turns;

use crate::access::{Access, Verdict};
use crate::bus::{Bus, ServerIdentity};
use crate::clients::native::NativeClient;
use crate::clients::nats::NatsClient;
use crate::clients::sender::Sender;
use crate::clients::{Client, Clients};
use crate::closing::CloseReason;
use crate::delivery::Segment;
use crate::delivery::receiver::Receiver;
use crate::event::{Departure, Dialect, Effects, Event, Opening, Room};
use crate::identity::{ConnectionId, HashSeed, Nanos, ShardId};
use crate::ledger::Kind;
use crate::limits::Limits;
use crate::mesh::MeshBatch;
use crate::metrics::{Counter, Counters};
use crate::outcome::{Outcome, Outcomes};
use crate::random::Random;
use crate::turn::Turn;
use crate::work::letters::LetterReport;
use drain::Drain;
use pace::Pace;
use std::collections::BTreeMap;
use std::rc::Rc;
use teardown::Teardown;

/// See the module.
#[derive(Debug)]
pub struct Shard {
    members: Members,
    counters: Counters,
    random: Random,
    outcomes: Outcomes,
}

/// The clients of a shard, and the bus they share.
#[derive(Debug)]
pub(crate) struct Members {
    pub clients: Clients,
    pub bus: Bus,
    /// Connections opened so far.
    opened: u64,
    pub drain: Drain,
    pace: Pace,
    teardowns: BTreeMap<ConnectionId, Teardown>,
    pub scanned_at: Nanos,
}

impl Shard {
    /// `hash_seed` is the same for all shards of a process, `random_seed` differs.
    pub fn new(
        id: ShardId,
        limits: &Limits,
        access: &Access,
        identity: ServerIdentity,
        hash_seed: u64,
        random_seed: u64,
    ) -> Shard {
        assert!(usize::from(id) < limits.shards, "shard {id} of {}", limits.shards);
        limits.check();
        let seed = HashSeed::new(hash_seed);
        Shard {
            members: Members {
                clients: Clients::default(),
                bus: Bus::new(id, Rc::new(limits.clone()), access, identity, seed),
                opened: 0,
                drain: Drain::new(limits.shards, id),
                pace: Pace::new(limits),
                teardowns: BTreeMap::new(),
                scanned_at: Nanos(0),
            },
            counters: Counters::default(),
            random: Random::new(random_seed),
            outcomes: Outcomes::default(),
        }
    }

    /// The only way in. `effects` must be empty, and must be applied in full before the next call.
    pub fn handle(&mut self, now: Nanos, event: Event<'_>, effects: &mut Effects) {
        debug_assert!(effects.is_empty(), "the effects of the event before were not applied");
        debug_assert!(self.outcomes.is_empty(), "the event before was handled in full");
        let Shard { members, counters, random, outcomes } = self;
        let turn = &mut Turn::new(now, effects, counters, random, outcomes);
        match event {
            Event::Bytes(id, bytes) => {
                members.hear(id, bytes, turn);
                members.look_at_memory(turn);
            }
            Event::Continue => {
                members.go_on(turn);
                members.finish_further(turn);
                members.look_at_memory(turn);
            }
            Event::Verified(id, verdict) => members.verified(id, verdict, turn),
            Event::Sent(id) => members.bus.outlets.sent(id, turn),
            Event::Mesh(from, batch) => {
                if let Some(fenced) = members.bus.receive_batch(from, batch, turn) {
                    // What it brought is done before the last clients are closed.
                    members.settle(turn);
                    members.fence(fenced, turn);
                }
                if batch.messages() > 0 {
                    members.pace.share_with_shard(now);
                }
                members.pace.spend_at(now, turn.taken());
                members.look_at_memory(turn);
            }
            Event::MeshRoom(shard) => members.bus.mesh_room(shard, turn),
            Event::Opened(id, opening) => members.open(id, &opening, turn),
            Event::Closed(id, departure) => {
                members.closed(id, departure, turn);
                members.look_at_memory(turn);
                members.pace.spend_at(now, turn.taken());
            }
            Event::Tick => {
                members.tick(turn);
                members.finish_further(turn);
                members.look_at_memory(turn);
            }
            Event::Settings(access, limits) => {
                members.change_limits(limits, turn);
                members.change_access(access, turn);
            }
            Event::ReplayLetters(one) => turn.effects.letters = Some(members.bus.replay_letters(one, turn)),
            Event::PurgeLetters(one) => turn.effects.letters = Some(members.bus.purge_letters(one)),
            Event::LameDuck => members.begin_leaving(turn),
            Event::Drain => members.finish(turn),
        }
        members.settle(turn);
    }

    /// The next send of a connection, as segments appended to `into`. Returns its bytes; zero if
    /// there is nothing to send or a send is in flight.
    pub fn take_segments(&mut self, now: Nanos, id: ConnectionId, into: &mut Vec<Segment>) -> usize {
        self.members.bus.outlets.delivery.take_segments(now, id, into)
    }

    /// The next batch for another shard.
    pub fn take_batch(&mut self, shard: ShardId) -> Option<MeshBatch> {
        let batch = self.members.bus.outlets.mesh.take(shard)?;
        self.counters.add(Counter::MeshBatchesOut, 1);
        Some(batch)
    }

    /// Gives the memory of sent segments back.
    pub fn recycle(&mut self, segment: Segment) {
        self.members.bus.outlets.delivery.pool.give_segment(segment);
    }

    /// Whether everything queued for a connection has left.
    pub fn is_flushed(&self, id: ConnectionId) -> bool {
        self.receiver(id).is_none_or(|receiver| receiver.outbox.is_empty())
    }

    /// Whether somebody waits for [`Event::Continue`].
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.members.is_behind() || !self.members.bus.outlets.delivery.remains.is_empty()
    }

    /// When there is something for [`Event::Continue`] to do that nobody waits for before.
    #[inline]
    pub fn due(&self) -> Option<Nanos> {
        self.members.bus.outlets.delivery.holds_due()
    }

    /// Whether what has come of other shards is to wait for the next turn.
    pub fn is_spent(&self) -> bool {
        self.members.pace.is_over_for_shards()
    }

    /// Whether what clients have said takes so much memory that less of it is to be received.
    #[inline]
    pub fn is_short_of_room(&self) -> bool {
        self.members.bus.is_short_of_room()
    }

    /// Whether something that a connection has said waits: what ended it has not come yet.
    pub fn has_more_of(&self, id: ConnectionId) -> bool {
        self.members.clients.get(id).is_some_and(|client| client.sender().waits())
    }

    pub fn id(&self) -> ShardId {
        self.members.bus.outlets.own
    }

    /// The counters, for the edge to add its own to and to publish.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Brings the gauges up to date; the edge calls it before it publishes the counters.
    pub fn refresh_gauges(&mut self) {
        self.members.bus.refresh_gauges(&mut self.counters);
    }

    /// Bytes queued in a connection's outbox, for the simulator's oracle.
    pub fn queued_bytes(&self, id: ConnectionId) -> usize {
        self.receiver(id).map_or(0, |receiver| receiver.outbox.queued_bytes())
    }

    /// Memory that is taken by what is kept for clients.
    pub fn memory_bytes(&self) -> usize {
        self.members.bus.memory_bytes()
    }

    /// Memory that its outbox takes, likewise.
    pub fn held_bytes(&self, id: ConnectionId) -> usize {
        self.receiver(id).map_or(0, |receiver| receiver.outbox.held_bytes() + receiver.outbox.lent_bytes())
    }

    /// Bytes of a connection that wait for a later turn, likewise.
    pub fn deferred_bytes(&self, id: ConnectionId) -> usize {
        self.members.clients.get(id).map_or(0, |client| client.sender().deferred_bytes())
    }

    /// Up to `most` letters from number `from` on; with their contents, if asked.
    pub fn letters(&self, from: u64, most: usize, contents: bool) -> Vec<LetterReport> {
        self.members.bus.letters(from, most, contents)
    }

    /// Recounts every running sum of this shard, and panics where one is off.
    pub fn check(&self) {
        self.members.check();
    }

    fn receiver(&self, id: ConnectionId) -> Option<&Receiver> {
        self.members.bus.outlets.delivery.receivers.get(id)
    }
}

impl Members {
    /// A connection has said something. It is handled as far as the turn goes, unless earlier words wait.
    #[inline]
    fn hear(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        let Some(receiver) = self.bus.outlets.delivery.receivers.get(id) else { return };
        if !receiver.open {
            return;
        }
        let is_held_back = receiver.pauses > 0 || self.drain.finishing.is_some();
        turn.counters.add(Counter::BytesIn, input.len() as u64);
        if is_held_back {
            self.hear_held_back(id, input, turn);
        } else {
            self.take_in(id, input, turn);
        }
    }

    #[inline(always)]
    fn take_in(&mut self, id: ConnectionId, input: &[u8], turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let goes_on = self.pace.goes_on(id, turn.now);
        let share = self.pace.share();
        turn.allow(share);
        let left = match client {
            Client::Native(speaker) => {
                speaker.sender.heard(turn.now);
                if speaker.sender.waits() || !goes_on {
                    return self.wait_turn(id, input, turn);
                }
                speaker.receive(input, &mut self.bus, turn)
            }
            Client::Nats(speaker) => {
                speaker.sender.heard(turn.now);
                if speaker.sender.waits() || !goes_on {
                    return self.wait_turn(id, input, turn);
                }
                speaker.receive(input, &mut self.bus, turn)
            }
        };
        self.pace.spend(turn.taken());
        debug_assert!(left == 0 || !turn.may_go_on(), "who may go on leaves nothing");
        if !turn.may_go_on() {
            self.fall_behind(id, &input[input.len() - left..], turn);
        }
    }

    fn verified(&mut self, id: ConnectionId, verdict: Verdict, turn: &mut Turn<'_>) {
        let Some(Client::Nats(client)) = self.clients.get_mut(id) else { return };
        let waited = client.verified(verdict == Verdict::Proven, &mut self.bus, turn);
        if !waited.is_empty() {
            self.hear_what_waited(id, &waited, turn);
        }
        self.bus.outlets.delivery.pool.give(waited);
    }

    fn open(&mut self, id: ConnectionId, opening: &Opening, turn: &mut Turn<'_>) {
        let limits = Rc::clone(&self.bus.outlets.limits);
        let bus = &mut self.bus;
        let full =
            opening.room == Room::Full || bus.outlets.delivery.receivers.len() >= limits.connections_max;
        let receiver = Receiver::new(id, opening.dialect, limits.slow_consumer.is_lenient());
        bus.outlets.delivery.receivers.insert(receiver);
        let number = self.opened * limits.shards as u64 + u64::from(bus.outlets.own) + 1;
        self.opened += 1;
        // The time to be admitted in began when it was accepted.
        let accepted = Nanos(turn.now.0.saturating_sub(opening.age_nanos));
        turn.counters.add(Counter::ConnectionsOpened, 1);
        let mut client = match opening.dialect {
            Dialect::Native => Client::Native(Box::new(NativeClient::new(id, opening, accepted))),
            Dialect::Nats => {
                let client = NatsClient::new(id, number, opening, bus, accepted);
                client.send_info(false, bus, turn);
                Client::Nats(Box::new(client))
            }
        };
        let refusal = match (full, bus.draining) {
            (true, _) => Some(CloseReason::ConnectionsMax),
            (false, true) => Some(CloseReason::Shutdown),
            (false, false) => None,
        };
        if let Some(reason) = refusal {
            turn.counters.add(Counter::ConnectionsRefused, 1);
            client.close(reason, bus, turn);
        }
        debug_assert_eq!(client.dialect(), opening.dialect, "it is served in its dialect");
        self.bus.outlets.ledger.add(Kind::Connections, client.own_bytes());
        self.clients.insert(client);
    }

    fn closed(&mut self, id: ConnectionId, departure: Departure, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if let Some(receiver) = self.bus.outlets.delivery.receivers.get_mut(id)
            && std::mem::take(&mut receiver.open)
        {
            let reason = match departure {
                Departure::Ordinary => CloseReason::Client,
                Departure::Failed => CloseReason::SocketError,
            };
            turn.counters.add(reason.counter(), 1);
            turn.outcomes.push(Outcome::Leave(id));
        }
        client.let_go(&mut self.bus);
        client.sender_mut().forget_deferred(&mut self.bus.outlets.ledger);
        turn.outcomes.push(Outcome::Gone(id));
    }

    /// Ends a connection in order.
    pub(crate) fn close_client(&mut self, id: ConnectionId, reason: CloseReason, turn: &mut Turn<'_>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.close(reason, &mut self.bus, turn);
        }
    }

    #[inline]
    fn look_at_memory(&mut self, turn: &mut Turn<'_>) {
        self.bus.look_at_memory(turn);
        if self.bus.outlets.ledger.is_waited_for() {
            self.call_for_messages();
        }
    }

    fn check(&self) {
        self.bus.check();
        self.check_pace();
        self.check_teardowns();
        let natives = self.clients.iter().filter_map(|client| match client {
            Client::Native(client) => Some(client),
            Client::Nats(_) => None,
        });
        let interned: usize = natives.map(|client| client.subjects().count()).sum();
        assert_eq!(self.bus.interned_subjects, interned as u64, "subjects with numbers");
        let unadmitted: usize = self.clients.iter().map(|client| client.sender().unadmitted_bytes()).sum();
        assert_eq!(self.bus.unadmitted_bytes, unadmitted, "bytes of clients that were not admitted");
        let senders = || self.clients.iter().map(Client::sender);
        let begun = |kind| senders().filter(move |sender| sender.kind() == kind).map(Sender::partial_bytes);
        let waits = senders().map(Sender::deferred_bytes).sum::<usize>();
        self.bus.outlets.ledger.check([
            begun(Kind::Begun).sum(),
            waits,
            begun(Kind::Gathered).sum(),
            self.bus.interest_bytes(),
            self.clients.iter().map(Client::own_bytes).sum(),
            self.bus.wide.check(),
            self.bus.outlets.ledger.of(Kind::Others),
        ]);
        let both = self.clients.ids().filter(|id| self.bus.outlets.delivery.receivers.get(*id).is_some());
        assert_eq!(
            both.count(),
            self.bus.outlets.delivery.receivers.len(),
            "every connection has both halves"
        );
    }
}
