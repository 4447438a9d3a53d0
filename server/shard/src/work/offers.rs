//! Messages that other shards were asked to take over, until they answer.

use crate::identity::ShardId;
use crate::mesh::batch::OfferAnswer;
use crate::table::Key;
use std::collections::{BTreeMap, BTreeSet};

/// Offers that a shard may have unanswered.
const OPEN_MAX: u32 = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Offers {
    /// By shard, as far as one was asked: offers that it has to answer.
    open: Vec<u32>,
    /// Groups that a shard had no room for, and how many offers it may be made yet: one when time passed, and
    /// two more for each that it takes. Nothing: time has not passed.
    narrow: BTreeMap<(Key, ShardId), Option<u32>>,
    /// Those that may be made none.
    spent: BTreeSet<(Key, ShardId)>,
}

impl Offers {
    /// Whether a shard may be asked for a group.
    pub fn admits(&self, shard: ShardId, group: Key) -> bool {
        let credit = self.narrow.get(&(group, shard));
        self.open_at(shard) < OPEN_MAX && credit.is_none_or(|credit| credit.is_some_and(|credit| credit > 0))
    }

    pub fn opened(&mut self, shard: ShardId, group: Key) {
        debug_assert!(self.admits(shard, group), "no more is offered than may be");
        let place = usize::from(shard);
        if place >= self.open.len() {
            self.open.resize(place + 1, 0);
        }
        self.open[place] += 1;
        if let Some(Some(credit)) = self.narrow.get_mut(&(group, shard)) {
            *credit -= 1;
            if *credit == 0 {
                self.spent.insert((group, shard));
            }
        }
    }

    /// The answer for a message of that group, if the message is not done by now. Returns whether a shard may
    /// be asked that could not be for a while.
    pub fn answered(&mut self, shard: ShardId, group: Option<Key>, answer: OfferAnswer) -> bool {
        let open = &mut self.open[usize::from(shard)];
        assert!(*open > 0, "an offer is answered once");
        *open -= 1;
        let mut resumes = *open == OPEN_MAX - 1;
        let Some(group) = group else { return resumes };
        match (answer, self.narrow.get_mut(&(group, shard))) {
            (OfferAnswer::Full, _) => {
                self.narrow.insert((group, shard), None);
                self.spent.insert((group, shard));
            }
            (OfferAnswer::Taken | OfferAnswer::Unwanted, Some(Some(credit))) => {
                resumes |= *credit == 0;
                *credit += if answer == OfferAnswer::Taken { 2 } else { 1 };
                if *credit >= OPEN_MAX {
                    self.narrow.remove(&(group, shard));
                }
            }
            _ => {}
        }
        resumes
    }

    pub fn pass_time(&mut self) {
        for place in std::mem::take(&mut self.spent) {
            if let Some(credit) = self.narrow.get_mut(&place) {
                *credit = Some(credit.unwrap_or_default().max(1));
            }
        }
    }

    /// A group is no more.
    pub fn forget(&mut self, group: Key) {
        while let Some((&place, _)) = self.narrow.range((group, 0)..=(group, ShardId::MAX)).next() {
            self.narrow.remove(&place);
        }
    }

    fn open_at(&self, shard: ShardId) -> u32 {
        self.open.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Whether a shard has an offer to answer.
    pub fn is_open(&self, shard: ShardId) -> bool {
        self.open_at(shard) > 0
    }

    /// Offers that are not answered.
    pub fn open(&self) -> usize {
        self.open.iter().map(|&open| open as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn who_has_no_room_is_offered_one_when_time_passed_and_then_what_it_takes() {
        let mut table = Table::default();
        let (group, other) = (table.insert(()), table.insert(()));
        let mut offers = Offers::default();
        assert!(offers.admits(3, group) && !offers.is_open(3));
        (0..OPEN_MAX).for_each(|_| offers.opened(3, group));
        assert!(!offers.admits(3, other) && offers.admits(2, group) && offers.open() == OPEN_MAX as usize);
        let answer = |offers: &mut Offers, answer| offers.answered(3, Some(group), answer);
        assert!(answer(&mut offers, OfferAnswer::Unwanted), "one more may be open");
        assert!(!answer(&mut offers, OfferAnswer::Full));
        let resumed = (2..OPEN_MAX).filter(|_| answer(&mut offers, OfferAnswer::Taken)).count();
        assert_eq!(
            (resumed, offers.admits(3, group), offers.is_open(3)),
            (0, false, false),
            "it had no room"
        );
        assert!(offers.admits(3, other), "for another group it may have");
        offers.pass_time();
        for window in [1, 2, 4, 8] {
            (0..window).for_each(|_| offers.opened(3, group));
            assert!(!offers.admits(3, group), "{window}");
            let resumed = (0..window).filter(|_| answer(&mut offers, OfferAnswer::Taken)).count();
            assert_eq!(resumed, 1, "it is told once that there may be more");
        }
        offers.forget(group);
        assert!(offers.admits(3, group) && offers.narrow.is_empty());
    }
}
