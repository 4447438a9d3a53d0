//! The receiving half of a shard: who is connected, what waits for each, and what happens when that is too
//! much.

mod beside;
mod deliver_run;
pub mod emergency;
pub mod fan_out;
mod holds;
pub mod outbox;
pub mod pool;
pub mod receiver;
mod remains;
pub mod replies;
pub mod run;
pub mod segment;
pub mod slow_consumer;
pub mod subscription;
pub mod timed;
mod write_native;
mod write_nats;

pub use outbox::Outbox;
pub use pool::BufferPool;
pub use segment::Segment;

use crate::event::Receive;
use crate::identity::{ConnectionId, HashSeed, Nanos, PublisherId, ShardId};
use crate::limits::{Limits, Shares, SlowConsumerPolicy};
use crate::message::Message;
use crate::metrics::Counter;
use crate::outcome::Outcome;
use crate::router::Target;
use crate::table::{Key, Table};
use crate::turn::Turn;
use emergency::Emergency;
use holds::Holds;
use receiver::{Receiver, Receivers};
use remains::Remains;
use ringbolt_protocol::native::control::{Control, Flow, encode_control};
use ringbolt_protocol::nats::Span;
use ringbolt_protocol::subject::Subject;
use run::Encoded;
use slow_consumer::Admission;
use std::collections::BTreeSet;
use std::rc::Rc;
use subscription::Subscription;

/// Who has not taken what was sent last, 1 MiB at most, for so long is waited for by nobody.
const DEAF_AFTER_NANOS: u64 = 500_000_000;

/// Room for an answer whose size is not known before it is written.
const ANSWER_BYTES_TYPICAL: usize = 256;
/// What each connection may hold though memory has run out, however many there are.
const FAIR_BYTES_MIN: usize = 2 << 10;
/// What answers may add to a full outbox.
const ANSWERS_SLACK_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    own: ShardId,
    seed: HashSeed,
    limits: Rc<Limits>,
    pub receivers: Receivers,
    pub subscriptions: Table<Subscription>,
    /// How many were made so far.
    pub subscriptions_made: u64,
    pub pool: BufferPool,
    /// Memory that all outboxes hold.
    outbox_bytes: usize,
    /// What an outbox may hold before it is asked twice: half of what it may at all, where memory is tight
    /// nothing.
    outbox_room: usize,
    holds: Holds,
    pub emergency: Emergency,
    /// What was queued for connections that ended.
    pub remains: Remains,
    /// Publishers of this shard held back at this moment.
    paused_publishers: u64,
    /// Subscriptions that had their last delivery, to be removed before their client is heard again.
    expired: Vec<Key>,
    /// Room for one run: where its messages stand, and their deliveries.
    pub spans: Vec<Span>,
    encoded: Encoded,
}

impl Delivery {
    pub fn new(own: ShardId, limits: Rc<Limits>, seed: HashSeed) -> Delivery {
        Delivery {
            own,
            seed,
            receivers: Receivers::default(),
            subscriptions: Table::default(),
            subscriptions_made: 0,
            pool: BufferPool::new(limits.buffer_pool_max, limits.outbox_segment_bytes),
            outbox_bytes: 0,
            outbox_room: slow_consumer::hold_from_bytes(&limits),
            holds: Holds::default(),
            emergency: Emergency::new(limits.memory_bytes_max),
            remains: Remains::default(),
            paused_publishers: 0,
            expired: Vec::new(),
            spans: Vec::new(),
            encoded: Encoded::default(),
            limits,
        }
    }

    pub fn lane_shares(&self) -> Shares {
        self.limits.lane_shares
    }

    /// Takes over limits that changed.
    pub fn change_limits(&mut self, limits: Rc<Limits>) {
        self.limits = limits;
        self.heed_emergency();
    }

    /// To be called when the emergency's level changed.
    pub fn heed_emergency(&mut self) {
        self.emergency.limit(self.limits.memory_bytes_max);
        let half = slow_consumer::hold_from_bytes(&self.limits);
        self.outbox_room = if self.emergency.is_tight() { 0 } else { half };
    }

    /// Whether more of what a connection sends is wanted.
    #[inline]
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.receivers.get(id).is_some_and(|receiver| receiver.open)
    }

    /// What each connection may hold though memory has run short: together a tenth of it.
    fn fair_bytes(&self) -> usize {
        (self.emergency.bytes_max() / (10 * self.receivers.len().max(1))).max(FAIR_BYTES_MIN)
    }

    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    pub fn paused_publishers(&self) -> u64 {
        self.paused_publishers
    }

    /// Whether a reply subject is beyond what native clients are promised, if there are some here.
    #[inline]
    pub fn is_foreign(&self, reply: Option<&[u8]>) -> bool {
        reply.is_some_and(|reply| self.receivers.has_natives() && Subject::new(reply).is_err())
    }

    /// Whether a native client gets the deliveries of a subscription.
    pub fn is_native(&self, target: Target) -> bool {
        self.subscriptions.at(target.subscription).is_native()
    }

    /// Whether a target's client may have a message and did not decline it.
    pub fn target_may_have(&mut self, target: Target, message: &Message<'_>) -> bool {
        let subscription = self.subscriptions.key_at(target.subscription);
        let Some(client) = self.receivers.at(target.slot).map(|receiver| receiver.id) else { return false };
        self.may_have(subscription, client, message.subject, message.publication.publisher)
    }

    /// Whether a subscription's client may have a message and did not decline it.
    pub fn may_have(
        &self,
        subscription: Key,
        client: ConnectionId,
        subject: &str,
        from: PublisherId,
    ) -> bool {
        let declines = |receiver: &Receiver| receiver.declines(from, self.own);
        !self.receivers.get(client).is_some_and(declines)
            && self.subscriptions.get(subscription).is_some_and(|subscription| subscription.may_have(subject))
    }

    /// Whether there may be a message for a subscription that its client may not have, or declines.
    pub fn is_choosy(&self, subscription: Key, client: ConnectionId) -> bool {
        self.receivers.get(client).is_some_and(|receiver| receiver.watch.is_some())
            || self.subscriptions.get(subscription).is_some_and(|subscription| subscription.filter.is_some())
    }

    /// A subscription that had its last delivery and is still there.
    #[inline]
    pub fn next_expired(&mut self) -> Option<Key> {
        if self.expired.is_empty() { None } else { self.find_expired() }
    }

    #[cold]
    fn find_expired(&mut self) -> Option<Key> {
        loop {
            let key = self.expired.pop()?;
            let subscription = self.subscriptions.get(key);
            if subscription.is_some_and(|had| had.delivered >= had.deliveries_max) {
                return Some(key);
            }
        }
    }

    pub fn send_control(&mut self, id: ConnectionId, frame: &Control<'_>, turn: &mut Turn<'_>) {
        self.send_answer(id, |out| encode_control(frame, out), turn);
    }

    /// Puts an answer into an outbox.
    pub fn send_answer(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>), turn: &mut Turn<'_>) {
        // Only where memory has run out.
        let fair_bytes = if self.emergency.is_full() { self.fair_bytes() } else { usize::MAX };
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        if !receiver.open {
            return;
        }
        // Answers nobody reads are bounded like deliveries nobody reads.
        let is_full = receiver.outbox.queued_bytes() > self.limits.outbox_bytes_max + ANSWERS_SLACK_BYTES;
        if is_full || receiver.outbox.held_bytes() > fair_bytes {
            return self.cut(id, turn);
        }
        let segment_bytes = self.limits.outbox_segment_bytes;
        let held = receiver.outbox.held_bytes();
        let tail = receiver.outbox.answer_tail(ANSWER_BYTES_TYPICAL, segment_bytes, &mut self.pool);
        let before = tail.len();
        write(tail);
        let written = tail.len() - before;
        debug_assert!(written > 0, "an answer says something");
        if receiver.outbox.answered(written) {
            turn.effects.send.push(id);
        }
        self.outbox_bytes += receiver.outbox.held_bytes() - held;
    }

    /// The next send of a connection, as segments appended to `into`. Returns its bytes; zero if
    /// there is nothing to send or a send is in flight.
    pub fn take_segments(&mut self, now: Nanos, id: ConnectionId, into: &mut Vec<Segment>) -> usize {
        let Some(receiver) = self.receivers.get_mut(id) else { return 0 };
        // What is taken is held until it has left: less is held only of what waited beside.
        let held = if receiver.outbox.has_lanes() { receiver.outbox.held_bytes() } else { 0 };
        let bytes = receiver.outbox.take(now, &self.limits.lane_shares, into);
        if held > 0 {
            self.outbox_bytes -= held - receiver.outbox.held_bytes();
        }
        bytes
    }

    /// The segments last taken have left.
    pub fn sent(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        if receiver.outbox.has_lanes() {
            let held = receiver.outbox.held_bytes();
            drop_expired(receiver, &mut self.pool, turn);
            self.outbox_bytes -= held - receiver.outbox.held_bytes();
        }
        let (bytes, tell) = receiver.outbox.sent(&mut self.pool);
        debug_assert!(bytes <= self.outbox_bytes, "what has left was counted");
        self.outbox_bytes -= bytes;
        if tell {
            turn.effects.send.push(id);
        }
        let half = self.limits.outbox_bytes_max / 2;
        if !receiver.outbox.paused.is_empty() && receiver.outbox.queued_bytes() <= half {
            let publishers = std::mem::take(&mut receiver.outbox.paused);
            self.resume_publishers(publishers, turn);
        }
    }

    /// The connection is gone; its subscriptions went before.
    pub fn closed(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(mut receiver) = self.receivers.remove(id) else { return };
        assert_eq!(receiver.subscriptions.count(), 0, "they end with what the client had");
        assert!(receiver.outbox.held_bytes() <= self.outbox_bytes, "what is held was counted");
        self.outbox_bytes -= receiver.outbox.held_bytes();
        self.remains.add(receiver.outbox.dialect(), receiver.outbox.discard(&mut self.pool));
        self.give_remains_back(turn);
        assert!(receiver.pauses == 0 || self.paused_publishers > 0, "it was counted when it was held back");
        self.paused_publishers -= u64::from(receiver.pauses > 0);
        debug_assert!(receiver.outbox.paused.is_empty(), "they were let go when it began to leave");
    }

    /// A connection takes no more: whoever waits for it goes on.
    pub fn let_publishers_go_of(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        debug_assert!(!receiver.open, "nobody comes to wait for it any more");
        let publishers = std::mem::take(&mut receiver.outbox.paused);
        self.resume_publishers(publishers, turn);
    }

    /// Receives no more from a client of this shard until it has been heard: nobody is told, it is soon.
    pub fn receive_later(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        if !std::mem::replace(&mut receiver.deferred, true) {
            turn.effects.receive.push((id, Receive::Pause));
        }
    }

    /// It has been heard.
    pub fn receive_again(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        let was_deferred = std::mem::take(&mut receiver.deferred);
        if was_deferred && receiver.open && receiver.pauses == 0 {
            turn.effects.receive.push((id, Receive::Resume));
        }
    }

    /// Likewise, with what it has just said: the rest of that waits, or many that are heard in one turn would
    /// go far beyond what there is room for.
    pub fn hold_back_and_end(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        self.hold_back(id, turn);
        turn.end();
    }

    /// Stops receiving from a publisher of this shard, for one more reason.
    pub fn hold_back(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        receiver.pauses += 1;
        if receiver.pauses == 1 {
            turn.counters.add(Counter::PublisherPauses, 1);
            self.paused_publishers += 1;
            debug_assert!(self.paused_publishers <= self.receivers.len() as u64, "each is counted once");
            turn.effects.receive.push((id, Receive::Pause));
            self.report_flow(id, true, turn);
        }
    }

    /// One reason less.
    pub fn let_go(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id) else { return };
        if receiver.pauses == 0 {
            return;
        }
        receiver.pauses -= 1;
        if receiver.pauses == 0 {
            assert!(self.paused_publishers > 0, "it was counted when it was held back");
            self.paused_publishers -= 1;
            if receiver.open {
                if receiver.deferred {
                    turn.outcomes.push(Outcome::GoOn(id));
                } else {
                    turn.effects.receive.push((id, Receive::Resume));
                }
                self.report_flow(id, false, turn);
            }
        }
    }

    /// Says to a publisher that asked for it that it is not read from, or is again.
    fn report_flow(&mut self, id: ConnectionId, paused: bool, turn: &mut Turn<'_>) {
        if self.receivers.get(id).is_some_and(|receiver| receiver.flow) {
            self.send_control(id, &Control::Flow(Flow { correlation_id: 0, paused }), turn);
        }
    }

    fn resume_publishers(&mut self, publishers: BTreeSet<PublisherId>, turn: &mut Turn<'_>) {
        for publisher in publishers {
            if publisher.shard == self.own {
                self.let_go(publisher.connection, turn);
            } else {
                turn.outcomes.push(Outcome::Resume(publisher));
            }
        }
    }

    /// An outbox that is not full comes to hold so much by a message, or a run of them, of so many bytes. Who
    /// outruns its receiver is held back for a while, if that is the policy and the receiver takes something.
    #[cold]
    fn heed_half_full(
        &mut self,
        (slot, queued_bytes): (u32, usize),
        policy: Option<SlowConsumerPolicy>,
        message: &Message<'_>,
        bytes: usize,
        turn: &mut Turn<'_>,
    ) {
        let publisher = message.publication.publisher;
        if queued_bytes <= self.hold_from_bytes()
            || publisher.connection == ConnectionId::NOBODY
            || policy.unwrap_or_else(|| self.limits.slow_consumer_for(message.subject))
                != SlowConsumerPolicy::Hold
        {
            return;
        }
        let flight_nanos = self.receivers.at(slot).map(|receiver| receiver.outbox.flight_nanos(turn.now));
        if flight_nanos.is_some_and(|nanos| nanos >= DEAF_AFTER_NANOS) {
            return;
        }
        self.hold_back_briefly(publisher, bytes, turn);
    }

    /// What an outbox holds before publishers that go on are slowed down: less, where memory is tight.
    fn hold_from_bytes(&self) -> usize {
        let half = slow_consumer::hold_from_bytes(&self.limits);
        if self.emergency.is_tight() { half.min(self.fair_bytes()) } else { half }
    }

    /// A publisher has sent so many bytes to a receiver that it outruns.
    #[cold]
    pub fn hold_back_briefly(&mut self, publisher: PublisherId, bytes: usize, turn: &mut Turn<'_>) {
        if !self.holds.outruns(publisher, (turn.now, turn.left()), bytes) {
            return;
        }
        if publisher.shard == self.own {
            self.hold_back_and_end(publisher.connection, turn);
        } else {
            turn.outcomes.push(Outcome::Outruns(publisher));
        }
    }

    /// When publishers are let go that were held back briefly.
    pub fn holds_due(&self) -> Option<Nanos> {
        self.holds.due()
    }

    /// Lets those go whose time is over.
    pub fn let_go_in_time(&mut self, turn: &mut Turn<'_>) {
        while let Some(publisher) = self.holds.let_go(turn.now, self.limits.outbox_bytes_max) {
            // Its own shard lets go of one of another.
            if publisher.shard == self.own {
                self.let_go(publisher.connection, turn);
            }
        }
    }

    fn pause_for(&mut self, slot: u32, publisher: PublisherId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.at(slot).filter(|receiver| receiver.open) else { return };
        if !receiver.outbox.paused.insert(publisher) {
            return;
        }
        if publisher.shard == self.own {
            self.hold_back_and_end(publisher.connection, turn);
        } else {
            turn.outcomes.push(Outcome::Pause(publisher));
        }
    }

    /// Takes a connection out at once; what it had is forgotten after the event.
    pub fn cut(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(receiver) = self.receivers.get_mut(id).filter(|receiver| receiver.open) else { return };
        receiver.open = false;
        let held = receiver.outbox.held_bytes();
        assert!(held <= self.outbox_bytes, "what is held was counted");
        self.remains.add(receiver.outbox.dialect(), receiver.outbox.discard(&mut self.pool));
        self.outbox_bytes -= held - receiver.outbox.held_bytes();
        debug_assert_eq!(receiver.outbox.queued_bytes(), 0, "all of it was dropped");
        self.give_remains_back(turn);
        turn.outcomes.push(Outcome::Cut(id));
    }

    /// Counts and gives back a piece of what was queued for connections that ended.
    pub fn give_remains_back(&mut self, turn: &mut Turn<'_>) {
        let (dropped, steps) = self.remains.give_back(&mut self.pool);
        turn.charge(steps);
        turn.counters.add(Counter::DropsConnectionEnded, dropped);
    }

    /// The outbox of `slot` is full. Returns whether the message goes in all the same.
    #[cold]
    fn admit_over_limit(
        &mut self,
        slot: u32,
        policy: Option<SlowConsumerPolicy>,
        message: &Message<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let fair_bytes = self.fair_bytes();
        let Some(receiver) = self.receivers.at(slot) else { return false };
        // Who takes what it is sent has little, and goes on.
        let is_greedy = receiver.outbox.held_bytes() > fair_bytes;
        if is_greedy && self.emergency.sheds(message.publication.lane()) {
            turn.counters.add(Counter::DropsEmergency, 1);
            return false;
        }
        let id = receiver.id;
        let bytes = message.publication.payload.bytes().len();
        let most = self.limits.outbox_bytes_max;
        if receiver.outbox.queued_bytes() + bytes > most {
            let held = receiver.outbox.held_bytes();
            drop_expired(receiver, &mut self.pool, turn);
            self.outbox_bytes -= held - receiver.outbox.held_bytes();
        }
        // A publisher may have been promised more before the limits were lowered.
        if receiver.outbox.is_empty() {
            return true;
        }
        let queued = receiver.outbox.queued_bytes() + bytes;
        if queued <= most {
            self.heed_half_full((slot, queued), policy, message, bytes, turn);
            return true;
        }
        let policy = policy.unwrap_or_else(|| self.limits.slow_consumer_for(message.subject));
        match slow_consumer::decide(policy, queued, &self.limits) {
            Admission::Cut => {
                self.cut(id, turn);
                false
            }
            Admission::DropNewest => self.make_room(slot, false, message, turn),
            Admission::DropOldest => self.make_room(slot, true, message, turn),
            Admission::DropHardLimit => {
                turn.counters.add(Counter::DropsOutboxHardLimit, 1);
                false
            }
            Admission::PausePublisher => {
                self.pause_for(slot, message.publication.publisher, turn);
                // Telling a publisher that is held back may have been too much: it may be the receiver.
                self.receivers.at(slot).is_some_and(|receiver| receiver.open)
            }
        }
    }

    /// Drops what waits in less important lanes than the message's, and the oldest of its own lane if `own`.
    /// Returns whether the message fits then.
    fn make_room(&mut self, slot: u32, own: bool, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        let Some(receiver) = self.receivers.at(slot) else { return false };
        let payload_bytes = message.publication.payload.bytes().len();
        while receiver.outbox.queued_bytes() + payload_bytes > self.limits.outbox_bytes_max {
            let before = receiver.outbox.held_bytes();
            let dropped = receiver.outbox.drop_oldest(message.publication.lane(), own, &mut self.pool);
            debug_assert_eq!(dropped > 0, receiver.outbox.held_bytes() < before, "every drop makes room");
            self.outbox_bytes -= before - receiver.outbox.held_bytes();
            turn.counters.add(Counter::DropsSlowConsumerOldest, dropped);
            if dropped == 0 {
                turn.counters.add(Counter::DropsSlowConsumerNewest, 1);
                return false;
            }
        }
        true
    }

    /// Whether a message of so many bytes would fit an outbox now; an empty one takes any message.
    pub fn has_room(&mut self, target: Target, bytes: usize) -> bool {
        let most = self.limits.outbox_bytes_max;
        let receiver: Option<&mut Receiver> = self.receivers.at(target.slot);
        receiver.is_some_and(|receiver| {
            receiver.outbox.queued_bytes() + bytes <= most || receiver.outbox.is_empty()
        })
    }

    /// Recounts every running sum.
    pub fn check(&self) {
        self.receivers.check();
        self.holds.check();
        let receivers = || self.receivers.iter();
        receivers().for_each(|receiver| receiver.outbox.check());
        let held: usize = receivers().map(|receiver| receiver.outbox.held_bytes()).sum();
        assert_eq!(self.outbox_bytes, held, "bytes of all outboxes");
        let lent: usize = receivers().map(|receiver| receiver.outbox.lent_bytes()).sum();
        assert_eq!(self.pool.lent_bytes(), lent, "queues that are lent");
        let paused = receivers().filter(|receiver| receiver.pauses > 0).count();
        assert_eq!(self.paused_publishers, paused as u64, "publishers that are held back");
        let subscriptions: usize = receivers().map(|receiver| receiver.subscriptions.count()).sum();
        assert_eq!(self.subscriptions.len(), subscriptions, "subscriptions of all connections");
        self.subscriptions.check();
        let interest: usize = receivers().map(|receiver| receiver.interest_bytes).sum();
        let of_each = self.subscriptions.iter().map(|(_, subscription)| subscription.bytes).sum::<usize>();
        assert_eq!(interest, of_each, "memory of each connection's subscriptions");
        for (_, subscription) in self.subscriptions.iter() {
            assert!(self.receivers.has(subscription.slot), "a subscription ends before its connection");
            assert!(subscription.delivered <= subscription.deliveries_max, "the last delivery ends it");
        }
    }
}

/// Drops what waits for a connection and nobody wants any more.
#[cold]
fn drop_expired(receiver: &mut Receiver, pool: &mut BufferPool, turn: &mut Turn<'_>) {
    let expired = receiver.outbox.drop_expired(turn.now, pool);
    turn.counters.add(Counter::DropsExpired, expired);
}
