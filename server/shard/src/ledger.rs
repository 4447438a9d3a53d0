//! What a shard keeps for its clients beside what waits in outboxes and groups, which count their own: how
//! much of each kind, and who waits until there is room.

use crate::identity::ConnectionId;
use std::collections::BTreeMap;

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
    /// Messages that are delivered in pieces, and lists of who is yet to get them.
    Wide,
    /// What grows slowly and has bounds of its own, as of the last tick: dead letters, ids of messages,
    /// requests that are looked after.
    Others,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Begun,
        Kind::Deferred,
        Kind::Gathered,
        Kind::Interest,
        Kind::Connections,
        Kind::Wide,
        Kind::Others,
    ];
}

/// What one may have of anything, however much others have.
const OWN_BYTES_MIN: usize = 4 << 10;

/// Whether one who has `own` bytes of something may have `more`, where `taken` of `most` is taken by all: no
/// more than is left to the others, so that nobody takes it all, and a little in any case.
pub fn may_have(own: usize, more: usize, taken: usize, most: usize) -> bool {
    own + more <= most.saturating_sub(taken).max(OWN_BYTES_MIN)
}

/// A place in the line of those who wait for room. Counted up.
pub type Ticket = u64;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    bytes: [usize; Kind::ALL.len()],
    total: usize,
    /// Whose message, of so many bytes, is to be gathered once there is room, in the order they came.
    line: BTreeMap<Ticket, (ConnectionId, usize)>,
    tickets: Ticket,
    /// Those with smaller numbers were called, and are heard in their turn: what they take together, and how
    /// many were not.
    called_to: Ticket,
    called_bytes: usize,
    uncalled: usize,
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

    /// Whether a message of so many bytes may be gathered now. One at least may, whatever its length. Who may
    /// not has a ticket until then, or until it leaves the line.
    pub fn may_gather(
        &mut self,
        ticket: &mut Option<Ticket>,
        id: ConnectionId,
        bytes: usize,
        bytes_max: usize,
    ) -> bool {
        if let Some(number) = *ticket {
            let called = number < self.called_to;
            if called {
                self.leave_line(ticket);
            }
            return called;
        }
        if self.uncalled == 0 && self.has_room_for(bytes, bytes_max) {
            return true;
        }
        self.line.insert(self.tickets, (id, bytes));
        *ticket = Some(self.tickets);
        self.tickets += 1;
        self.uncalled += 1;
        false
    }

    /// Whether somebody waits for room that was not called.
    #[inline]
    pub fn is_waited_for(&self) -> bool {
        self.uncalled > 0
    }

    /// How many do.
    pub fn uncalled(&self) -> usize {
        self.uncalled
    }

    /// Calls the next in line if there is room for it; it is to be heard.
    pub fn call(&mut self, bytes_max: usize) -> Option<ConnectionId> {
        let (&number, &(id, bytes)) = self.line.range(self.called_to..).next()?;
        if !self.has_room_for(bytes, bytes_max) {
            return None;
        }
        self.called_to = number + 1;
        self.called_bytes += bytes;
        self.uncalled -= 1;
        Some(id)
    }

    /// Whoever has that ticket needs no room any more.
    pub fn leave_line(&mut self, ticket: &mut Option<Ticket>) {
        let Some(number) = ticket.take() else { return };
        let Some((_, bytes)) = self.line.remove(&number) else { return };
        if number < self.called_to {
            self.called_bytes -= bytes;
        } else {
            self.uncalled -= 1;
        }
    }

    /// Who waits and was not called.
    pub fn waiting(&self) -> impl Iterator<Item = ConnectionId> {
        self.line.range(self.called_to..).map(|(_, &(id, _))| id)
    }

    fn has_room_for(&self, bytes: usize, bytes_max: usize) -> bool {
        let taken = self.of(Kind::Gathered) + self.called_bytes;
        taken == 0 || taken + bytes <= bytes_max
    }

    /// Compares with what was counted anew, kind by kind.
    pub fn check(&self, counted: [usize; Kind::ALL.len()]) {
        assert_eq!(self.bytes, counted, "memory by kind: {:?}", Kind::ALL);
        assert_eq!(self.total, counted.iter().sum::<usize>(), "memory of all kinds");
        let called = self.line.range(..self.called_to).map(|(_, &(_, bytes))| bytes).sum::<usize>();
        assert_eq!(self.called_bytes, called, "what those take who were called");
        assert_eq!(self.uncalled, self.waiting().count(), "who was not called");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 1 }
    }

    /// Some clients with their tickets.
    #[derive(Default)]
    struct Crowd(Ledger, [Option<Ticket>; 10]);

    impl Crowd {
        fn gather(&mut self, slot: u32, bytes: usize) -> bool {
            let may = self.0.may_gather(&mut self.1[slot as usize], id(slot), bytes, 100);
            if may {
                self.0.add(Kind::Gathered, bytes);
            }
            may
        }

        fn call(&mut self) -> Option<ConnectionId> {
            self.0.call(100)
        }
    }

    #[test]
    fn large_messages_are_gathered_in_the_order_they_came() {
        let mut crowd = Crowd::default();
        assert!(crowd.gather(1, 60) && crowd.gather(2, 30));
        assert!(!crowd.gather(3, 70) && !crowd.gather(4, 1), "a small one does not overtake");
        assert!(!crowd.gather(3, 70), "it waits once");
        assert_eq!(crowd.call(), None);
        crowd.0.subtract(Kind::Gathered, 30);
        assert_eq!(crowd.call(), None, "60 and 70 are more than 100");
        crowd.0.subtract(Kind::Gathered, 60);
        assert_eq!((crowd.call(), crowd.call(), crowd.call()), (Some(id(3)), Some(id(4)), None));
        assert!(crowd.gather(5, 29) && !crowd.gather(6, 1), "what was promised is kept free");
        assert!(crowd.gather(3, 70));
        crowd.0.leave_line(&mut crowd.1[4]);
        assert_eq!((crowd.call(), crowd.call()), (Some(id(6)), None));
        crowd.0.check([0, 0, 99, 0, 0, 0, 0]);
    }

    #[test]
    fn who_leaves_the_line_is_in_nobodys_way() {
        let mut crowd = Crowd::default();
        assert!(crowd.gather(1, 100) && !crowd.gather(2, 100) && !crowd.gather(3, 50));
        crowd.0.leave_line(&mut crowd.1[2]);
        crowd.0.subtract(Kind::Gathered, 100);
        assert_eq!((crowd.call(), crowd.call()), (Some(id(3)), None));
        crowd.0.leave_line(&mut crowd.1[3]);
        assert!(!crowd.0.is_waited_for() && crowd.0.line.is_empty());
        crowd.0.check([0; Kind::ALL.len()]);
    }

    #[test]
    fn one_message_is_gathered_whatever_its_length() {
        let mut crowd = Crowd::default();
        assert!(crowd.gather(1, 1000) && !crowd.gather(2, 1000));
        crowd.0.subtract(Kind::Gathered, 1000);
        assert_eq!(crowd.call(), Some(id(2)));
    }

    #[test]
    fn nobody_may_have_more_than_is_left_to_the_others() {
        let (mut own, most) = (0, 1 << 20);
        while may_have(own, 1 << 10, own, most) {
            own += 1 << 10;
        }
        assert_eq!(own, most / 2);
        assert!(
            may_have(0, most / 2, own, most) && !may_have(1, most / 2, own, most),
            "others may have some"
        );
        assert!(may_have(0, 4096, most, most) && !may_have(1, 4096, most, most), "a little in any case");
    }
}
