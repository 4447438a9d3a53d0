//! Messages that no member of this shard can have go to a shard with members, if there is one.

use super::task::TaskId;
use crate::bus::Bus;
use crate::delivery::fan_out::FanOut;
use crate::message::{Message, Publication};
use crate::turn::Turn;
use ringbolt_protocol::subject::Subject;

impl Bus {
    pub fn hand_over(&mut self, turn: &mut Turn<'_>) {
        for (name, ids) in self.outlets.work.stranded(&self.outlets.delivery) {
            ids.into_iter().for_each(|id| self.hand_over_one(id, &name, turn));
        }
    }

    fn hand_over_one(&mut self, id: TaskId, name: &str, turn: &mut Turn<'_>) {
        let Some(task) = self.outlets.work.tasks.remove(&id) else { return };
        let space = self.accounts.space(task.account);
        let subject_id = space.subjects.resolve(Subject::trusted(&task.subject));
        let (_, subject_hash, route) = space.route(subject_id);
        let group = route.group(name).filter(|group| !group.remote.is_empty());
        let taken = group.is_some_and(|group| {
            let marks = task.marks();
            let payload = self.outlets.payload_of(&task);
            let publication = Publication {
                deliveries: task.attempts,
                ..task.publication(&marks, payload, task.header_bytes)
            };
            let message = Message { subject: &task.subject, publication: &publication };
            let (outlets, foreign) = (&mut self.outlets, task.foreign);
            FanOut { outlets, subject_hash, hops: 0, foreign, kept: true }.pass_on(group, &message, turn)
        });
        self.outlets.work.tasks.insert(id, task);
        if taken {
            self.outlets.work.finish(id);
        }
    }
}
