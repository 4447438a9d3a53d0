//! What handling an event left to be done.

use super::Members;
use crate::clients::Client;
use crate::closing::CloseReason;
use crate::event::Close;
use crate::identity::ConnectionId;
use crate::mesh::batch::Record;
use crate::message::{Payload, Publication};
use crate::metrics::Counter;
use crate::outcome::{Answer, BreakerChange, Outcome};
use crate::turn::Turn;
use crate::work::options::own_name;
use serde_json::json;

/// Where changes of breakers go: after it the new state.
const BREAKERS: &str = "$EVENTS.breaker.";

impl Members {
    /// Does it, and what doing it leaves.
    #[inline]
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.bus.remove_expired(turn);
        if !turn.outcomes.is_empty() || self.bus.outlets.work.is_unsettled() {
            self.settle_all(turn);
        }
    }

    #[cold]
    fn settle_all(&mut self, turn: &mut Turn<'_>) {
        loop {
            self.bus.outlets.serve_ready(turn);
            self.bus.remove_expired(turn);
            match turn.outcomes.pop() {
                Some(outcome) => self.carry_out(outcome, turn),
                None if self.bus.outlets.work.has_stranded() => self.bus.hand_over(turn),
                None if self.bus.outlets.work.is_unsettled() => {}
                None => break,
            }
        }
        debug_assert!(turn.outcomes.is_empty() && !self.bus.outlets.work.is_unsettled(), "all of it is done");
    }

    fn carry_out(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        match outcome {
            Outcome::Cut(id) => self.forget_cut(id, turn),
            Outcome::Pause(publisher) => {
                let record = Record::Pause { publisher: publisher.connection };
                self.bus.outlets.mesh.push(publisher.shard, &record, turn);
            }
            Outcome::Resume(publisher) => {
                let record = Record::Resume { publisher: publisher.connection };
                self.bus.outlets.mesh.push(publisher.shard, &record, turn);
            }
            Outcome::Leave(id) => self.begin_to_leave(id, turn),
            Outcome::Gone(id) => self.has_gone(id, turn),
            Outcome::GoOn(id) => self.line_up_again(id),
            Outcome::Outruns(publisher) => {
                let record = Record::Outruns { publisher: publisher.connection };
                self.bus.outlets.mesh.push(publisher.shard, &record, turn);
            }
            Outcome::Dead(death, task) => self.bus.bury(death, task, turn),
            Outcome::Breaker(change) => self.report_breaker(&change, turn),
            Outcome::Answer(answer) => self.answer(&answer, turn),
            Outcome::Gathered(gathered) => self.bus.tell_gathered(&gathered, turn),
        }
    }

    /// A connection was taken out at once.
    fn forget_cut(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        debug_assert!(!self.bus.outlets.delivery.is_open(id), "whoever is cut is heard no more");
        client.let_go(&mut self.bus);
        client.sender_mut().forget_deferred(&mut self.bus.outlets.ledger);
        self.begin_to_leave(id, turn);
        let reason = CloseReason::SlowConsumer;
        turn.counters.add(reason.counter(), 1);
        turn.effects.close.push((id, Close::Now, reason));
    }

    /// Publishes that a member's breaker opened, closed, or lets probes through.
    fn report_breaker(&mut self, change: &BreakerChange, turn: &mut Turn<'_>) {
        turn.counters.add(Counter::BreakerChanges, 1);
        let Some((account, group)) = self.bus.outlets.work.group_of(change.group) else { return };
        let client = match self.clients.get(change.connection) {
            Some(Client::Nats(client)) => client.options.name.as_str(),
            Some(Client::Native(_)) | None => "",
        };
        let event = json!({
            "group": own_name(group),
            "subject": change.pattern,
            "state": change.state,
            "client": client,
            "shard": self.bus.outlets.own,
            "connection": change.connection.slot,
        });
        let payload = event.to_string();
        let payload = Payload::Copied(payload.as_bytes());
        let publication = Publication { account, payload, ..Publication::EMPTY };
        self.bus.say(&format!("{BREAKERS}{}", change.state), &publication, turn);
    }

    /// Publishes an answer to a client of this shard at the reply subject that it named, as far as it might
    /// publish there itself. Where it may not, it alone is answered. Through services, the answer finds its
    /// way back.
    fn answer(&mut self, answer: &Answer, turn: &mut Turn<'_>) {
        let Some(client) = self.clients.get(answer.client) else { return };
        let Ok(mut subject) = std::str::from_utf8(&answer.reply) else { return };
        let (own, mut account) = (client.sender().account, answer.account);
        while account != own {
            let Some(before) = self.bus.accounts.links.answered(subject) else { return };
            (account, subject) = before;
        }
        let allowed = match client {
            Client::Native(_) => true,
            Client::Nats(client) => client.may_publish(subject),
        };
        let payload = Payload::Copied(&answer.words);
        let publication = Publication { account, payload, ..Publication::EMPTY };
        if allowed {
            self.bus.say(subject, &publication, turn);
        } else {
            self.bus.tell(answer.client, subject, &publication, turn);
        }
    }
}
