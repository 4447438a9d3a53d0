//! Messages that no member of this shard may have are offered to shards with members. The one that takes a
//! message over answers, and only then it is let go here: there is always one shard that keeps it.

use super::Book;
use super::task::{Envelope, State, Task, TaskId};
use crate::bus::Bus;
use crate::delivery::fan_out::{FanOut, PlainMember};
use crate::identity::ShardId;
use crate::mesh::batch::{Forward, MeshPublish, OfferAnswer, Reader, Record, Way};
use crate::message::{Marks, Message, Publication};
use crate::router::GroupRoute;
use crate::table::Key;
use crate::turn::Turn;
use ringbolt_protocol::subject::Subject;

/// Waiting messages that are looked at in one go, in all groups.
const LOOKED_AT_MAX: usize = 1 << 14;

/// Whom a message that nobody here may have is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    /// A member that does not acknowledge has it.
    Here,
    Shard(ShardId),
    Nobody,
    /// A shard that cannot be asked at the moment.
    Later,
}

impl Bus {
    /// Offers what nobody here wants, of what is to be looked at.
    pub fn hand_over(&mut self, turn: &mut Turn<'_>) {
        let (groups, messages) = self.outlets.work.stranded.take();
        let mut looked_at = 0;
        for (place, &group) in groups.iter().enumerate() {
            if looked_at >= LOOKED_AT_MAX {
                self.outlets.work.stranded.put_off(&groups[place..]);
                break;
            }
            looked_at += self.hand_over_of(group, turn);
        }
        for id in messages {
            if self.outlets.is_stranded(id) && self.hand_over_one(id, turn) == Taker::Later {
                self.outlets.work.search_from(id);
            }
        }
    }

    /// Looks at a part of what waits in a group. Returns how much that was.
    fn hand_over_of(&mut self, key: Key, turn: &mut Turn<'_>) -> usize {
        let book = &mut self.outlets.work;
        let Some(group) = book.groups.get_mut(key) else { return 0 };
        let (ids, looked_at) = group.stranded(&book.tasks, &self.outlets.delivery);
        for id in ids {
            if self.hand_over_one(id, turn) == Taker::Later {
                self.outlets.work.search_from(id);
                break;
            }
        }
        let book = &mut self.outlets.work;
        if book.groups.get(key).is_some_and(|group| group.search.place().is_some()) {
            book.stranded.look_at_group_later(key);
        }
        looked_at
    }

    fn hand_over_one(&mut self, id: TaskId, turn: &mut Turn<'_>) -> Taker {
        let Some(task) = self.outlets.work.tasks.remove(&id) else { return Taker::Nobody };
        let taker = self.offer(id, &task, turn);
        let book = &mut self.outlets.work;
        book.tasks.insert(id, task);
        match taker {
            Taker::Shard(shard) => book.offered(id, shard),
            Taker::Here => {
                book.finish(id);
            }
            Taker::Nobody | Taker::Later => {}
        }
        taker
    }

    fn offer(&mut self, id: TaskId, task: &Task, turn: &mut Turn<'_>) -> Taker {
        let Some(own) = self.outlets.work.groups.get(task.group) else { return Taker::Nobody };
        let (name, changes) = (own.name.clone(), own.changes_elsewhere);
        let space = self.accounts.space(task.account);
        let subject_id = space.subjects.resolve(Subject::trusted(&task.subject));
        let (_, subject_hash, route) = space.route(subject_id);
        let Some(group) = route.group(&name) else { return Taker::Nobody };
        let marks = task.marks();
        let payload = self.outlets.payload_of(task);
        let publication =
            Publication { deliveries: task.attempts, ..task.publication(&marks, payload, task.header_bytes) };
        let message = Message { subject: &task.subject, publication: &publication };
        let outlets = &mut self.outlets;
        let mut fan_out = FanOut { outlets, subject_hash, hops: 0, foreign: task.foreign };
        let plain = fan_out.any_plain_member(group, &message, turn);
        if plain == PlainMember::Took {
            return Taker::Here;
        }
        let home = fan_out.home(group, &publication);
        let taker = self.outlets.work.taker(group, (task, changes), home, turn);
        let shard = match taker {
            Taker::Shard(shard) => shard,
            Taker::Nobody if plain == PlainMember::Later => return Taker::Later,
            _ => return taker,
        };
        let way = Way { subject_hash, plain: false, group: Some(&name), hops: 0 };
        let offer = Forward { message: &message, way };
        if self.outlets.mesh.offer(shard, id, &offer, turn) { taker } else { Taker::Later }
    }

    /// Another shard offers a message, which is next. It is told what becomes of it.
    #[cold]
    #[inline(never)]
    pub fn offered(&mut self, from: ShardId, number: u64, reader: &mut Reader<'_>, turn: &mut Turn<'_>) {
        let answer = self.take_over(reader.message(), turn);
        self.outlets.mesh.push(from, &Record::OfferAnswered { number, answer }, turn);
    }

    fn take_over(&mut self, offer: MeshPublish<'_>, turn: &mut Turn<'_>) -> OfferAnswer {
        let MeshPublish { subject, mut publication, way } = offer;
        let space = self.accounts.known_space(publication.account);
        let (Some(name), Some(space)) = (way.group, space) else { return OfferAnswer::Unwanted };
        let payload = publication.payload;
        let block = &payload.bytes()[..publication.header_bytes as usize];
        let read = Marks::read(block, self.identity.unix_epoch_nanos);
        publication.marks = &read;
        publication.subject = space.subjects.resolve_of_shard(subject, way.subject_hash);
        let (subject, subject_hash, route) = space.subjects.route(publication.subject, &space.router);
        let Some(group) = route.group(name) else { return OfferAnswer::Unwanted };
        let foreign = route.foreign || self.outlets.delivery.is_foreign(publication.reply);
        let message = Message { subject, publication: &publication };
        let outlets = &mut self.outlets;
        let subscriptions = &outlets.delivery.subscriptions;
        // All members of a name that acknowledge are one group.
        let work = group.local.iter().find_map(|target| subscriptions.at(target.subscription).work);
        if let Some(work) = work
            && let Some(own) = outlets.work.groups.get(work)
            && own.is_wanted_for(Envelope::of(&message, foreign), &outlets.delivery, turn)
        {
            let kept = outlets.take_over(work, &message, turn);
            return if kept { OfferAnswer::Taken } else { OfferAnswer::Full };
        }
        let mut fan_out = FanOut { outlets, subject_hash, hops: 0, foreign };
        match fan_out.any_plain_member(group, &message, turn) {
            PlainMember::Took => OfferAnswer::Taken,
            PlainMember::Later => OfferAnswer::Full,
            PlainMember::Nobody => OfferAnswer::Unwanted,
        }
    }
}

impl Book {
    /// The shard that a message is to be offered to.
    fn taker(
        &self,
        group: &GroupRoute,
        (task, changes): (&Task, u64),
        home: Option<ShardId>,
        turn: &mut Turn<'_>,
    ) -> Taker {
        let declined = |shard| task.declined_at == changes && task.declined.contains(&shard);
        let mut able: Vec<(ShardId, u32)> =
            group.remote.iter().copied().filter(|&(shard, _)| !declined(shard)).collect();
        if able.is_empty() {
            return Taker::Nobody;
        }
        // What has a key goes where its key is at home, if that may have it.
        if home.is_some_and(|home| able.iter().any(|&(shard, _)| shard == home)) {
            able.retain(|&(shard, _)| Some(shard) == home);
        }
        able.retain(|&(shard, _)| self.offers.admits(shard, task.group));
        let members: u32 = able.iter().map(|&(_, count)| count).sum();
        if members == 0 {
            return Taker::Later;
        }
        let mut number = turn.random.below(members);
        let chosen = able.into_iter().find(|&(_, count)| {
            let found = number < count;
            number = number.saturating_sub(count);
            found
        });
        chosen.map_or(Taker::Later, |(shard, _)| Taker::Shard(shard))
    }

    /// The search for those that nobody here wants goes on from this message, when it can.
    fn search_from(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        self.groups[task.group].search_from(id, task);
        self.stranded.look_at_group_later(task.group);
    }

    /// A message that waited is offered: it is kept, and nobody has it, until that is answered.
    fn offered(&mut self, id: TaskId, shard: ShardId) {
        self.take_back(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        self.offers.opened(shard, task.group);
        debug_assert_eq!(task.state, State::Waiting, "what waits is offered, to one shard at a time");
        task.state = State::Offered(shard);
        // What waited behind it may be seen now.
        let group = task.group;
        self.wake(group);
    }

    /// What a shard says of a message that it was offered, which may be done meanwhile.
    pub fn offer_answered(&mut self, from: ShardId, id: TaskId, answer: OfferAnswer) {
        let group = self.tasks.get(&id).map(|task| task.group);
        if self.offers.answered(from, group, answer) {
            self.stranded.pass_time();
            self.unsettled |= !self.stranded.is_settled();
        }
        let offered = self.tasks.get_mut(&id).filter(|task| task.state == State::Offered(from));
        let Some(task) = offered else { return };
        match answer {
            OfferAnswer::Taken => {
                self.finish(id);
            }
            OfferAnswer::Unwanted => {
                let changes = self.groups[task.group].changes_elsewhere;
                if task.declined_at != changes {
                    task.declined.clear();
                    task.declined_at = changes;
                }
                debug_assert!(!task.declined.contains(&from), "who declined is not asked again");
                task.declined.push(from);
                self.wait(id);
            }
            OfferAnswer::Full => self.wait(id),
        }
    }
}
