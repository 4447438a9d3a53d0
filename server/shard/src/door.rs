//! The one way in for what is published, in whatever dialect, by whatever shard, or by the server itself: the
//! subject meets its route.

use crate::accounts::links::Hop;
use crate::bus::Bus;
use crate::delivery::fan_out::FanOut;
use crate::delivery::run::Run;
use crate::identity::{ConnectionId, PublisherId};
use crate::limits::Limits;
use crate::mesh::batch::{MeshPublish, TEXT_BYTES_MAX};
use crate::message::{Marks, Message, Payload, Publication};
use crate::metrics::Counter;
use crate::router::Route;
use crate::steps::{RUN_STEPS, steps_of, steps_of_text};
use crate::turn::Turn;
use bytes::Bytes;
use ringbolt_protocol::subject::Subject;

impl Bus {
    /// Delivers a publication to all who want it. Returns whether anyone took it, or it is a dead letter.
    #[inline]
    pub fn publish(&mut self, publication: &Publication<'_>, turn: &mut Turn<'_>) -> bool {
        let account = publication.account;
        debug_assert!(
            publication.header_bytes as usize <= publication.payload.bytes().len(),
            "headers are a part of the payload"
        );
        if publication.header_bytes > 0 || self.accounts.links.concern(account) || !self.requests.is_idle() {
            return self.publish_with_care(publication, turn);
        }
        self.publish_within(publication, None, turn)
    }

    /// Likewise, where there are headers to heed, links between accounts, or requests to look after.
    #[cold]
    #[inline(never)]
    fn publish_with_care(&mut self, publication: &Publication<'_>, turn: &mut Turn<'_>) -> bool {
        let (shared, with_shared);
        let mut publication = publication;
        if let Some(bytes) = worth_sharing(publication, self.outlets.limits.shared_payload_bytes_min) {
            shared = bytes;
            with_shared = Publication { payload: Payload::Shared(&shared), ..*publication };
            publication = &with_shared;
        }
        let late = self.late_for(publication, turn);
        let mut taken = self.publish_within(publication, late, turn);
        let goes_on = self.accounts.links.concern(publication.account);
        if goes_on || publication.marks.unroutable_dies {
            let (subject, _, _) = self.accounts.space(publication.account).route(publication.subject);
            // Its number may stand for another subject once further ones are looked up.
            let subject = subject.to_owned();
            if goes_on {
                let reply = publication.reply.map(<[u8]>::to_vec);
                let hop = Hop { account: publication.account, subject: subject.clone(), reply, depth: 0 };
                taken |= self.publish_beyond(self.accounts.links.next(&hop), publication, turn);
            }
            if !taken && publication.marks.unroutable_dies {
                self.bury_unroutable(&Message { subject: &subject, publication }, turn);
                return true;
            }
        }
        if taken && publication.header_bytes > 0 {
            let most = self.outlets.limits.requests_bytes_max();
            self.requests.watch_asked(publication, most, turn);
        }
        taken
    }

    /// The requester that does not want a reply any more; it counts as one who took it.
    fn late_for(&mut self, publication: &Publication<'_>, turn: &mut Turn<'_>) -> Option<ConnectionId> {
        if self.requests.is_idle() {
            return None;
        }
        let account = publication.account;
        let (subject, _, _) = self.accounts.space(account).route(publication.subject);
        if !self.requests.concern(account, subject) {
            return None;
        }
        self.requests.late(account, subject, publication.correlation_id, turn)
    }

    /// Delivers within the publisher's account, but not to `except`.
    #[inline]
    fn publish_within(
        &mut self,
        publication: &Publication<'_>,
        except: Option<ConnectionId>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let space = self.accounts.space(publication.account);
        let (subject, subject_hash, route) = space.subjects.route(publication.subject, &space.router);
        if route.is_costly() {
            turn.charge(route.walk_steps());
            let bytes = publication.payload.bytes().len();
            if route.is_wide(bytes, &self.outlets.limits) {
                self.publish_wide(publication, except, turn);
                return true;
            }
            turn.charge(route.steps(bytes));
        }
        if route.is_empty() {
            return except.is_some();
        }
        let (shared, with_shared);
        let mut publication = publication;
        let min = self.outlets.limits.shared_payload_bytes_min;
        if let Some(bytes) = worth_sharing(publication, min) {
            shared = bytes;
            with_shared = Publication { payload: Payload::Shared(&shared), ..*publication };
            publication = &with_shared;
        }
        let message = Message { subject, publication };
        let foreign = route.foreign || publication.foreign;
        let mut fan_out = FanOut { outlets: &mut self.outlets, subject_hash, hops: 0, foreign };
        match except {
            None => fan_out.everyone(route, &message, turn),
            Some(requester) => {
                fan_out.everyone_but(requester, route, &message, turn);
                true
            }
        }
    }

    /// Delivers a run, which has the subject of `common`, as far as the turn goes. Returns the beginning
    /// of it that was delivered; nothing: its messages are to be published one by one.
    pub fn publish_run<'r>(
        &mut self,
        common: &Publication<'_>,
        mut run: Run<'r>,
        turn: &mut Turn<'_>,
    ) -> Run<'r> {
        debug_assert!(common.header_bytes == 0 && common.reply.is_none(), "the messages of a run are plain");
        debug_assert!(run.messages() > 0, "a run has messages");
        let account = common.account;
        if self.accounts.links.concern(account) {
            return run.first(0);
        }
        let space = self.accounts.space(account);
        let (subject, subject_hash, route) = space.subjects.route(common.subject, &space.router);
        if !route.by_receiver || self.requests.concern(account, subject) {
            return run.first(0);
        }
        if route.is_costly() {
            if route.is_wide(0, &self.outlets.limits) {
                return run.first(0);
            }
            run = run.within(route.bytes_within(turn.left().max(RUN_STEPS)));
            turn.charge(route.steps(run.bytes()));
        }
        turn.charge(run.messages() as usize);
        if run.messages() > 0 {
            let outlets = &mut self.outlets;
            let message = Message { subject, publication: common };
            FanOut { outlets, subject_hash, hops: 0, foreign: false }.run(route, &run, &message, turn);
        }
        run
    }

    /// Publishes on behalf of the server. Returns whether anyone took it.
    #[cold]
    pub fn say(&mut self, subject: &str, publication: &Publication<'_>, turn: &mut Turn<'_>) -> bool {
        let publisher = PublisherId { shard: self.outlets.own, connection: ConnectionId::NOBODY };
        let said = Publication { publisher, ..*publication };
        let reply = said.reply.map(<[u8]>::to_vec);
        let hop = Hop { account: said.account, subject: subject.to_owned(), reply, depth: 0 };
        self.publish_beyond(vec![hop], &said, turn)
    }

    /// Delivers a message under a subject of its own in each account of `hops`, and in those that have it
    /// from there. Returns whether anyone took it.
    #[cold]
    fn publish_beyond(
        &mut self,
        mut hops: Vec<Hop>,
        publication: &Publication<'_>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let mut taken = false;
        // Depth first, in the order of the links.
        hops.reverse();
        while let Some(hop) = hops.pop() {
            // Between shards a text has two bytes for its length; a mapping may repeat parts of a subject.
            let longest = hop.subject.len().max(hop.reply.as_ref().map_or(0, Vec::len));
            if longest > TEXT_BYTES_MAX {
                continue;
            }
            let Ok(subject) = Subject::relaxed(hop.subject.as_bytes()) else { continue };
            let Some(space) = self.accounts.known_space(hop.account) else { continue };
            let subject = space.subjects.resolve(subject);
            let reply = hop.reply.as_deref();
            let foreign = self.outlets.delivery.is_foreign(reply);
            let there = Publication { account: hop.account, subject, reply, foreign, ..*publication };
            taken |= self.publish_within(&there, None, turn);
            let next = self.accounts.links.next(&hop);
            hops.extend(next.into_iter().rev());
        }
        taken
    }

    /// Delivers what the server says to the plain subscriptions of one client alone.
    #[cold]
    pub fn tell(
        &mut self,
        client: ConnectionId,
        subject: &str,
        publication: &Publication<'_>,
        turn: &mut Turn<'_>,
    ) {
        let Ok(subject) = Subject::relaxed(subject.as_bytes()) else { return };
        let space = self.accounts.space(publication.account);
        let subject_id = space.subjects.resolve(subject);
        let (subject, _, route) = space.route(subject_id);
        let publication = Publication { subject: subject_id, ..*publication };
        let message = Message { subject, publication: &publication };
        for &target in route.plain.iter().filter(|target| target.slot == client.slot) {
            self.outlets.delivery.deliver(target, &message, turn);
        }
    }

    /// Delivers a message of another shard. `now`: not in pieces, and not later. Returns whether it is to
    /// wait.
    #[inline(always)]
    pub fn publish_from_shard(&mut self, publish: MeshPublish<'_>, now: bool, turn: &mut Turn<'_>) -> bool {
        let MeshPublish { subject, mut publication, way } = publish;
        let (payload, read);
        if publication.header_bytes > 0 {
            payload = publication.payload;
            let block = &payload.bytes()[..publication.header_bytes as usize];
            read = Marks::read(block, self.identity.unix_epoch_nanos);
            publication.marks = &read;
            turn.charge(steps_of_text(block.len()));
        }
        // Without a space, the settings that name its account have not come: nobody here can be in it.
        let Some(space) = self.accounts.known_space(publication.account) else { return false };
        publication.subject = space.subjects.resolve_of_shard(subject, way.subject_hash);
        let (subject, subject_hash, route) = space.subjects.route(publication.subject, &space.router);
        turn.charge(steps_of(0));
        if route.is_costly() {
            let bytes = publication.payload.bytes().len();
            if is_too_dear(route, bytes, way.plain && !now, &self.outlets.limits, turn) {
                return true;
            }
        }
        let late = if way.plain && self.requests.concern(publication.account, subject) {
            self.requests.late(publication.account, subject, publication.correlation_id, turn)
        } else {
            None
        };
        let foreign = route.foreign || self.outlets.delivery.is_foreign(publication.reply);
        let message = Message { subject, publication: &publication };
        let outlets = &mut self.outlets;
        let mut fan_out = FanOut { outlets, subject_hash, hops: way.hops, foreign };
        match late {
            Some(requester) if way.plain => fan_out.plain_but(requester, route, &message, turn),
            None if way.plain => {
                fan_out.plain(route, &message, turn);
            }
            _ => {}
        }
        let Some(name) = way.group else { return false };
        match route.group(name) {
            Some(group) => fan_out.chosen(group, &message, turn),
            None => turn.counters.add(Counter::DropsNoQueueMember, 1),
        }
        false
    }
}

/// Whether a message of another shard is to wait: it is for very many, or a turn's work is done. If not, it
/// is charged.
#[cold]
#[inline(never)]
fn is_too_dear(route: &Route, bytes: usize, may_wait: bool, limits: &Limits, turn: &mut Turn<'_>) -> bool {
    turn.charge(route.walk_steps());
    let over = turn.taken() > limits.turn_steps.into();
    let waits = may_wait && (over || route.is_wide(bytes, limits));
    if !waits {
        turn.charge(route.steps(bytes));
    }
    waits
}

/// A payload that is to be shared between receivers and is not yet: of the buffer it came in, or copied once.
#[inline]
fn worth_sharing(publication: &Publication<'_>, bytes_min: usize) -> Option<Bytes> {
    let Payload::Copied(payload) = publication.payload else { return None };
    (payload.len() >= bytes_min).then(|| match publication.backing {
        // A part would keep all of it.
        Some(whole) if payload.len() >= whole.len() / 2 => whole.slice_ref(payload),
        _ => Bytes::copy_from_slice(payload),
    })
}
