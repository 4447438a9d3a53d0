//! Members of a group that take their time for each message, one after the other, and answer then.

use super::connection::Connection;
use super::roles::{Job, Role};
use super::state::{State, next_random};
use crate::dialect::Outgoing;
use ringbolt_protocol::command::Priority;
use std::collections::VecDeque;

impl State {
    /// A member begins with a message, once it is done with those before.
    pub(super) fn begin_work(&mut self, index: u32, reply: &[u8], (subject, intended): (u32, u64), now: u64) {
        let lane = self.workload.lane(subject);
        let nanos = self.workload.members.work.choose(next_random(&mut self.random));
        let Some(work) = work_of(&mut self.connections[index as usize]) else { return };
        let free = work.back().map_or(now, |job| job.done.max(now));
        let reply = String::from_utf8_lossy(reply).into_owned();
        work.push_back(Job { done: free + nanos, intended, lane, reply });
        if work.len() == 1 {
            self.working.push(index);
        }
    }

    /// Answers what is done. Returns whether anything was.
    pub fn finish_work(&mut self, now: u64) -> bool {
        let mut any = false;
        let mut working = std::mem::take(&mut self.working);
        working.retain(|&index| {
            while let Some(job) = next_done(&mut self.connections[index as usize], now) {
                any = true;
                self.answer(index, job, now);
            }
            work_of(&mut self.connections[index as usize]).is_some_and(|work| !work.is_empty())
        });
        self.working = working;
        any
    }

    fn answer(&mut self, index: u32, job: Job, now: u64) {
        let chance = next_random(&mut self.random) as f64 / (1u64 << 32) as f64;
        let members = &self.workload.members;
        let (refuses, keeps_silent) =
            (chance < members.nak_share, chance < members.nak_share + members.silent_share);
        let Job { intended, lane, reply, .. } = job;
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
        let connection = &mut self.connections[index as usize];
        let before = connection.outbound.len();
        self.dialect.publish_head(&outgoing, &mut connection.outbound);
        connection.outbound.extend_from_slice(words);
        self.dialect.finish(&mut connection.outbound);
        self.backlog_bytes += connection.outbound.len() - before;
        self.mark(index);
    }
}

/// What a member works on; none of other connections.
fn work_of(connection: &mut Connection) -> Option<&mut VecDeque<Job>> {
    match &mut connection.role {
        Role::Subscriber(subscriber) => subscriber.member.as_mut().map(|member| &mut member.work),
        _ => None,
    }
}

/// Takes the first job, if it is done.
fn next_done(connection: &mut Connection, now: u64) -> Option<Job> {
    let work = work_of(connection)?;
    let done = work.front().is_some_and(|job| job.done <= now);
    if done { work.pop_front() } else { None }
}
