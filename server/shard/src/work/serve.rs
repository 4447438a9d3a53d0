//! Groups that acknowledge give their members what they can take.

use super::acknowledgement::reply_subject;
use super::death::Death;
use super::task::{Envelope, State, Task, TaskId};
use crate::identity::{ConnectionId, PublisherId};
use crate::lanes::Lane;
use crate::mesh::batch::Record;
use crate::message::{Message, Payload, Publication};
use crate::metrics::Counter;
use crate::outcome::{Answer, Outcome};
use crate::outlets::Outlets;
use crate::router::Target;
use crate::steps::KEEP_STEPS;
use crate::table::Key;
use crate::turn::Turn;
use ringbolt_protocol::headers;
use serde_json::json;
use smallvec::SmallVec;

impl Outlets {
    /// Whether a group has a member here that may have a message. `may_be_foreign`: its subject or its reply
    /// is beyond what native members are promised.
    pub fn has_member_for(
        &self,
        group: Key,
        message: &Message<'_>,
        may_be_foreign: bool,
        turn: &mut Turn<'_>,
    ) -> bool {
        let envelope = Envelope::of(message, may_be_foreign);
        let known = self.work.groups.get(group);
        let wanted = known.is_some_and(|group| group.is_wanted_for(envelope, &self.delivery, turn));
        turn.counters.add(Counter::DropsNativeLimits, u64::from(!wanted && envelope.foreign));
        wanted
    }

    /// Keeps a message until a member of the group has acknowledged it. Returns whether it is kept.
    pub fn work_off(&mut self, group: Key, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        debug_assert!(self.work.groups.get(group).is_some(), "a group is there as long as its members");
        turn.charge(KEEP_STEPS);
        let marks = message.publication.marks;
        let mut task = Task::of(message, group, turn.now);
        let confirm = task.reply.take_if(|_| marks.confirm);
        let known = marks.message_id.and_then(|id| self.work.seen.find(group, id, turn.now));
        if let Some(first) = known {
            turn.counters.add(Counter::Duplicates, 1);
            self.confirm(message.publication, confirm, Some(first), true, turn);
            return true;
        }
        if self.delivery.emergency.sheds(task.lane()) {
            turn.counters.add(Counter::DropsEmergency, 1);
            self.confirm(message.publication, confirm, None, false, turn);
            return false;
        }
        let (kept, shed) = self.work.add(task, self.limits.work_bytes_max);
        turn.counters.add(Counter::DropsWorkFull, shed);
        if let (Some(id), Some(task)) = (marks.message_id, kept) {
            self.work.seen.note(group, id, task, turn.now);
        }
        self.confirm(message.publication, confirm, kept, false, turn);
        self.serve(group, turn);
        kept.is_some()
    }

    /// Keeps a message that another shard has kept before: it was confirmed, and is known by its id. None is
    /// given up for it: it has a place where it is. Returns whether it is kept.
    #[cold]
    pub(super) fn take_over(&mut self, group: Key, message: &Message<'_>, turn: &mut Turn<'_>) -> bool {
        debug_assert!(self.work.groups.get(group).is_some(), "a group is there as long as its members");
        let task = Task::of(message, group, turn.now);
        turn.charge(KEEP_STEPS);
        let room = self.work.has_room_for(&task, self.limits.work_bytes_max);
        if room {
            let (kept, shed) = self.work.add(task, self.limits.work_bytes_max);
            debug_assert!(kept.is_some() && shed == 0, "there was room for it");
            self.serve(group, turn);
        }
        room
    }

    /// Tells a publisher who asked for it what became of its message, as JetStream does. Its own shard does,
    /// which knows what it may.
    fn confirm(
        &mut self,
        publication: &Publication<'_>,
        to: Option<Box<[u8]>>,
        kept: Option<TaskId>,
        duplicate: bool,
        turn: &mut Turn<'_>,
    ) {
        let Some(reply) = to else { return };
        let words = match kept {
            Some(number) if duplicate => json!({ "stream": "ringbolt", "seq": number, "duplicate": true }),
            Some(number) => json!({ "stream": "ringbolt", "seq": number }),
            None => {
                json!({ "error": { "code": 503, "err_code": 10077, "description": "there is no room" } })
            }
        };
        let (words, account) = (words.to_string(), publication.account);
        let PublisherId { shard, connection: client } = publication.publisher;
        if shard == self.own {
            let words = words.into_bytes().into();
            return turn.outcomes.push(Outcome::Answer(Answer { client, account, reply, words }));
        }
        if self.mesh.is_overfull(shard) {
            // As for a message: nobody can be held back for it.
            return turn.counters.add(Counter::DropsMeshFull, 1);
        }
        let words = words.as_bytes();
        self.mesh.push(shard, &Record::Answer { client, account, reply: &reply, words }, turn);
    }

    /// The segments last taken of a connection have left: there may be room in its outbox.
    pub fn sent(&mut self, connection: ConnectionId, turn: &mut Turn<'_>) {
        self.delivery.sent(connection, turn);
        self.work.room_of(connection);
    }

    /// Serves the groups that may have something to deliver.
    #[cold]
    pub fn serve_ready(&mut self, turn: &mut Turn<'_>) {
        self.work.unsettled = false;
        let freed = self.work.rooms.take_freed();
        freed.into_iter().for_each(|connection| self.offer_room(connection, turn));
        let mut ready = std::mem::take(&mut self.work.ready);
        ready.sort_unstable();
        ready.dedup();
        ready.into_iter().for_each(|group| self.serve(group, turn));
    }

    /// Serves the groups that wait for room in an outbox, in turn, until one finds that there is none.
    fn offer_room(&mut self, connection: ConnectionId, turn: &mut Turn<'_>) {
        let last = self.work.rooms.last();
        while let Some((_, group)) = self.work.rooms.first(connection, last) {
            let waited = self.work.ask_again(group, connection);
            assert!(waited, "who waits for room was refused");
            self.serve(group, turn);
            let members = self.work.groups.get(group).map(|group| &group.members);
            if members.is_some_and(|members| members.refused_by(connection).is_some()) {
                break;
            }
        }
    }

    /// Gives members of a group what they can take.
    fn serve(&mut self, group: Key, turn: &mut Turn<'_>) {
        loop {
            let book = &mut self.work;
            let Some(waiting) = book.groups.get_mut(group) else { return };
            let given = waiting.next(&book.tasks, &self.delivery, turn);
            let Some(given) = given else { return };
            let target = Target { subscription: given.subscription.index(), slot: given.connection.slot };
            if book.has_expired(given.id, turn.now) {
                book.not_given(given);
                book.die(given.id, Death::Expired, turn);
                continue;
            }
            let Some(task) = book.tasks.remove(&given.id) else { return };
            // If it would not fit, it waits, whatever is done about slow consumers otherwise.
            let (lane, bytes) = (task.lane(), task.weight());
            let room = self.delivery.has_room(target, bytes);
            let taken = room && self.deliver_task(given.id, &task, target, turn);
            self.work.tasks.insert(given.id, task);
            match (room, taken) {
                (_, true) => self.work.given(given, turn.now),
                (false, false) => self.work.refused(given, (lane, bytes), false),
                // Its subscription or its connection is about to end, or it is shed.
                (true, false) => self.work.refused(given, (Lane::Critical, 0), true),
            }
        }
    }

    /// Whether a message waits that nobody here wants.
    pub(super) fn is_stranded(&self, id: TaskId) -> bool {
        let task = self.work.tasks.get(&id).filter(|task| task.state == State::Waiting);
        task.is_some_and(|task| self.work.groups[task.group].is_stranded(task, &self.delivery))
    }

    /// What a message is delivered with as it was published.
    pub(super) fn payload_of<'t>(&self, task: &'t Task) -> Payload<'t> {
        if task.payload.len() >= self.limits.shared_payload_bytes_min {
            Payload::Shared(&task.payload)
        } else {
            Payload::Copied(&task.payload)
        }
    }

    fn deliver_task(&mut self, id: TaskId, task: &Task, target: Target, turn: &mut Turn<'_>) -> bool {
        let (name, waiting) = match self.work.groups.get(task.group) {
            Some(group) => (&group.name, group.waiting()),
            None => return false,
        };
        let deliveries = task.attempts.saturating_add(1);
        let reply = reply_subject(name, deliveries, id, task.timestamp_nanos, waiting);
        let again = deliveries > 1;
        let mut with_headers = Vec::new();
        let (payload, header_bytes) = if again || task.reply.is_some() {
            let (block, rest) = task.parts();
            let count = deliveries.to_string();
            let reply = task.reply.as_deref().map(|reply| (headers::REPLY, reply));
            let count = again.then_some((headers::DELIVERIES, count.as_bytes()));
            let lines: SmallVec<[(&str, &[u8]); 2]> = reply.into_iter().chain(count).collect();
            headers::with(block, &lines, &mut with_headers);
            let header_bytes = with_headers.len();
            with_headers.extend_from_slice(rest);
            (Payload::Copied(&with_headers), header_bytes as u32)
        } else {
            (self.payload_of(task), task.header_bytes)
        };
        let marks = task.marks();
        let publication =
            Publication { reply: Some(&reply), ..task.publication(&marks, payload, header_bytes) };
        let message = Message { subject: &task.subject, publication: &publication };
        // It takes memory already: delivered, it will take none.
        let taken = self.delivery.deliver_within(self.limits.outbox_bytes_max, target, &message, turn);
        turn.counters.add(Counter::Redeliveries, u64::from(taken && again));
        taken
    }
}
