//! The delivery of messages to very many, piece by piece ([`crate::wide`]).

use crate::bus::Bus;
use crate::delivery::fan_out::FanOut;
use crate::identity::{ConnectionId, PublisherId};
use crate::ledger::Kind;
use crate::mesh::batch::{MeshPublish, Reader, Way};
use crate::message::{Marks, Message, Publication};
use crate::metrics::Counter;
use crate::outcome::Outcome;
use crate::steps::{BYTES_A_STEP, MEMBER_STEPS};
use crate::turn::Turn;
use crate::wide::{Part, To};
use ringbolt_protocol::subject::Subject;
use std::rc::Rc;

impl Bus {
    /// Publishes to more than one piece of a turn has time for: to other shards at once, and here in pieces.
    #[cold]
    #[inline(never)]
    pub fn publish_wide(
        &mut self,
        publication: &Publication<'_>,
        except: Option<ConnectionId>,
        turn: &mut Turn<'_>,
    ) {
        let space = self.accounts.space(publication.account);
        let (subject, subject_hash, route) = space.subjects.route(publication.subject, &space.router);
        let message = Message { subject, publication };
        let foreign = route.foreign || publication.foreign;
        let mut fan_out = FanOut { outlets: &mut self.outlets, subject_hash, hops: 0, foreign };
        fan_out.other_shards(route, &message, turn);
        let made = self.outlets.delivery.subscriptions_made;
        let part = Part::of(&message, subject_hash, To::Everyone(except), made);
        self.deliver_later(part, turn);
        let PublisherId { shard, connection } = publication.publisher;
        if turn.is_unbounded() && shard == self.outlets.own && connection != ConnectionId::NOBODY {
            // What else it said is handled now.
            self.deliver_out(publication.publisher, turn);
        }
    }

    /// The message of another shard that is read next waits: it is for very many, or its publisher said one
    /// such before.
    #[cold]
    #[inline(never)]
    pub fn keep_of_shard(&mut self, mut at: Reader<'_>, turn: &mut Turn<'_>) {
        let MeshPublish { subject, ref publication, way } = at.message();
        let subject = std::str::from_utf8(subject).expect("the other shard has it as text");
        let to = To::OfShard { plain: way.plain, group: way.group.map(Into::into), hops: way.hops };
        let message = Message { subject, publication };
        let part = Part::of(&message, way.subject_hash, to, self.outlets.delivery.subscriptions_made);
        self.deliver_later(part, turn);
    }

    fn deliver_later(&mut self, part: Part, turn: &mut Turn<'_>) {
        let publisher = part.publisher;
        self.outlets.ledger.add(Kind::Wide, part.bytes());
        if self.wide.push(part) {
            if publisher.shard == self.outlets.own {
                self.outlets.delivery.hold_back_and_end(publisher.connection, turn);
            } else {
                turn.outcomes.push(Outcome::Pause(publisher));
            }
        }
        turn.counters.add(Counter::MessagesInPieces, 1);
    }

    /// Goes on with messages to very many, as far as so many steps allow, or to the end of one piece.
    pub fn deliver_on(&mut self, steps: i64, turn: &mut Turn<'_>) {
        let piece = i64::from(self.limits().piece_steps);
        let mut left = steps;
        while let Some(publisher) = self.wide.next() {
            left -= self.deliver_piece(publisher, piece, turn);
            if left <= 0 {
                break;
            }
        }
    }

    /// Delivers all that one publisher has said, whatever it costs.
    pub fn deliver_out(&mut self, publisher: PublisherId, turn: &mut Turn<'_>) {
        while self.wide.concerns(publisher) {
            self.wide.leave_line(publisher);
            self.deliver_piece(publisher, i64::MAX, turn);
        }
    }

    /// Likewise of everyone.
    pub fn deliver_everything(&mut self, turn: &mut Turn<'_>) {
        while let Some(publisher) = self.wide.next() {
            self.deliver_piece(publisher, i64::MAX, turn);
        }
    }

    /// Delivers a piece of the first message of a publisher, which has no place in a line meanwhile. Returns
    /// the steps that it took.
    fn deliver_piece(&mut self, publisher: PublisherId, most: i64, turn: &mut Turn<'_>) -> i64 {
        let mut part = self.wide.take(publisher).expect("who waits has said something");
        let before = (turn.left(), part.bytes());
        let over = self.deliver_some(&mut part, most, turn);
        let taken = before.0 - turn.left();
        self.outlets.ledger.subtract(Kind::Wide, before.1);
        if !over {
            self.outlets.ledger.add(Kind::Wide, part.bytes());
            self.wide.give_back(part);
        } else if self.wide.finish(publisher) {
            if publisher.shard == self.outlets.own {
                self.outlets.delivery.let_go(publisher.connection, turn);
            } else {
                turn.outcomes.push(Outcome::Resume(publisher));
            }
        }
        taken
    }

    /// Delivers to as many as so many steps allow, one at least. Returns whether those were the last.
    fn deliver_some(&mut self, part: &mut Part, most: i64, turn: &mut Turn<'_>) -> bool {
        let mut rest = part.rest.take();
        let epoch = self.identity.unix_epoch_nanos;
        let marks = if part.header_bytes > 0 {
            Marks::read(&part.payload[..part.header_bytes as usize], epoch)
        } else {
            Marks::PLAIN
        };
        if rest.is_none() && !self.is_wide_part(part) {
            return self.deliver_narrow(part, &marks, turn);
        }
        let mut publication = part.publication(&marks, self.outlets.limits.shared_payload_bytes_min);
        // Its account may have gone meanwhile, and with it all who wanted the message.
        let Some(space) = self.accounts.known_space(part.account) else { return true };
        publication.subject = space.subjects.resolve(Subject::trusted(&part.subject));
        let (subject, subject_hash, route) = space.subjects.route(publication.subject, &space.router);
        let message = Message { subject, publication: &publication };
        let rest_of = rest.get_or_insert_with(|| {
            turn.charge(route.plain.len() / 64 + route.groups.len());
            part.begin(route)
        });
        let foreign = route.foreign || publication.foreign;
        let mut fan_out = FanOut { outlets: &mut self.outlets, subject_hash, hops: part.hops(), foreign };
        let each = 1 + publication.payload.bytes().len() / BYTES_A_STEP;
        let targets = &rest_of.targets[rest_of.next_target..];
        let some = targets.len().min((most as usize / each).max(1));
        if marks.is_past(turn.now) && some > 0 {
            turn.counters.add(Counter::DropsExpired, 1);
            rest_of.next_target = rest_of.targets.len();
        } else {
            let except = match part.to {
                To::Everyone(except) => except,
                To::OfShard { .. } => None,
            };
            fan_out.plain_as_of(&targets[..some], (part.made, except), &message, turn);
            turn.charge(some * each);
            rest_of.next_target += some;
        }
        let groups = &rest_of.groups[rest_of.next_group..];
        let left = (most as usize).saturating_sub(some * each);
        let some = groups.len().min((left / MEMBER_STEPS).max(usize::from(some == 0)));
        for name in &groups[..some] {
            match (route.group(name), &part.to) {
                (Some(group), To::Everyone(_)) => {
                    fan_out.member(group, &message, turn);
                }
                (Some(group), To::OfShard { .. }) => fan_out.chosen(group, &message, turn),
                (None, _) => turn.counters.add(Counter::DropsNoQueueMember, 1),
            }
        }
        rest_of.next_group += some;
        let over = rest_of.is_over();
        part.rest = rest;
        over
    }

    /// Whether a message is for very many here by now.
    fn is_wide_part(&mut self, part: &Part) -> bool {
        let plain = match part.to {
            To::Everyone(_) => return true,
            To::OfShard { plain, .. } => plain,
        };
        let limits = Rc::clone(&self.outlets.limits);
        let Some(space) = self.accounts.known_space(part.account) else { return false };
        let subject = space.subjects.resolve(Subject::trusted(&part.subject));
        let (_, _, route) = space.route(subject);
        plain && route.is_wide(part.payload.len(), &limits)
    }

    /// One that another shard sent, and that waited only for those before it. It is the last piece.
    fn deliver_narrow(&mut self, part: &Part, marks: &Marks<'_>, turn: &mut Turn<'_>) -> bool {
        let To::OfShard { plain, ref group, hops } = part.to else { return true };
        let publication = part.publication(marks, self.outlets.limits.shared_payload_bytes_min);
        let way = Way { subject_hash: part.subject_hash, plain, group: group.as_deref(), hops };
        let publish = MeshPublish { subject: part.subject.as_bytes(), publication, way };
        !self.publish_from_shard(publish, true, turn)
    }
}
