//! Where messages may wait that nobody here wants. They are looked for when that may have come to be, in
//! parts, and not all the time.

use super::task::TaskId;
use crate::lanes::LANES;
use crate::table::Key;
use std::collections::BTreeSet;

/// A lane of a group, and a place in it: deadline and number.
pub type Place = (usize, (u64, TaskId));

/// Before all that a group has waiting: messages are numbered from 1.
const BEGINNING: Place = (0, (0, 0));

/// How far the search in one group has come.
#[derive(Debug, Default)]
pub struct Search {
    at: Option<Place>,
    /// There is a new reason: what was looked at before is looked at once more.
    again: bool,
}

impl Search {
    /// There may be some anywhere.
    pub fn begin(&mut self) {
        self.again = self.at.is_some_and(|place| place > BEGINNING);
        self.at = self.at.or(Some(BEGINNING));
    }

    /// Where to go on, if anywhere.
    pub fn place(&self) -> Option<Place> {
        self.at
    }

    /// All before that place was looked at; without one, everything.
    pub fn go_on(&mut self, next: Option<Place>) {
        debug_assert!(next.is_none_or(|(lane, _)| lane < LANES), "it is in a lane");
        self.at = match next {
            None if std::mem::take(&mut self.again) => Some(BEGINNING),
            other => other,
        };
    }

    /// What is from that place on is to be looked at, once more if it was.
    pub fn go_back(&mut self, place: Place) {
        self.at = Some(self.at.map_or(place, |at| at.min(place)));
    }

    pub fn end(&mut self) {
        *self = Search::default();
    }
}

/// Groups and messages of a shard to be looked at.
#[derive(Debug, Default)]
pub struct Stranded {
    groups: BTreeSet<Key>,
    messages: Vec<TaskId>,
    /// Those for when time passed: the rest of a large group, and what a full link did not take.
    groups_later: BTreeSet<Key>,
    /// The group that is first in its turn.
    next: Option<Key>,
}

impl Stranded {
    pub fn look_at_group(&mut self, group: Key) {
        self.groups.insert(group);
    }

    /// A message waits that was not asked for just now.
    pub fn look_at(&mut self, id: TaskId) {
        self.messages.push(id);
    }

    pub fn look_at_group_later(&mut self, group: Key) {
        self.groups_later.insert(group);
    }

    pub fn pass_time(&mut self) {
        self.groups.append(&mut self.groups_later);
    }

    pub fn is_settled(&self) -> bool {
        self.groups.is_empty() && self.messages.is_empty()
    }

    /// What is to be looked at, the groups in turn.
    pub fn take(&mut self) -> (Vec<Key>, Vec<TaskId>) {
        let mut before = std::mem::take(&mut self.groups);
        let after = self.next.map(|next| before.split_off(&next)).unwrap_or_default();
        (after.into_iter().chain(before).collect(), std::mem::take(&mut self.messages))
    }

    /// Those groups are looked at when time passed: enough was.
    pub fn put_off(&mut self, groups: &[Key]) {
        self.next = groups.first().copied();
        self.groups_later.extend(groups);
    }

    /// Whether a group is to be looked at, now or later.
    pub fn knows(&self, group: Key) -> bool {
        self.groups.contains(&group) || self.groups_later.contains(&group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn a_new_reason_has_what_was_looked_at_before_looked_at_once_more() {
        let mut search = Search::default();
        search.begin();
        search.begin();
        search.go_on(Some((1, (7, 7))));
        search.begin();
        search.go_on(None);
        assert_eq!(search.place(), Some(BEGINNING), "there was a reason on the way");
        search.go_back((2, (3, 3)));
        assert_eq!(search.place(), Some(BEGINNING), "it is not come to yet");
        search.go_on(Some((3, (1, 1))));
        search.go_back((2, (3, 3)));
        assert_eq!(search.place(), Some((2, (3, 3))));
        search.go_on(None);
        assert_eq!(search.place(), None);
    }

    #[test]
    fn what_was_put_off_is_looked_at_first() {
        let mut table = Table::default();
        let keys: Vec<Key> = (0..4).map(|number| table.insert(number)).collect();
        let mut stranded = Stranded::default();
        let mut looked_at = Vec::new();
        for _ in 0..4 {
            // All of them have a new reason each time, and there is time for one.
            keys.iter().for_each(|&key| stranded.look_at_group(key));
            stranded.pass_time();
            let (groups, _) = stranded.take();
            assert_eq!(groups.len(), 4);
            looked_at.push(groups[0]);
            stranded.put_off(&groups[1..]);
            assert!(stranded.is_settled() && groups[1..].iter().all(|&group| stranded.knows(group)));
        }
        assert_eq!(looked_at, keys);
    }
}
