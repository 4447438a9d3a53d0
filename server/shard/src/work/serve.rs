//! Acknowledged messages meeting the rest of the shard: deliveries, acknowledgements, dead letters, and
//! messages that no member here can have any more.

use super::acknowledgement::{self, Verb, reply_subject};
use super::task::Task;
use super::{Confirmation, Death, TaskId, Turned, own_name, weight};
use crate::delivery::{Delivery, Message};
use crate::identity::{AccountId, ConnectionId, Nanos, PublisherId};
use crate::mesh::Record;
use crate::mesh::batch::MeshPayload;
use crate::metrics::Counter;
use crate::publish::FanOut;
use crate::random::Random;
use crate::reserved;
use crate::router::Target;
use crate::router::subjects::SubjectId;
use crate::table::Key;
use crate::{Effects, Shard};
use ringbolt_protocol::command::{Compression, Flags, Priority};
use ringbolt_protocol::headers;
use ringbolt_protocol::subject::Subject;
use serde_json::json;
use smallvec::SmallVec;

/// Where changes of breakers go: behind it the new state.
pub const EVENTS: &str = "$EVENTS.breaker.";
/// Where a shard says how many lanes it sheds for want of memory.
pub const EMERGENCY: &str = "$EVENTS.emergency";
/// The server itself as a publisher.
const NOBODY: ConnectionId = ConnectionId { slot: u32::MAX, generation: 0 };
/// A message without anything in it.
pub(crate) const EMPTY: Message<'static> = Message {
    publisher: PublisherId { shard: 0, connection: NOBODY },
    account: AccountId::GLOBAL,
    flags: Flags(0),
    timestamp_nanos: 0,
    correlation_id: 0,
    subject: "",
    subject_id: SubjectId::NONE,
    reply: None,
    header_bytes: 0,
    deliveries: 0,
    payload: MeshPayload::Copied(b""),
};

impl Delivery {
    /// Keeps a message until a member of the group has acknowledged it. Returns whether it is kept.
    pub(crate) fn work_off(&mut self, group: Key, message: &Message<'_>, effects: &mut Effects) -> bool {
        let mut task = Task::of(message, group, self.now, self.unix_epoch_nanos);
        if task.foreign && !self.book.may_be_given(group, &task) {
            self.counters.add(Counter::DropsNativeLimits, 1);
            return false;
        }
        let header = |name| headers::find(task.parts().0, name);
        let id: Option<Box<[u8]>> = header(headers::MESSAGE_ID).map(Into::into);
        let confirms = header(headers::EXPECTED_STREAM) == Some(headers::CONFIRMING);
        let confirm = task.reply.take_if(|_| confirms);
        let known = id.as_ref().and_then(|id| self.book.seen.find(group, id, self.now));
        if let Some(first) = known {
            self.counters.add(Counter::Duplicates, 1);
            self.confirm(message, confirm, Some(first), true, effects);
            return true;
        }
        if self.emergency.sheds(task.lane()) {
            self.counters.add(Counter::DropsEmergency, 1);
            self.confirm(message, confirm, None, false, effects);
            return false;
        }
        let (kept, shed) = self.book.add(task, self.limits.work_bytes_max);
        self.counters.add(Counter::DropsWorkFull, shed);
        if let (Some(id), Some(message)) = (id, kept) {
            self.book.seen.note(group, &id, message, self.now);
        }
        self.confirm(message, confirm, kept, false, effects);
        self.serve(group, effects);
        kept.is_some()
    }

    /// Tells a publisher who asked for it what became of its message, as JetStream does. Its own shard does,
    /// which knows what it may.
    fn confirm(
        &mut self,
        message: &Message<'_>,
        to: Option<Box<[u8]>>,
        kept: Option<TaskId>,
        duplicate: bool,
        effects: &mut Effects,
    ) {
        let Some(reply) = to else { return };
        let words = match kept {
            Some(number) if duplicate => json!({ "stream": "ringbolt", "seq": number, "duplicate": true }),
            Some(number) => json!({ "stream": "ringbolt", "seq": number }),
            None => {
                json!({ "error": { "code": 503, "err_code": 10077, "description": "there is no room" } })
            }
        };
        let (words, account) = (words.to_string(), message.account);
        let PublisherId { shard, connection: client } = message.publisher;
        if shard != self.own {
            if self.links[usize::from(shard)].pending_bytes() > 2 * self.limits.mesh_pending_bytes_max {
                // As for a message: nobody can be held back for it.
                return self.counters.add(Counter::DropsMeshFull, 1);
            }
            let words = words.as_bytes();
            return self.push(shard, &Record::Answer { client, account, reply: &reply, words }, effects);
        }
        self.book.confirm.push(Confirmation { client, account, reply, words });
        self.book.unsettled = true;
    }

    /// Gives members of a group what they can take.
    fn serve(&mut self, group: Key, effects: &mut Effects) {
        // Members whose outboxes take nothing now; they are asked again when time passed.
        let mut full: SmallVec<[Key; 4]> = SmallVec::new();
        loop {
            let book = &mut self.book;
            let Some(waiting) = book.groups.get_mut(group) else { return };
            let given = waiting.next(&book.tasks, self.limits.lane_shares, &full, book.random.number());
            let Some(given) = given else { return };
            let target = Target { subscription: given.subscription.index(), slot: given.connection.slot };
            if self.book.has_expired(given.id, self.now) {
                self.book.not_given(given);
                self.book.die(given.id, Death::Expired);
                continue;
            }
            let Some(task) = self.book.tasks.remove(&given.id) else { return };
            let taken = self.has_room(target, &task) && self.deliver_task(given.id, &task, target, effects);
            self.book.tasks.insert(given.id, task);
            if taken {
                self.book.given(given, self.now);
            } else {
                self.book.not_given(given);
                full.push(given.subscription);
            }
        }
    }

    /// Whether a message would fit an outbox: if not, it waits, whatever is done about slow consumers
    /// otherwise.
    fn has_room(&mut self, target: Target, task: &Task) -> bool {
        let most = self.limits.outbox_bytes_max;
        let session = self.sessions.at(target.slot);
        session.is_some_and(|session| session.outbox.queued_bytes() + weight(task) <= most)
    }

    /// What a message is delivered with as it was published.
    fn payload_of<'t>(&self, task: &'t Task) -> MeshPayload<'t> {
        if task.payload.len() >= self.limits.shared_payload_bytes_min {
            MeshPayload::Shared(&task.payload)
        } else {
            MeshPayload::Copied(&task.payload)
        }
    }

    fn deliver_task(&mut self, id: TaskId, task: &Task, target: Target, effects: &mut Effects) -> bool {
        let (name, waiting) = match self.book.groups.get(task.group) {
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
            (MeshPayload::Copied(&with_headers), header_bytes as u32)
        } else {
            (self.payload_of(task), task.header_bytes)
        };
        let message = Message { reply: Some(reply.as_bytes()), ..task.message(payload, header_bytes) };
        // It takes memory already: delivered, it will take none.
        let taken = self.deliver_within(self.limits.outbox_bytes_max, target, &message, effects);
        self.counters.add(Counter::Redeliveries, u64::from(taken && again));
        taken
    }

    /// A member of a group is gone.
    pub(crate) fn leave_work(&mut self, group: Key, subscription: Key, gone: bool, random: &mut Random) {
        self.book.leave(group, subscription, gone, self.now, random);
    }
}

impl Shard {
    /// What a client publishes to the reply subject of an acknowledged delivery. Returns whether the subject
    /// is one of these.
    #[cold]
    pub(crate) fn acknowledge(
        &mut self,
        id: ConnectionId,
        subject: &[u8],
        payload: &[u8],
        reply: Option<&[u8]>,
    ) -> bool {
        let Some(task) = acknowledgement::task_of(subject) else { return false };
        let delivery = &mut self.delivery;
        let Some(verb) = Verb::parse(payload) else {
            delivery.counters.add(Counter::AcknowledgementsStray, 1);
            return true;
        };
        let words = acknowledgement::words(payload);
        let known = delivery.book.settle(task, id, (verb, words), delivery.now, &mut self.random);
        let counter = if known { counter_of(verb) } else { Counter::AcknowledgementsStray };
        delivery.counters.add(counter, 1);
        // Who has nothing to acknowledge is not answered.
        if let Some(reply) = reply.filter(|reply| known && !reserved::refuses_reply(reply)) {
            let account = delivery.sessions.get(id).map(|session| session.account).unwrap_or_default();
            let (reply, words) = (reply.into(), String::new());
            delivery.book.confirm.push(Confirmation { client: id, account, reply, words });
            delivery.book.unsettled = true;
        }
        true
    }

    pub(crate) fn work_time(&mut self, now: Nanos) {
        self.delivery.book.pass_time(now, &mut self.random);
    }

    /// What working off left to do after the event: what can be delivered is, and what is dead is said to be.
    #[inline]
    pub(crate) fn settle_work(&mut self, effects: &mut Effects) {
        if self.delivery.book.unsettled {
            self.settle_work_now(effects);
        }
    }

    #[cold]
    fn settle_work_now(&mut self, effects: &mut Effects) {
        while std::mem::take(&mut self.delivery.book.unsettled) {
            let mut ready = std::mem::take(&mut self.delivery.book.ready);
            ready.sort_unstable();
            ready.dedup();
            ready.into_iter().for_each(|group| self.delivery.serve(group, effects));
            for (death, task) in std::mem::take(&mut self.delivery.book.dead) {
                self.bury(death, task, effects);
            }
            for turned in std::mem::take(&mut self.delivery.book.turned) {
                self.tell_of_breaker(&turned, effects);
            }
            for confirmation in std::mem::take(&mut self.delivery.book.confirm) {
                let Confirmation { client, account, reply, words } = confirmation;
                self.answer_at(client, account, &reply, words.as_bytes(), effects);
            }
        }
        if std::mem::take(&mut self.delivery.book.look_for_stranded) {
            self.hand_over(effects);
        }
    }

    /// Sheds more lanes or fewer, and publishes that.
    #[cold]
    pub(crate) fn turn_emergency(&mut self, effects: &mut Effects) {
        let bytes = self.delivery.memory_bytes();
        self.delivery.turn_emergency();
        let emergency = &self.delivery.emergency;
        let event = json!({
            "shard": self.id,
            "lanes_shed": emergency.level(),
            "bytes": bytes,
            "bytes_max": emergency.bytes_max(),
        });
        let payload = event.to_string();
        // It must not be shed itself as long as anything is taken.
        let flags = Flags::new(Priority::Critical, Compression::None);
        let payload = MeshPayload::Copied(payload.as_bytes());
        self.say(EMERGENCY, &Message { flags, payload, ..EMPTY }, effects);
    }

    /// Publishes that a member's breaker opened, closed, or lets probes through.
    fn tell_of_breaker(&mut self, turned: &Turned, effects: &mut Effects) {
        self.delivery.counters.add(Counter::BreakerChanges, 1);
        let Some(group) = self.delivery.book.groups.get(turned.group) else { return };
        let session = self.delivery.sessions.get(turned.connection);
        let client = session.and_then(|session| session.nats.as_ref());
        let event = json!({
            "group": own_name(&group.name),
            "subject": turned.pattern,
            "state": turned.state,
            "client": client.map(|nats| nats.options.name.clone()).unwrap_or_default(),
            "shard": self.id,
            "connection": turned.connection.slot,
        });
        let account = group.account;
        let payload = event.to_string();
        let message = Message { account, payload: MeshPayload::Copied(payload.as_bytes()), ..EMPTY };
        self.say(&format!("{EVENTS}{}", turned.state), &message, effects);
    }

    /// Publishes on behalf of the server. Returns whether anyone took it.
    pub(crate) fn say(&mut self, subject: &str, message: &Message<'_>, effects: &mut Effects) -> bool {
        let message = Message { publisher: PublisherId { shard: self.id, connection: NOBODY }, ..*message };
        self.route_in(message.account, subject, message.reply, &message, 0, effects)
    }

    /// Publishes an answer to a client of this shard at the reply subject that it named, as far as it might
    /// publish there itself. Where it may not, it alone is answered. `account` is the one of the reply
    /// subject: through services, the answer finds its way back.
    #[cold]
    #[inline(never)]
    pub(crate) fn answer_at(
        &mut self,
        client: ConnectionId,
        account: AccountId,
        reply: &[u8],
        words: &[u8],
        effects: &mut Effects,
    ) {
        let Some(session) = self.delivery.sessions.get(client) else { return };
        let Ok(mut subject) = std::str::from_utf8(reply) else { return };
        let (own, mut account) = (session.account, account);
        while account != own {
            let Some(before) = self.links.answered(subject) else { return };
            (account, subject) = before;
        }
        let message = Message { account, payload: MeshPayload::Copied(words), ..EMPTY };
        if self.may_publish(client, subject) {
            self.say(subject, &message, effects);
        } else {
            self.tell(client, subject, &message, effects);
        }
    }

    /// Delivers what the server says to the plain subscriptions of one client alone.
    pub(crate) fn tell(
        &mut self,
        client: ConnectionId,
        subject: &str,
        message: &Message<'_>,
        effects: &mut Effects,
    ) {
        let Ok(subject) = Subject::relaxed(subject.as_bytes()) else { return };
        let space = &mut self.spaces[usize::from(message.account.0)];
        let subject_id = space.subjects.resolve(subject);
        let (subject, _, route) = space.subjects.route(subject_id, &space.router);
        let message = Message { subject, subject_id, ..*message };
        for &target in route.plain.iter().filter(|target| target.slot == client.slot) {
            self.delivery.deliver(target, &message, effects);
        }
    }

    /// Messages that no member of this shard can have go to a shard with members, if there is one.
    pub(crate) fn hand_over(&mut self, effects: &mut Effects) {
        for (name, ids) in self.delivery.book.stranded() {
            ids.into_iter().for_each(|id| self.hand_over_one(id, &name, effects));
        }
    }

    fn hand_over_one(&mut self, id: TaskId, name: &str, effects: &mut Effects) {
        let Some(task) = self.delivery.book.tasks.remove(&id) else { return };
        let space = &mut self.spaces[usize::from(task.account.0)];
        let subject_id = space.subjects.resolve(Subject::trusted(&task.subject));
        let (_, subject_hash, route) = space.subjects.route(subject_id, &space.router);
        let group = route.groups.iter().find(|group| &*group.name == name && !group.remote.is_empty());
        let taken = group.is_some_and(|group| {
            let message = task.message(self.delivery.payload_of(&task), task.header_bytes);
            let message = Message { deliveries: task.attempts, ..message };
            let (delivery, random) = (&mut self.delivery, &mut self.random);
            let foreign = task.foreign;
            FanOut { delivery, random, subject_hash, hops: 0, foreign }
                .local_member(group, 0, &message, effects)
        });
        self.delivery.book.tasks.insert(id, task);
        if taken {
            self.delivery.book.finish(id);
        }
    }
}

fn counter_of(verb: Verb) -> Counter {
    match verb {
        Verb::Ack => Counter::AcknowledgementsAck,
        Verb::Nak(_) => Counter::AcknowledgementsNak,
        Verb::Progress => Counter::AcknowledgementsProgress,
        Verb::Term => Counter::AcknowledgementsTerm,
    }
}
