//! Recounts what the groups of a shard have, for tests and simulations.

use super::Book;
use super::breaker;
use super::task::State;
use crate::delivery::Delivery;

impl Book {
    /// Recounts every running sum and index, and looks for messages that wait although somebody could have
    /// them.
    pub fn check(&self, delivery: &Delivery) {
        let bytes = self.tasks.values().map(|task| task.weight()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of kept messages");
        let (mut tasks, mut bytes, mut in_flight) = (0, 0, 0);
        for (key, group) in self.groups.iter() {
            group.check();
            let own = || self.tasks.values().filter(|task| task.group == key);
            assert_eq!(group.tasks, own().count(), "messages of a group");
            assert_eq!(group.bytes, own().map(|task| task.weight()).sum::<usize>(), "bytes of a group");
            let named = self.names.get(&(group.account, group.name.clone()));
            assert_eq!(named, Some(&key), "a group has its name");
            (tasks, bytes) = (tasks + group.tasks, bytes + group.bytes);
            in_flight += group.in_flight();
        }
        assert_eq!((tasks, bytes), (self.tasks.len(), self.bytes), "messages of all groups");
        assert_eq!(self.in_flight, in_flight, "messages that members have");
        assert_eq!(self.groups.len(), self.names.len(), "a name is that of a group");
        let groups_bytes = self.groups.iter().map(|(_, group)| group.own_bytes()).sum::<usize>();
        assert_eq!(self.groups_bytes, groups_bytes, "memory of groups");
        self.groups.check();
        self.letters.check();
        self.check_states();
        self.check_members();
        self.check_waits(delivery);
    }

    /// Compares what messages say of where they are with what is there.
    fn check_states(&self) {
        let (mut timers, mut deadlines, mut offered) = (0, 0, 0);
        for (&id, task) in &self.tasks {
            let timer = match task.state {
                State::Waiting => None,
                State::Offered(shard) => {
                    offered += 1;
                    assert!(self.offers.is_open(shard), "an offer is answered");
                    None
                }
                State::Resting(timer) => Some(timer),
                State::InFlight { member, connection, timer } => {
                    let held = self.groups[task.group].members.holds(member, connection, id);
                    assert!(held, "a message is held by whom it says");
                    timer
                }
            };
            assert!(timer.is_none_or(|timer| self.wheel.is_of(timer, id)), "a timer belongs to its message");
            timers += usize::from(timer.is_some());
            if let (State::Waiting, Some(deadline)) = (task.state, task.deadline) {
                assert!(self.deadlines.contains(&(deadline, id)), "who waits is due at its deadline");
                deadlines += 1;
            }
        }
        assert!(offered <= self.offers.open(), "each offer is counted until it is answered");
        assert_eq!(self.wheel.check(), timers, "timers of all messages");
        assert_eq!(self.deadlines.len(), deadlines, "deadlines of all messages that wait");
    }

    /// Compares what is known of members with them.
    fn check_members(&self) {
        let (mut open, mut leaving) = (0, 0);
        for (group, members) in self.groups.iter().map(|(key, group)| (key, &group.members)) {
            for (key, member) in members.keyed() {
                if let breaker::State::Open(until) = member.breaker.state() {
                    assert!(self.breakers.contains(&(until, group, key)), "an open breaker ends");
                    open += 1;
                }
            }
            for (key, member) in members.leaving() {
                let known = self.leaving.get(&member.connection);
                assert!(known.is_some_and(|own| own.contains(&(group, key))), "who leaves is found");
                leaving += 1;
            }
        }
        assert_eq!(self.breakers.len(), open, "breakers that are open");
        let known: usize = self.leaving.values().map(|own| own.len()).sum();
        assert_eq!(known, leaving, "members that have left and hold something");
    }

    /// Whether whoever waits is asked again, and nobody waits who could have something.
    fn check_waits(&self, delivery: &Delivery) {
        let settled = self.ready.is_empty() && self.rooms.is_settled() && self.stranded.is_settled();
        assert!(settled && !self.unsettled, "what an event brought is done when it is handled");
        let mut waits = 0;
        for (connection, wait, group) in self.rooms.iter() {
            let refused = self.groups.get(group).and_then(|group| group.members.refused_by(connection));
            assert!(refused.is_some_and(|refused| refused.wait == wait), "who waits for room was refused");
            let receiver = delivery.receivers.get(connection);
            let leaves = receiver.is_some_and(|receiver| !receiver.outbox.is_empty());
            assert!(leaves || self.rooms.is_asked_later(connection), "there will be room, or time passes");
            waits += 1;
        }
        let refusals = self.groups.iter().map(|(_, group)| group.members.refusals());
        assert_eq!(waits, refusals.sum::<usize>(), "who was refused waits for room");
        for (key, group) in self.groups.iter() {
            let idle = self.changed.is_empty() && group.keeps_waiting(&self.tasks, delivery);
            assert!(!idle, "what waits is given to whoever can have it");
            let searched = group.search.place().is_none() || self.stranded.knows(key);
            assert!(searched, "a search that has begun goes on");
        }
    }
}
