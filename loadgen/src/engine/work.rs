//! Members of a group that take their time for each message, one after the other, and answer then.

use super::connection::Job;
use super::state::{State, next_random};
use crate::dialect::Outgoing;
use ringbolt_protocol::command::Priority;
use std::collections::HashMap;

/// What the members of a group did with what they were given.
#[derive(Clone, Default, Debug)]
pub struct MemberRecord {
    pub acknowledged: u64,
    /// Refused by `-NAK`.
    pub refused: u64,
    /// Never answered, on purpose.
    pub unanswered: u64,
    /// By key: the connection of the driver that was given its last message.
    holders: HashMap<u32, u32>,
    /// Messages that came to another member than the one of their key before.
    pub moved: u64,
}

impl MemberRecord {
    pub fn hold(&mut self, key: u32, connection: u32) {
        let before = self.holders.insert(key, connection);
        self.moved += u64::from(before.is_some_and(|before| before != connection));
    }

    /// Takes over what another driver's members did. A key that both were given has moved.
    pub fn merge(&mut self, other: &MemberRecord) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.moved += other.moved;
        for (&key, &holder) in &other.holders {
            self.moved += u64::from(self.holders.insert(key, holder).is_some());
        }
    }
}

impl State {
    /// A member begins with a message, once it is done with those before.
    pub(super) fn begin_work(&mut self, index: u32, reply: &[u8], (subject, intended): (u32, u64), now: u64) {
        let lane = self.workload.lane(subject);
        let nanos = self.workload.members.work.choose(next_random(&mut self.random));
        let connection = &mut self.connections[index as usize];
        let free = connection.work.back().map_or(now, |job| job.done.max(now));
        let reply = String::from_utf8_lossy(reply).into_owned();
        connection.work.push_back(Job { done: free + nanos, intended, lane, reply });
        if connection.work.len() == 1 {
            self.working.push(index);
        }
    }

    /// Answers what is done. Returns whether anything was.
    pub fn finish_work(&mut self, now: u64) -> bool {
        let mut any = false;
        let mut working = std::mem::take(&mut self.working);
        working.retain(|&index| {
            let due = |state: &State| {
                state.connections[index as usize].work.front().is_some_and(|job| job.done <= now)
            };
            while due(self) {
                any = true;
                self.answer(index, now);
            }
            !self.connections[index as usize].work.is_empty()
        });
        self.working = working;
        any
    }

    fn answer(&mut self, index: u32, now: u64) {
        let chance = next_random(&mut self.random) as f64 / (1u64 << 32) as f64;
        let members = &self.workload.members;
        let (refuses, keeps_silent) =
            (chance < members.nak_share, chance < members.nak_share + members.silent_share);
        let connection = &mut self.connections[index as usize];
        let Some(Job { intended, lane, reply, .. }) = connection.work.pop_front() else { return };
        let record = &mut self.recorder.members;
        let words: &[u8] = if refuses {
            record.refused += 1;
            b"-NAK"
        } else if keeps_silent {
            record.unanswered += 1;
            return;
        } else {
            record.acknowledged += 1;
            self.recorder.done(lane, intended, now);
            b""
        };
        let outgoing = Outgoing {
            number: 0,
            subject: &reply,
            reply: None,
            correlation_id: 0,
            timestamp_nanos: self.unix_epoch_nanos + now,
            payload_bytes: words.len(),
            priority: Priority::Normal,
            key: None,
        };
        let before = connection.outbound.len();
        self.dialect.publish_head(&outgoing, &mut connection.outbound);
        connection.outbound.extend_from_slice(words);
        self.dialect.finish(&mut connection.outbound);
        self.backlog_bytes += connection.outbound.len() - before;
        self.mark(index);
    }
}

#[cfg(test)]
mod tests {
    use super::MemberRecord;

    #[test]
    fn a_key_moves_when_another_member_is_given_its_message() {
        let (mut one, mut two) = (MemberRecord::default(), MemberRecord::default());
        for (key, member) in [(1, 7), (2, 8), (1, 7)] {
            one.hold(key, member);
        }
        assert_eq!(one.moved, 0);
        one.hold(2, 7);
        two.hold(3, 7);
        two.hold(2, 9);
        one.merge(&two);
        assert_eq!(one.moved, 2, "key 2, here and to the other driver");
    }
}
