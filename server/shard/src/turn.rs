//! What every room of a shard may use while an event is handled, and what handling it costs.

use crate::event::Effects;
use crate::identity::Nanos;
use crate::metrics::Counters;
use crate::outcome::Outcomes;
use crate::random::Random;

/// The event's time, what it asks of the edge, and what it leaves to be done.
///
/// Each operation pays for its bytes, and so for all that takes no longer than reading them. What takes
/// longer is charged before it is done, or by what was counted on the way. What a capture hides, the lengths
/// of passwords, costs nothing: a replay takes the same turns.
#[derive(Debug)]
pub struct Turn<'a> {
    pub now: Nanos,
    pub effects: &'a mut Effects,
    pub counters: &'a mut Counters,
    pub random: &'a mut Random,
    pub outcomes: &'a mut Outcomes,
    /// Steps that are left to whose event it is, or how many more were taken, and those it has in all.
    left: i64,
    allowed: i64,
    /// Whose event it is goes on once there is room for what it says.
    lacks_room: bool,
}

/// What an event may take that cannot wait.
pub const UNBOUNDED: i64 = i64::MAX;

impl<'a> Turn<'a> {
    pub fn new(
        now: Nanos,
        effects: &'a mut Effects,
        counters: &'a mut Counters,
        random: &'a mut Random,
        outcomes: &'a mut Outcomes,
    ) -> Turn<'a> {
        Turn {
            now,
            effects,
            counters,
            random,
            outcomes,
            left: UNBOUNDED,
            allowed: UNBOUNDED,
            lacks_room: false,
        }
    }

    #[inline]
    pub fn charge(&mut self, steps: usize) {
        self.left -= steps as i64;
    }

    /// Whose work begins may take so many steps.
    #[inline]
    pub fn allow(&mut self, steps: i64) {
        (self.left, self.allowed, self.lacks_room) = (steps, steps, false);
    }

    /// Whose work it is may go on once there is room for it.
    pub fn end_for_want_of_room(&mut self) {
        self.give_back();
        self.lacks_room = true;
    }

    /// Whose work it is says no more for now.
    pub fn end(&mut self) {
        if !self.is_unbounded() {
            self.give_back();
        }
    }

    /// What is left is others'.
    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        let left = self.left.max(0);
        (self.left, self.allowed) = (self.left - left, self.allowed - left);
    }

    /// Whether want of room was why the work ended.
    pub fn lacks_room(&self) -> bool {
        self.lacks_room
    }

    /// Whether what is begun must be done now.
    pub fn is_unbounded(&self) -> bool {
        self.left > UNBOUNDED / 2
    }

    /// Steps taken of those allowed.
    #[inline]
    pub fn taken(&self) -> i64 {
        self.allowed - self.left
    }

    /// Steps that are left; none: it is overdrawn.
    pub fn left(&self) -> i64 {
        self.left
    }

    /// Steps taken beyond those allowed.
    pub fn overdrawn(&self) -> i64 {
        (-self.left).max(0)
    }

    /// Whether an operation may be begun.
    #[inline]
    pub fn may_go_on(&self) -> bool {
        self.left > 0
    }
}
