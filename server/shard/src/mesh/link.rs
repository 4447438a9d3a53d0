//! The sending ends of links to other shards: queues of batches, bounded in bytes.

use super::batch::{Forward, MeshBatch, Record};
use super::interest::Interest;
use crate::identity::{ConnectionId, Nanos, PublisherId, ShardId};
use crate::lanes::{LANES, Lane, Scheduler};
use crate::limits::{Limits, Shares};
use crate::metrics::Counter;
use crate::turn::Turn;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// For so long a publisher is believed to outrun a receiver of another shard; it is told so anew meanwhile.
const SLOWED_NANOS: u64 = 20_000_000;

/// What leaves before all else may be so much on each link before who makes it waits.
const CONTROL_BYTES_MAX: usize = 256 << 10;

/// The sending ends of a shard's links.
#[derive(Debug)]
pub struct Mesh {
    own: ShardId,
    limits: Rc<Limits>,
    links: Vec<Link>,
    pub interest: Interest,
}

/// What became of a message for another shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarded {
    Taken,
    /// It was taken, and its publisher is to be held back until the link has room.
    TakenHoldingBack(ConnectionId),
    /// It was taken, and its publisher outruns a receiver there.
    TakenOutrunning,
    Dropped,
    /// Likewise, and its publisher is to be held back.
    DroppedHoldingBack(ConnectionId),
}

impl Mesh {
    pub fn new(own: ShardId, limits: Rc<Limits>) -> Mesh {
        let careful_from = limits.mesh_pending_bytes_max + 1;
        let links = (0..limits.shards).map(|_| Link { careful_from, ..Link::default() }).collect();
        Mesh { own, interest: Interest::new(limits.shards, own), links, limits }
    }

    pub fn change_limits(&mut self, limits: Rc<Limits>) {
        debug_assert_eq!(limits.shards, self.links.len(), "shards are as many as at the start");
        self.limits = limits;
    }

    /// Hands one message to a link.
    #[inline]
    pub fn forward(&mut self, shard: ShardId, forward: &Forward<'_>, turn: &mut Turn<'_>) -> Forwarded {
        debug_assert_ne!(shard, self.own, "what is here is delivered here");
        let link = &self.links[usize::from(shard)];
        if link.pending_bytes() >= link.careful_from {
            return self.forward_with_care(shard, forward, turn);
        }
        self.push_message(shard, forward, turn);
        Forwarded::Taken
    }

    #[inline]
    fn push_message(&mut self, shard: ShardId, forward: &Forward<'_>, turn: &mut Turn<'_>) {
        turn.counters.add(Counter::MeshMessagesOut, 1);
        if self.links[usize::from(shard)].push_message(forward, self.limits.mesh_batch_bytes) {
            turn.effects.mesh.push(shard);
        }
    }

    /// Likewise, over a link that has more than it should, or publishers to be slowed down.
    #[cold]
    #[inline(never)]
    fn forward_with_care(&mut self, shard: ShardId, forward: &Forward<'_>, turn: &mut Turn<'_>) -> Forwarded {
        let forwarded = self.look_at_link(shard, forward, turn);
        if !matches!(forwarded, Forwarded::Dropped | Forwarded::DroppedHoldingBack(_)) {
            self.push_message(shard, forward, turn);
        }
        forwarded
    }

    /// Whether a message for such a link is taken, and what that means for its publisher.
    fn look_at_link(&mut self, shard: ShardId, forward: &Forward<'_>, turn: &mut Turn<'_>) -> Forwarded {
        let link = &mut self.links[usize::from(shard)];
        let PublisherId { shard: from, connection } = forward.message.publication.publisher;
        let is_full = link.pending_bytes() > self.limits.mesh_pending_bytes_max;
        // What it has said beyond this message waits with it. Publishers of others are not this shard's to
        // hold back.
        let is_new = is_full && from == self.own && link.paused.insert(connection);
        while link.pending_bytes() > 2 * self.limits.mesh_pending_bytes_max {
            let shed = link.shed_below(forward.message.publication.lane());
            turn.counters.add(Counter::DropsMeshFull, shed.max(1));
            if shed == 0 && is_new {
                return Forwarded::DroppedHoldingBack(connection);
            } else if shed == 0 {
                return Forwarded::Dropped;
            }
        }
        if is_new {
            debug_assert!(link.announced, "the edge was told of what waits");
            return Forwarded::TakenHoldingBack(connection);
        }
        if is_full || from != self.own {
            return Forwarded::Taken;
        }
        link.forget_slowed(turn.now);
        if link.slowed.is_empty() {
            link.careful_from = self.limits.mesh_pending_bytes_max + 1;
        }
        if link.is_slowed(connection, turn.now) { Forwarded::TakenOutrunning } else { Forwarded::Taken }
    }

    /// A publisher of this shard outruns a receiver of that one: for a while it is slowed down here, which
    /// what it has sent need not come to before.
    pub fn slow_down(&mut self, shard: ShardId, publisher: ConnectionId, now: Nanos) {
        let link = &mut self.links[usize::from(shard)];
        let until = Nanos(now.0 + SLOWED_NANOS);
        link.slowed.insert(publisher, until);
        link.slowed_until.push_back((until, publisher));
        link.careful_from = 0;
    }

    /// Whether it is.
    pub fn is_slowed(&self, shard: ShardId, publisher: PublisherId, now: Nanos) -> bool {
        publisher.shard == self.own && self.links[usize::from(shard)].is_slowed(publisher.connection, now)
    }

    /// Offers a message that is kept here. Returns whether the link has room for it.
    pub fn offer(&mut self, shard: ShardId, number: u64, offer: &Forward<'_>, turn: &mut Turn<'_>) -> bool {
        debug_assert_ne!(shard, self.own, "what is kept here is not offered here");
        let link = &mut self.links[usize::from(shard)];
        let room = link.pending_bytes() <= self.limits.mesh_pending_bytes_max;
        if room {
            turn.counters.add(Counter::MeshMessagesOut, 1);
            if link.push_offer(number, offer, self.limits.mesh_batch_bytes) {
                turn.effects.mesh.push(shard);
            }
        }
        room
    }

    /// Whether a link has so much that what can be done without is not sent.
    pub fn is_overfull(&self, shard: ShardId) -> bool {
        self.links[usize::from(shard)].pending_bytes() > 2 * self.limits.mesh_pending_bytes_max
    }

    /// Appends a record to a link whatever its length: control records are few and small.
    #[inline]
    pub fn push(&mut self, shard: ShardId, record: &Record<'_>, turn: &mut Turn<'_>) {
        debug_assert_ne!(shard, self.own, "a shard has no link to itself");
        if self.links[usize::from(shard)].push(record, self.limits.mesh_batch_bytes) {
            turn.effects.mesh.push(shard);
        }
    }

    pub fn broadcast(&mut self, record: &Record<'_>, turn: &mut Turn<'_>) {
        for shard in 0..self.links.len() as ShardId {
            if shard != self.own {
                self.push(shard, record, turn);
            }
        }
    }

    /// The next batch for another shard.
    pub fn take(&mut self, shard: ShardId) -> Option<MeshBatch> {
        let batch = self.links[usize::from(shard)].take(self.limits.lane_shares)?;
        debug_assert!(!batch.is_empty(), "a batch begins with a record");
        Some(batch)
    }

    /// There is room on a link again. Returns the publishers that need not be held back for it any longer.
    pub fn room(&mut self, shard: ShardId, turn: &mut Turn<'_>) -> BTreeSet<ConnectionId> {
        let link = &mut self.links[usize::from(shard)];
        if link.room() {
            turn.effects.mesh.push(shard);
        }
        let drained = link.pending_bytes() <= self.limits.mesh_pending_bytes_max / 2;
        if drained { std::mem::take(&mut link.paused) } else { BTreeSet::new() }
    }

    /// Bytes and batches that wait for all shards.
    pub fn pending(&self) -> (usize, usize) {
        let bytes = self.links.iter().map(Link::pending_bytes).sum();
        (bytes, self.links.iter().map(Link::pending_batches).sum())
    }

    /// Whether so much interest is on its way that who changes more of it is to wait. It is confirmed then,
    /// whereupon they go on.
    pub fn is_flooded_with_interest(&self) -> bool {
        let is_long = |link: &Link| link.control_bytes() > CONTROL_BYTES_MAX;
        self.interest.is_far_behind() || !self.interest.is_in_force() && self.links.iter().any(is_long)
    }

    /// Recounts what waits.
    pub fn check(&self) {
        assert!(self.links[usize::from(self.own)].pending_batches() == 0, "a shard has no link to itself");
        self.links.iter().for_each(Link::check);
    }
}

/// What is pending for one other shard.
#[derive(Debug, Default)]
pub struct Link {
    /// What messages rely on, and what publishers wait for: it leaves before all else.
    control: VecDeque<MeshBatch>,
    /// Full batches, and behind them the one being filled.
    pending: VecDeque<MeshBatch>,
    /// Batches of the other lanes, while there are some.
    beside: Option<Box<Beside>>,
    pending_bytes: usize,
    /// What the batch last taken had: the next will need as much.
    last_bytes: usize,
    /// The edge was told to take a batch and has not come yet.
    announced: bool,
    /// Publishers of this shard held back until the link is half empty.
    pub paused: BTreeSet<ConnectionId>,
    /// Publishers of this shard that outrun a receiver of the other, and until when that is believed.
    slowed: BTreeMap<ConnectionId, Nanos>,
    /// Likewise, by when that ends; one that was told so anew is there more than once.
    slowed_until: VecDeque<(Nanos, ConnectionId)>,
    /// Bytes from which on a message is looked at twice: none, while publishers are slowed down.
    careful_from: usize,
}

/// Messages of other lanes than the normal one; a batch is of one lane.
#[derive(Debug, Default)]
struct Beside {
    queues: [VecDeque<MeshBatch>; LANES],
    scheduler: Scheduler,
}

/// Where a record waits.
#[derive(Clone, Copy)]
enum Queue {
    Control,
    Lane(Lane),
}

impl Link {
    fn is_slowed(&self, publisher: ConnectionId, now: Nanos) -> bool {
        self.slowed.get(&publisher).is_some_and(|until| *until > now)
    }

    fn forget_slowed(&mut self, now: Nanos) {
        while let Some(&(until, publisher)) = self.slowed_until.front()
            && until <= now
        {
            self.slowed_until.pop_front();
            if self.slowed.get(&publisher) == Some(&until) {
                self.slowed.remove(&publisher);
            }
        }
    }

    /// Appends a record. Returns whether the edge must be told.
    #[must_use = "the edge takes only what it is told of"]
    pub fn push(&mut self, record: &Record<'_>, batch_bytes: usize) -> bool {
        if matches!(record, Record::Fence) {
            self.merge();
        }
        if record.leaves_first() {
            return self.append(Queue::Control, batch_bytes, |batch| batch.push(record));
        }
        self.append(Queue::Lane(Lane::Normal), batch_bytes, |batch| batch.push(record))
    }

    /// Likewise, a message to its lane.
    #[inline]
    #[must_use = "the edge takes only what it is told of"]
    pub fn push_message(&mut self, forward: &Forward<'_>, batch_bytes: usize) -> bool {
        let lane = forward.message.publication.lane();
        self.append(Queue::Lane(lane), batch_bytes, |batch| batch.push_message(forward))
    }

    /// Likewise, a message that is kept here: it is not shed on its way, whatever its lane is.
    #[cold]
    #[inline(never)]
    #[must_use = "the edge takes only what it is told of"]
    pub fn push_offer(&mut self, number: u64, offer: &Forward<'_>, batch_bytes: usize) -> bool {
        self.append(Queue::Lane(Lane::Normal), batch_bytes, |batch| {
            batch.push(&Record::Offer { number });
            batch.push_message(offer);
        })
    }

    #[inline(always)]
    fn append(&mut self, queue: Queue, batch_bytes: usize, write: impl FnOnce(&mut MeshBatch)) -> bool {
        let queue = match queue {
            Queue::Lane(Lane::Normal) => &mut self.pending,
            Queue::Lane(lane) => &mut self.beside.get_or_insert_default().queues[lane as usize],
            Queue::Control => &mut self.control,
        };
        let fits = queue.back().is_some_and(|last| last.size_bytes() < batch_bytes);
        if !fits {
            queue.push_back(MeshBatch::with_capacity(self.last_bytes.min(batch_bytes)));
        }
        let batch = queue.back_mut().expect("pushed above");
        let before = batch.size_bytes();
        write(batch);
        debug_assert!(batch.size_bytes() > before, "a record has a length");
        self.pending_bytes += batch.size_bytes() - before;
        !std::mem::replace(&mut self.announced, true)
    }

    /// The next batch, in the order of its lane. The edge answers `Event::MeshRoom` once it is on its way.
    pub fn take(&mut self, shares: Shares) -> Option<MeshBatch> {
        let control = self.control.pop_front();
        let batch = match (control, &mut self.beside) {
            (Some(batch), _) => batch,
            (None, None) => self.pending.pop_front()?,
            (None, Some(beside)) => {
                let batch = beside.take(&mut self.pending, shares)?;
                if beside.queues.iter().all(VecDeque::is_empty) {
                    self.beside = None;
                }
                batch
            }
        };
        debug_assert!(self.announced, "the edge takes what it was told of");
        debug_assert!(batch.size_bytes() <= self.pending_bytes, "what is taken was counted");
        self.pending_bytes -= batch.size_bytes();
        self.last_bytes = batch.bytes_written();
        debug_assert!(self.pending_bytes == 0 || self.pending_batches() > 0, "bytes wait in batches");
        Some(batch)
    }

    /// Drops the oldest batch of the least important lane below `lane`. Returns its messages; 0: none.
    pub fn shed_below(&mut self, lane: Lane) -> u64 {
        let Some(beside) = &mut self.beside else { return 0 };
        let lower = Lane::ALL.into_iter().rev().filter(|other| *other > lane && *other != Lane::Normal);
        for other in lower {
            if let Some(batch) = beside.queues[other as usize].pop_front() {
                debug_assert!(batch.messages() > 0, "beside the normal lane there are messages only");
                debug_assert!(batch.size_bytes() <= self.pending_bytes, "what is shed was counted");
                self.pending_bytes -= batch.size_bytes();
                return u64::from(batch.messages());
            }
        }
        0
    }

    /// There is room again. Returns whether more waits, and the edge must be told.
    #[must_use = "the edge takes only what it is told of"]
    pub fn room(&mut self) -> bool {
        self.announced = self.pending_batches() > 0;
        self.announced
    }

    /// Recounts what waits.
    pub fn check(&self) {
        assert_eq!(
            self.pending_bytes,
            self.queues().flatten().map(MeshBatch::size_bytes).sum::<usize>(),
            "bytes for another shard"
        );
        assert!(self.announced || self.pending_batches() == 0, "the edge was told of what waits");
        self.queues().flatten().for_each(MeshBatch::check);
        let control = self.control.iter().map(MeshBatch::messages);
        assert_eq!(control.sum::<u32>(), 0, "no message leaves before those that came before it");
    }

    fn queues(&self) -> impl Iterator<Item = &VecDeque<MeshBatch>> {
        let beside = self.beside.iter().flat_map(|beside| &beside.queues);
        beside.chain([&self.pending, &self.control])
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub fn pending_batches(&self) -> usize {
        self.queues().map(VecDeque::len).sum()
    }

    /// Bytes that leave before all else.
    pub fn control_bytes(&self) -> usize {
        self.control.iter().map(MeshBatch::size_bytes).sum()
    }

    /// One queue again, the important first: what comes next must be last.
    fn merge(&mut self) {
        let Some(mut beside) = self.beside.take() else { return };
        debug_assert!(beside.queues[Lane::Normal as usize].is_empty(), "the normal lane waits by itself");
        beside.queues[Lane::Normal as usize] = std::mem::take(&mut self.pending);
        self.pending = beside.queues.into_iter().flatten().collect();
    }
}

impl Beside {
    fn take(&mut self, normal: &mut VecDeque<MeshBatch>, shares: Shares) -> Option<MeshBatch> {
        let lane = self.scheduler.next(&self.heads(normal))?;
        let queue = if lane == Lane::Normal { &mut *normal } else { &mut self.queues[lane as usize] };
        let batch = queue.pop_front()?;
        let waits = self.heads(normal).map(|head| head > 0);
        debug_assert!(!batch.is_empty(), "a lane without bytes is not served");
        self.scheduler.served(lane, batch.size_bytes(), waits, shares);
        Some(batch)
    }

    /// Bytes of the batch at the head of every lane.
    fn heads(&self, normal: &VecDeque<MeshBatch>) -> [usize; LANES] {
        let head = |queue: &VecDeque<MeshBatch>| queue.front().map_or(0, MeshBatch::size_bytes);
        std::array::from_fn(|lane| {
            head(if lane == Lane::Normal as usize { normal } else { &self.queues[lane] })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Read, Way};
    use super::*;
    use crate::message::{Message, Payload, Publication};
    use ringbolt_protocol::command::Flags;

    #[test]
    fn batches_leave_in_order_and_the_edge_is_told_once() {
        let mut link = Link::default();
        let record = |sequence| Record::InterestInForce { sequence };
        assert!(link.push(&record(1), 16));
        assert!((2..=5).all(|sequence| !link.push(&record(sequence), 16)));
        let mut seen = Vec::new();
        while let Some(batch) = link.take(Shares::default()) {
            seen.extend(batch.records().map(|record| match record {
                Read::Control(Record::InterestInForce { sequence }) => sequence,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(link.pending_bytes(), 0);
        assert!(!link.room());
        assert!(link.push(&record(6), 16), "told again after the room was reported");
    }

    #[test]
    fn interest_overtakes_every_message_and_no_other_interest() {
        let mut link = Link::default();
        let publication = Publication { flags: Flags(1), ..Publication::EMPTY };
        let message = Message { subject: "a", publication: &publication };
        let way = Way { subject_hash: 0, plain: true, group: None, hops: 0 };
        let _told = link.push_message(&Forward { message: &message, way }, 64);
        for sequence in 1..=9 {
            let account = publication.account;
            let record = Record::Interest { sequence, account, count: 1, pattern: "inbox", group: None };
            let _told = link.push(&record, 64);
        }
        link.check();
        let mut seen = Vec::new();
        while let Some(batch) = link.take(Shares::default()) {
            seen.extend(batch.records().map(|record| match record {
                Read::Control(Record::Interest { sequence, .. }) => sequence,
                Read::Publish(_) => u64::MAX,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, u64::MAX]);
    }

    #[test]
    fn lanes_overtake_each_other_and_a_fence_is_last() {
        let mut link = Link::default();
        let payload = [0; 64];
        let push = |link: &mut Link, lane: u8, number: u64| {
            let payload = Payload::Copied(&payload);
            let publication =
                Publication { flags: Flags(lane), correlation_id: number, payload, ..Publication::EMPTY };
            let message = Message { subject: "a", publication: &publication };
            let way = Way { subject_hash: 0, plain: true, group: None, hops: 0 };
            link.push_message(&Forward { message: &message, way }, 1)
        };
        // Lane 4 of the wire is background, 0 normal, 1 critical.
        for number in 0..3 {
            for lane in [4, 0, 1] {
                let _told = push(&mut link, lane, number);
            }
        }
        let shed = link.shed_below(Lane::Normal);
        assert_eq!((shed, link.shed_below(Lane::Background)), (1, 0), "only what is less important");
        assert_eq!(link.take(Shares::default()).map(|batch| batch.messages()), Some(1));
        let _told = link.push(&Record::Fence, 1);
        let mut seen = Vec::new();
        while let Some(batch) = link.take(Shares::default()) {
            seen.extend(batch.records().map(|record| match record {
                Read::Publish(publish) => (publish.publication.flags.0, publish.publication.correlation_id),
                Read::Control(_) => (u8::MAX, 0),
            }));
        }
        assert_eq!(seen, [(1, 1), (1, 2), (0, 0), (0, 1), (0, 2), (4, 1), (4, 2), (u8::MAX, 0)]);
        assert_eq!((link.pending_bytes(), link.pending_batches()), (0, 0));
    }
}
