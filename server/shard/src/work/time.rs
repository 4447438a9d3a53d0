//! What time brings to groups that acknowledge: only what is due is looked at.

use super::Book;
use super::Failure;
use super::death::Death;
use super::task::{State, TaskId};
use crate::mesh::batch::Record;
use crate::outlets::Outlets;
use crate::turn::Turn;
use std::collections::BTreeSet;

impl Outlets {
    /// What time brings to what is kept.
    pub fn pass_time(&mut self, turn: &mut Turn<'_>) {
        let mut groups = BTreeSet::new();
        for connection in std::mem::take(&mut self.work.changed) {
            let Some(receiver) = self.delivery.receivers.get(connection) else { continue };
            let subscriptions = receiver.subscriptions.keys();
            for own in subscriptions.into_iter().filter_map(|key| self.delivery.subscriptions.get(key)) {
                own.work.into_iter().for_each(|group| self.work.rights_changed_in(group));
                groups.extend(own.group.as_deref().map(|name| (own.account, name)));
            }
        }
        for (account, group) in groups {
            self.mesh.broadcast(&Record::MembersChanged { account, group }, turn);
        }
        self.work.pass_time(turn);
    }
}

impl Book {
    /// Acknowledgements that did not come, rests that are over, breakers that were open for long enough,
    /// deadlines that passed.
    fn pass_time(&mut self, turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        self.wheel.fire(turn.now, &mut due);
        debug_assert!(due.iter().all(|id| self.tasks.contains_key(id)), "a timer ends with its message");
        // A wheel fires in no order.
        due.sort_unstable();
        due.into_iter().for_each(|id| self.timer_fired(id, turn));
        while let Some(&(until, group, key)) = self.breakers.first()
            && until <= turn.now
        {
            self.breakers.pop_first();
            let member = self.groups.get_mut(group).and_then(|group| group.members.get_mut(key));
            debug_assert!(member.is_some(), "a breaker goes with its member");
            if member.is_some_and(|member| member.breaker.pass_time(turn.now)) {
                self.breaker_changed(group, key, turn);
            }
        }
        let past = self.deadlines.range(..=(turn.now, TaskId::MAX)).map(|&(_, id)| id);
        past.collect::<Vec<TaskId>>().into_iter().for_each(|id| self.die(id, Death::Expired, turn));
        self.rooms.pass_time();
        self.offers.pass_time();
        self.stranded.pass_time();
        self.unsettled |= !self.rooms.is_settled() || !self.stranded.is_settled();
    }

    fn timer_fired(&mut self, id: TaskId, turn: &mut Turn<'_>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let has_timer = matches!(task.state, State::InFlight { .. } | State::Resting(_));
        debug_assert!(has_timer, "a message that waits for a member has no timer");
        match task.state {
            State::InFlight { member, connection, .. } => {
                task.state = State::InFlight { member, connection, timer: None };
                self.fail(id, Failure::TimedOut, turn);
            }
            State::Resting(_) => self.wait(id),
            State::Waiting | State::Offered(_) => {}
        }
    }
}
