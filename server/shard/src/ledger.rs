//! What a shard keeps for its clients beside what waits in outboxes and groups, which count their own: how
//! much of each kind, and who waits until there is room.

use crate::identity::ConnectionId;
use std::collections::VecDeque;

/// What memory is taken by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The beginnings of small messages.
    Begun,
    /// What clients have said that waits for a turn, or for room.
    Deferred,
    /// Large messages that have begun, in full.
    Gathered,
    /// Subscriptions, and what is known of those of other shards.
    Interest,
    /// Connections by themselves.
    Connections,
    /// What grows slowly and has bounds of its own, as of the last tick: dead letters, ids of messages,
    /// requests that are looked after.
    Others,
}

impl Kind {
    pub const ALL: [Kind; 6] =
        [Kind::Begun, Kind::Deferred, Kind::Gathered, Kind::Interest, Kind::Connections, Kind::Others];
}

/// Whether one who has `own` of something may have `more`, where `taken` of `most` is taken by all: no more
/// than is left to the others, so that nobody takes it all.
pub fn may_have(own: usize, more: usize, taken: usize, most: usize) -> bool {
    own + more <= most.saturating_sub(taken)
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    bytes: [usize; Kind::ALL.len()],
    total: usize,
    /// Whose message, of so many bytes, is to be gathered once there is room, in the order they came. The
    /// first of them were called, and are heard in their turn.
    line: VecDeque<(ConnectionId, usize)>,
    called: usize,
    called_bytes: usize,
}

impl Ledger {
    pub fn add(&mut self, kind: Kind, bytes: usize) {
        self.bytes[kind as usize] += bytes;
        self.total += bytes;
    }

    pub fn subtract(&mut self, kind: Kind, bytes: usize) {
        let of_kind = &mut self.bytes[kind as usize];
        assert!(*of_kind >= bytes, "what is given back was taken");
        *of_kind -= bytes;
        self.total -= bytes;
    }

    /// It takes so many bytes by now.
    pub fn set(&mut self, kind: Kind, bytes: usize) {
        self.subtract(kind, self.of(kind));
        self.add(kind, bytes);
    }

    pub fn of(&self, kind: Kind) -> usize {
        self.bytes[kind as usize]
    }

    #[inline]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether a message of so many bytes may be gathered now. One at least may, whatever its length.
    pub fn may_gather(&mut self, id: ConnectionId, bytes: usize, bytes_max: usize) -> bool {
        if let Some(place) = self.line.iter().take(self.called).position(|&(called, _)| called == id) {
            self.leave_line(place);
            return true;
        }
        let waits = self.line.len() > self.called;
        if !waits && self.has_room_for(bytes, bytes_max) {
            return true;
        }
        self.line.push_back((id, bytes));
        false
    }

    /// Whether somebody waits for room that was not called.
    #[inline]
    pub fn is_waited_for(&self) -> bool {
        self.line.len() > self.called
    }

    /// Calls the next in line if there is room for it; it is to be heard.
    pub fn call(&mut self, bytes_max: usize) -> Option<ConnectionId> {
        let &(id, bytes) = self.line.get(self.called)?;
        if !self.has_room_for(bytes, bytes_max) {
            return None;
        }
        self.called += 1;
        self.called_bytes += bytes;
        Some(id)
    }

    /// Who was called has been heard, and needed no room after all.
    pub fn heard(&mut self, id: ConnectionId) {
        if let Some(place) = self.line.iter().take(self.called).position(|&(called, _)| called == id) {
            self.leave_line(place);
        }
    }

    /// Who waits and was not called.
    pub fn waiting(&self) -> impl Iterator<Item = ConnectionId> {
        self.line.iter().skip(self.called).map(|&(id, _)| id)
    }

    fn has_room_for(&self, bytes: usize, bytes_max: usize) -> bool {
        let taken = self.of(Kind::Gathered) + self.called_bytes;
        taken == 0 || taken + bytes <= bytes_max
    }

    fn leave_line(&mut self, place: usize) {
        debug_assert!(place < self.called, "only who was called leaves");
        let (_, bytes) = self.line.remove(place).expect("it is in line");
        self.called -= 1;
        self.called_bytes -= bytes;
    }

    /// Compares with what was counted anew, kind by kind.
    pub fn check(&self, counted: [usize; Kind::ALL.len()]) {
        assert_eq!(self.bytes, counted, "memory by kind: {:?}", Kind::ALL);
        assert_eq!(self.total, counted.iter().sum::<usize>(), "memory of all kinds");
        let called = self.line.iter().take(self.called).map(|&(_, bytes)| bytes).sum::<usize>();
        assert_eq!(self.called_bytes, called, "what those take who were called");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 1 }
    }

    #[test]
    fn large_messages_are_gathered_in_the_order_they_came() {
        let mut ledger = Ledger::default();
        let gather = |ledger: &mut Ledger, slot, bytes| {
            let may = ledger.may_gather(id(slot), bytes, 100);
            if may {
                ledger.add(Kind::Gathered, bytes);
            }
            may
        };
        assert!(gather(&mut ledger, 1, 60) && gather(&mut ledger, 2, 30));
        assert!(!gather(&mut ledger, 3, 70) && !gather(&mut ledger, 4, 1), "a small one does not overtake");
        assert_eq!(ledger.call(100), None);
        ledger.subtract(Kind::Gathered, 30);
        assert_eq!(ledger.call(100), None, "60 and 70 are more than 100");
        ledger.subtract(Kind::Gathered, 60);
        assert_eq!((ledger.call(100), ledger.call(100), ledger.call(100)), (Some(id(3)), Some(id(4)), None));
        assert!(gather(&mut ledger, 5, 29) && !gather(&mut ledger, 6, 1), "what was promised is kept free");
        assert!(gather(&mut ledger, 3, 70));
        ledger.heard(id(4));
        assert_eq!((ledger.call(100), ledger.call(100)), (Some(id(6)), None));
        ledger.check([0, 0, 99, 0, 0, 0]);
    }

    #[test]
    fn one_message_is_gathered_whatever_its_length() {
        let mut ledger = Ledger::default();
        assert!(ledger.may_gather(id(1), 1000, 100));
        ledger.add(Kind::Gathered, 1000);
        assert!(!ledger.may_gather(id(2), 1000, 100));
        ledger.subtract(Kind::Gathered, 1000);
        assert_eq!(ledger.call(100), Some(id(2)));
    }

    #[test]
    fn nobody_may_have_more_than_is_left_to_the_others() {
        let mut own = 0;
        while may_have(own, 10, own, 1000) {
            own += 10;
        }
        assert_eq!(own, 500);
        assert!(may_have(0, 500, own, 1000) && !may_have(0, 501, own, 1000), "others may have some");
    }
}
