//! Members of a group that take their time for each message, one after the other, and acknowledge it then.

use super::state::State;
use crate::dialect::Outgoing;
use ringbolt_protocol::command::Priority;

impl State {
    /// A member begins with a message, once it is done with those before.
    pub(super) fn begin_work(&mut self, index: u32, reply: &[u8], now: u64) {
        let nanos = self.workload.work.as_nanos() as u64;
        let connection = &mut self.connections[index as usize];
        let free = connection.work.back().map_or(now, |&(done, _)| done.max(now));
        connection.work.push_back((free + nanos, String::from_utf8_lossy(reply).into_owned()));
        if connection.work.len() == 1 {
            self.working.push(index);
        }
    }

    /// Acknowledges what is done. Returns whether anything was.
    pub fn finish_work(&mut self, now: u64) -> bool {
        let mut any = false;
        let mut working = std::mem::take(&mut self.working);
        working.retain(|&index| {
            let due = |state: &State| {
                state.connections[index as usize].work.front().is_some_and(|&(done, _)| done <= now)
            };
            while due(self) {
                any = true;
                self.acknowledge(index, now);
            }
            !self.connections[index as usize].work.is_empty()
        });
        self.working = working;
        any
    }

    fn acknowledge(&mut self, index: u32, now: u64) {
        let connection = &mut self.connections[index as usize];
        let Some((_, reply)) = connection.work.pop_front() else { return };
        let outgoing = Outgoing {
            number: 0,
            subject: &reply,
            reply: None,
            correlation_id: 0,
            timestamp_nanos: self.unix_epoch_nanos + now,
            payload_bytes: 0,
            priority: Priority::Normal,
        };
        let before = connection.outbound.len();
        self.dialect.publish_head(&outgoing, &mut connection.outbound);
        self.dialect.finish(&mut connection.outbound);
        self.backlog_bytes += connection.outbound.len() - before;
        self.mark(index);
    }
}
