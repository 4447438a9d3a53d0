//! Messages that will not be delivered any more become dead letters: published, and kept for a while.

use super::death::Death;
use super::letters::{Letter, LetterReport};
use super::options::own_name;
use super::task::Task;
use crate::bus::Bus;
use crate::message::{Marks, Message, Payload, Publication};
use crate::metrics::Counter;
use crate::reserved::DEAD_LETTERS;
use crate::steps::{KEEP_STEPS, steps_of_text};
use crate::table::Key;
use crate::turn::Turn;
use ringbolt_protocol::headers;
use serde_json::json;
use smallvec::SmallVec;

/// Where it is published that a message fails whoever takes it.
pub const POISON: &str = "$EVENTS.poison";

impl Bus {
    /// Publishes a message that will not be delivered any more as a dead letter.
    pub fn bury(&mut self, death: Death, task: Box<Task>, turn: &mut Turn<'_>) {
        turn.counters.add(death.counter(), 1);
        // A dead letter that dies is dead.
        if task.subject.starts_with(DEAD_LETTERS) {
            return;
        }
        let unroutable = death == Death::Unroutable;
        debug_assert_eq!(unroutable, task.group == Key::NOTHING, "who died in a group was routed to it");
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
        turn.charge(KEEP_STEPS + steps_of_text(payload.len()));
        payload.extend_from_slice(rest);
        let marks = Marks::read(&payload[..header_bytes as usize], self.identity.unix_epoch_nanos);
        let publication = task.publication(&marks, Payload::Copied(&payload), header_bytes);
        self.say(&subject, &Publication { reply: None, ..publication }, turn);
        if death == Death::Poison {
            self.warn_of_poison(&task, turn);
        }
        let most = self.outlets.limits.dead_letters_bytes_max;
        let letter = Letter { death, buried: turn.now, task };
        let forgotten = self.outlets.work.letters.keep(letter, most);
        turn.counters.add(Counter::DeadLettersForgotten, forgotten);
    }

    /// Publishes that a message fails whoever takes it; once, for it is given to nobody any more.
    fn warn_of_poison(&mut self, task: &Task, turn: &mut Turn<'_>) {
        let group = self.outlets.work.name_of(task.group).map(own_name);
        let event = json!({
            "group": group,
            "subject": task.subject,
            "deliveries": task.attempts,
            "error": task.error,
            "shard": self.outlets.own,
        });
        let payload = event.to_string();
        let payload = Payload::Copied(payload.as_bytes());
        self.say(POISON, &Publication { account: task.account, payload, ..Publication::EMPTY }, turn);
    }

    /// Publishes letters anew as they were: one, or all. Those that nobody takes stay. Returns how many were
    /// taken.
    pub fn replay_letters(&mut self, one: Option<u64>, turn: &mut Turn<'_>) -> u64 {
        let mut replayed = 0;
        for number in self.outlets.work.letters.numbers(one) {
            let Some(letter) = self.outlets.work.letters.take(number) else { continue };
            let (block, rest) = letter.task.parts();
            // What made it die, or would have it taken for the first of its kind, is left out.
            let left_out = [headers::DEADLINE, headers::MESSAGE_ID].map(|name| (name, &b""[..]));
            let mut payload = Vec::new();
            if !block.is_empty() {
                headers::with(block, &left_out, &mut payload);
            }
            let header_bytes = payload.len() as u32;
            payload.extend_from_slice(rest);
            let marks = Marks::read(&payload[..header_bytes as usize], self.identity.unix_epoch_nanos);
            let publication = letter.task.publication(&marks, Payload::Copied(&payload), header_bytes);
            if self.say(&letter.task.subject, &publication, turn) {
                replayed += 1;
            } else {
                self.outlets.work.letters.put_back(number, letter);
            }
        }
        turn.counters.add(Counter::DeadLettersReplayed, replayed);
        replayed
    }

    /// Throws letters away: one, or all. Returns how many.
    pub fn purge_letters(&mut self, one: Option<u64>) -> u64 {
        let letters = &mut self.outlets.work.letters;
        let numbers = letters.numbers(one);
        numbers.into_iter().filter_map(|number| letters.take(number)).count() as u64
    }

    /// Up to `most` letters from number `from` on; with their contents, if asked.
    pub fn letters(&self, from: u64, most: usize, contents: bool) -> Vec<LetterReport> {
        self.outlets.work.letters.report(from, most, contents, self.identity.unix_epoch_nanos)
    }

    /// Makes a dead letter of a message that nobody took.
    #[cold]
    pub fn bury_unroutable(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) {
        let task = Task::of(message, Key::NOTHING, turn.now);
        self.bury(Death::Unroutable, Box::new(task), turn);
    }
}
