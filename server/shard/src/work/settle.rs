//! What members say of the messages they were given: done, not done, still at it, never.

use super::acknowledgement::{self, Verb};
use super::death::Death;
use super::task::{State, TaskId};
use super::{Book, Failure};
use crate::identity::{AccountId, ConnectionId, Nanos};
use crate::metrics::Counter;
use crate::outcome::{Answer, Outcome};
use crate::reserved;
use crate::turn::Turn;
use ringbolt_protocol::headers;

impl Book {
    /// What a client publishes to the reply subject of an acknowledged delivery. Returns whether the subject
    /// is one of these.
    #[cold]
    pub fn acknowledge(
        &mut self,
        (client, account): (ConnectionId, AccountId),
        subject: &[u8],
        payload: &[u8],
        reply: Option<&[u8]>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(task) = acknowledgement::task_of(subject) else { return false };
        let known = self.settle(task, client, payload, turn);
        turn.counters.add(known.map_or(Counter::AcknowledgementsStray, Verb::counter), 1);
        // Who has nothing to acknowledge is not answered.
        if let Some(reply) = reply.filter(|reply| known.is_some() && !reserved::refuses_reply(reply)) {
            let (reply, words) = (reply.into(), Box::default());
            turn.outcomes.push(Outcome::Answer(Answer { client, account, reply, words }));
        }
        true
    }

    /// A member says something of a message. Returns what, if it had it to settle.
    fn settle(
        &mut self,
        id: TaskId,
        connection: ConnectionId,
        payload: &[u8],
        turn: &mut Turn<'_>,
    ) -> Option<Verb> {
        // Whoever was given the message may say that it is done, even if another has it by now. What others
        // say is not read.
        let task = self.tasks.get_mut(&id).filter(|task| task.tried.contains(&connection))?;
        let (verb, words) = acknowledgement::read(payload)?;
        if verb == Verb::Ack {
            if let State::InFlight { member: key, .. } = task.state
                && let Some(member) = self.groups[task.group].members.get_mut(key)
                && member.connection == connection
            {
                debug_assert!(member.held.contains(&id), "a message is held by whom it says");
                member.load.acknowledged_after(turn.now.since(task.delivered));
                let reported = acknowledgement::load_in(words);
                member.load.reported_percent = reported.unwrap_or(member.load.reported_percent);
                if member.breaker.succeeded() {
                    let group = task.group;
                    self.breaker_changed(group, key, turn);
                }
            }
            self.finish(id);
            return Some(verb);
        }
        let State::InFlight { member, connection: holder, timer } = task.state else { return Some(verb) };
        let group = &mut self.groups[task.group];
        if holder != connection {
            return Some(verb);
        }
        if !words.is_empty() {
            task.error = Some(headers::one_line(words).into());
        }
        match verb {
            Verb::Nak(delay) => self.fail(id, Failure::Nak(delay), turn),
            Verb::Term => self.die(id, Death::Rejected, turn),
            Verb::Progress => {
                timer.into_iter().for_each(|timer| self.wheel.stop(timer));
                let timer = self.wheel.start(Nanos(turn.now.0 + group.options.wait_nanos), id);
                task.state = State::InFlight { member, connection, timer: Some(timer) };
            }
            Verb::Ack => {}
        }
        Some(verb)
    }
}
