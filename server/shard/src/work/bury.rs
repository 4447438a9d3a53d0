//! Messages that will not be delivered any more become dead letters: published, and kept for a while.

use super::Death;
use super::letters::{Letter, LetterReport};
use super::own_name;
use super::serve::EMPTY;
use super::task::Task;
use crate::delivery::Message;
use crate::identity::{ConnectionId, PublisherId};
use crate::mesh::batch::MeshPayload;
use crate::metrics::Counter;
use crate::publish::message_of;
use crate::reserved::DEAD_LETTERS;
use crate::router::subjects::SubjectId;
use crate::table::Key;
use crate::{Effects, Shard};
use ringbolt_protocol::command::Publish;
use ringbolt_protocol::headers;
use serde_json::json;
use smallvec::SmallVec;

/// Where it is told that a message fails whoever takes it.
pub const POISON: &str = "$EVENTS.poison";

impl Shard {
    /// Publishes a message that will not be delivered any more as a dead letter.
    pub(super) fn bury(&mut self, death: Death, task: Task, effects: &mut Effects) {
        self.delivery.counters.add(
            match death {
                Death::Exhausted => Counter::DeadLettersExhausted,
                Death::Expired => Counter::DeadLettersExpired,
                Death::Rejected => Counter::DeadLettersRejected,
                Death::Poison => Counter::DeadLettersPoison,
                Death::Unroutable => Counter::DeadLettersUnroutable,
            },
            1,
        );
        // A dead letter that dies is dead.
        if task.subject.starts_with(DEAD_LETTERS) {
            return;
        }
        let subject = format!("{DEAD_LETTERS}{}.{}", death.name(), task.subject);
        let attempts = task.attempts.to_string();
        let (accepted, delivered) =
            (self.identity.time_text(task.accepted), self.identity.time_text(task.delivered));
        let (block, rest) = task.parts();
        let mut lines: SmallVec<[(&str, &[u8]); 8]> = SmallVec::new();
        // A letter outlives the message's deadline.
        lines.push((headers::DEADLINE, b""));
        lines.push((headers::SUBJECT, task.subject.as_bytes()));
        lines.push((headers::REASON, death.name().as_bytes()));
        lines.push((headers::CLASS, death.class(task.overload).as_bytes()));
        lines.push((headers::DELIVERIES, attempts.as_bytes()));
        lines.push((headers::ACCEPTED, accepted.as_bytes()));
        lines.push((headers::DELIVERED, delivered.as_bytes()));
        lines.extend(task.error.as_deref().map(|error| (headers::ERROR, error.as_bytes())));
        lines.extend(task.reply.as_deref().map(|reply| (headers::REPLY, reply)));
        let mut payload = Vec::new();
        headers::with(block, &lines, &mut payload);
        drop(lines);
        let header_bytes = payload.len() as u32;
        payload.extend_from_slice(rest);
        let message = Message { reply: None, ..task.message(MeshPayload::Copied(&payload), header_bytes) };
        self.say(&subject, &message, effects);
        if death == Death::Poison {
            self.warn_of_poison(&task, effects);
        }
        let most = self.delivery.limits.dead_letters_bytes_max;
        let letter = Letter { death, buried: self.delivery.now, task };
        let forgotten = self.delivery.book.letters.keep(letter, most);
        self.delivery.counters.add(Counter::DeadLettersForgotten, forgotten);
    }

    /// Publishes that a message fails whoever takes it; once, for it is given to nobody any more.
    fn warn_of_poison(&mut self, task: &Task, effects: &mut Effects) {
        let group = self.delivery.book.name_of(task.group).map(own_name);
        let event = json!({
            "group": group,
            "subject": task.subject,
            "deliveries": task.attempts,
            "error": task.error,
            "shard": self.id,
        });
        let payload = event.to_string();
        let payload = MeshPayload::Copied(payload.as_bytes());
        self.say(POISON, &Message { account: task.account, payload, ..EMPTY }, effects);
    }

    /// Publishes letters anew as they were: one, or all. Those that nobody takes stay. Returns how many were
    /// taken.
    pub(crate) fn replay_letters(&mut self, one: Option<u64>, effects: &mut Effects) -> u64 {
        let mut replayed = 0;
        for number in self.delivery.book.letters.numbers(one) {
            let Some(letter) = self.delivery.book.letters.take(number) else { continue };
            let (block, rest) = letter.task.parts();
            // What made it die, or would have it taken for the first of its kind, is left out.
            let left_out = [headers::DEADLINE, headers::MESSAGE_ID].map(|name| (name, &b""[..]));
            let mut payload = Vec::new();
            if !block.is_empty() {
                headers::with(block, &left_out, &mut payload);
            }
            let header_bytes = payload.len() as u32;
            payload.extend_from_slice(rest);
            let message = letter.task.message(MeshPayload::Copied(&payload), header_bytes);
            if self.say(&letter.task.subject, &message, effects) {
                replayed += 1;
            } else {
                self.delivery.book.letters.put_back(number, letter);
            }
        }
        self.delivery.counters.add(Counter::DeadLettersReplayed, replayed);
        replayed
    }

    /// Throws letters away: one, or all. Returns how many.
    pub(crate) fn purge_letters(&mut self, one: Option<u64>) -> u64 {
        let letters = &mut self.delivery.book.letters;
        let numbers = letters.numbers(one);
        numbers.into_iter().filter_map(|number| letters.take(number)).count() as u64
    }

    /// Up to `most` letters from number `from` on; with their contents, if asked.
    pub fn letters(&self, from: u64, most: usize, contents: bool) -> Vec<LetterReport> {
        self.delivery.book.letters.report(from, most, contents, self.identity.unix_epoch_nanos)
    }

    /// A message that nobody took. Returns whether its publisher wants a dead letter made of it.
    #[cold]
    pub(crate) fn bury_unroutable(
        &mut self,
        id: ConnectionId,
        subject: SubjectId,
        publish: &Publish<'_>,
        effects: &mut Effects,
    ) -> bool {
        let block = &publish.payload[..publish.header_bytes as usize];
        if headers::find(block, headers::UNROUTABLE) != Some(headers::DEAD_LETTER) {
            return false;
        }
        let account = self.delivery.sessions.get(id).map(|session| session.account).unwrap_or_default();
        let space = &mut self.spaces[usize::from(account.0)];
        let (subject, _, _) = space.subjects.route(subject, &space.router);
        let publisher = PublisherId { shard: self.id, connection: id };
        let message = message_of(publisher, account, (subject, SubjectId::NONE), publish, None);
        let task = Task::of(&message, Key::NOTHING, self.delivery.now, self.delivery.unix_epoch_nanos);
        self.bury(Death::Unroutable, task, effects);
        true
    }
}
