//! Messages that no member of this shard can have go to a shard with members, if there is one.

use super::task::TaskId;
use crate::bus::Bus;
use crate::delivery::fan_out::FanOut;
use crate::message::{Message, Publication};
use crate::table::Key;
use crate::turn::Turn;
use ringbolt_protocol::subject::Subject;

/// Waiting messages that are looked at in one go, in all groups.
const LOOKED_AT_MAX: usize = 1 << 14;

/// What became of a message that was to be handed over.
#[derive(PartialEq, Eq)]
enum Handed {
    Over,
    /// No other shard wants it either.
    ToNobody,
    /// The link took no more.
    LinkFull,
}

impl Bus {
    /// Hands over what nobody here wants, of what is to be looked at.
    pub fn hand_over(&mut self, turn: &mut Turn<'_>) {
        let (groups, messages) = self.outlets.work.stranded.take();
        let mut looked_at = 0;
        for (place, &group) in groups.iter().enumerate() {
            if looked_at >= LOOKED_AT_MAX {
                self.outlets.work.stranded.put_off(&groups[place..]);
                break;
            }
            looked_at += self.hand_over_of(group, turn);
        }
        for id in messages {
            let name = self.outlets.stranded_in(id).map(Into::<Box<str>>::into);
            if name.is_some_and(|name| self.hand_over_one(id, &name, turn) == Handed::LinkFull) {
                self.outlets.work.stranded.look_later(id);
            }
        }
    }

    /// Looks at a part of what waits in a group. Returns how much that was.
    fn hand_over_of(&mut self, key: Key, turn: &mut Turn<'_>) -> usize {
        let book = &mut self.outlets.work;
        let Some(group) = book.groups.get_mut(key) else { return 0 };
        let name = group.name.clone();
        let (ids, looked_at) = group.stranded(&book.tasks, &self.outlets.delivery);
        for id in ids {
            if self.hand_over_one(id, &name, turn) == Handed::LinkFull {
                let book = &mut self.outlets.work;
                book.groups[key].search_from(id, &book.tasks[&id]);
                break;
            }
        }
        let book = &mut self.outlets.work;
        if book.groups.get(key).is_some_and(|group| group.search.place().is_some()) {
            book.stranded.look_at_group_later(key);
        }
        looked_at
    }

    fn hand_over_one(&mut self, id: TaskId, name: &str, turn: &mut Turn<'_>) -> Handed {
        let Some(task) = self.outlets.work.tasks.remove(&id) else { return Handed::ToNobody };
        let space = self.accounts.space(task.account);
        let subject_id = space.subjects.resolve(Subject::trusted(&task.subject));
        let (_, subject_hash, route) = space.route(subject_id);
        let group = route.group(name).filter(|group| !group.remote.is_empty());
        let handed = group.map_or(Handed::ToNobody, |group| {
            let marks = task.marks();
            let payload = self.outlets.payload_of(&task);
            let publication = Publication {
                deliveries: task.attempts,
                ..task.publication(&marks, payload, task.header_bytes)
            };
            let message = Message { subject: &task.subject, publication: &publication };
            let (outlets, foreign) = (&mut self.outlets, task.foreign);
            let mut way = FanOut { outlets, subject_hash, hops: 0, foreign, kept: true };
            if way.pass_on(group, &message, turn) { Handed::Over } else { Handed::LinkFull }
        });
        self.outlets.work.tasks.insert(id, task);
        if handed == Handed::Over {
            self.outlets.work.finish(id);
        }
        handed
    }
}
