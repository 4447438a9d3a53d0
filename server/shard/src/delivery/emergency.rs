//! When the memory of a shard runs short: first those are slowed down who send to whoever holds much of it,
//! then lanes are shed, the least important first, and taken again once there is clearly room.

use crate::lanes::{LANES, Lane};

/// At this share of the memory publishers are slowed down, in percent.
const TIGHT_PERCENT: usize = 50;
/// At this share of the memory the first lane is shed, in percent; at each step more, the next.
const FIRST_PERCENT: usize = 80;
const STEP_PERCENT: usize = 5;
/// A lane is taken again this far below where it was shed.
const BACK_PERCENT: usize = 20;

const _: () = assert!(FIRST_PERCENT + STEP_PERCENT * (LANES - 1) <= 100, "all are shed before it is full");
const _: () = assert!(STEP_PERCENT < BACK_PERCENT && BACK_PERCENT < TIGHT_PERCENT);
const _: () = assert!(TIGHT_PERCENT < FIRST_PERCENT, "who can wait does so before anything is lost");

/// See the module.
#[derive(Debug)]
pub struct Emergency {
    bytes_max: usize,
    /// None: there is room. One: it is tight. Each further one is a lane that is shed.
    rung: usize,
    /// Beyond these the rung changes.
    lower: usize,
    upper: usize,
    span: usize,
}

impl Emergency {
    pub fn new(bytes_max: usize) -> Emergency {
        let mut emergency = Emergency { bytes_max, rung: 0, lower: 0, upper: 0, span: 0 };
        emergency.bound();
        emergency
    }

    pub fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.bound();
    }

    /// Lanes that are shed, the least important first.
    pub fn level(&self) -> usize {
        self.rung.saturating_sub(1)
    }

    /// Whether those are to wait who send to whoever holds much.
    pub fn is_tight(&self) -> bool {
        self.rung > 0
    }

    /// Whether all lanes are shed.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.level() == LANES
    }

    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn sheds(&self, lane: Lane) -> bool {
        lane as usize + self.level() >= LANES
    }

    /// Whether so many bytes change anything.
    #[inline]
    pub fn turns_at(&self, bytes: usize) -> bool {
        // One comparison: below the lower bound the difference is enormous.
        bytes.wrapping_sub(self.lower) >= self.span
    }

    /// Takes the rung that so many bytes ask for.
    #[cold]
    pub fn turn(&mut self, bytes: usize) {
        while bytes >= self.upper {
            self.rung += 1;
            self.bound();
        }
        while bytes < self.lower {
            debug_assert!(self.rung > 0, "with nothing shed there is nothing to take again");
            self.rung -= 1;
            self.bound();
        }
        debug_assert!(!self.turns_at(bytes), "one turn is enough");
    }

    fn bound(&mut self) {
        assert!(self.level() <= LANES, "there are no more lanes to shed");
        let from = |rung: usize| {
            let percent = if rung == 1 { TIGHT_PERCENT } else { FIRST_PERCENT + STEP_PERCENT * (rung - 2) };
            (self.bytes_max / 100 * percent, self.bytes_max / 100 * (percent - BACK_PERCENT))
        };
        self.upper = if self.level() == LANES { usize::MAX } else { from(self.rung + 1).0 };
        self.lower = if self.rung == 0 { 0 } else { from(self.rung).1 };
        assert!(self.lower <= self.upper, "a lane comes back below where it went");
        self.span = self.upper - self.lower;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tight_before_anything_is_shed_and_for_as_long() {
        let mut emergency = Emergency::new(1000);
        for (bytes, tight) in [(499, false), (500, true), (300, true), (299, false), (800, true), (599, true)]
        {
            if emergency.turns_at(bytes) {
                emergency.turn(bytes);
            }
            assert_eq!(emergency.is_tight(), tight, "at {bytes}");
        }
        assert_eq!(emergency.level(), 0);
    }

    #[test]
    fn lanes_are_shed_by_importance_and_come_back_late() {
        let mut emergency = Emergency::new(1000);
        let shed =
            |emergency: &Emergency| Lane::ALL.into_iter().filter(|&lane| emergency.sheds(lane)).count();
        for (bytes, lanes) in [
            (799, 0),
            (800, 1),
            (849, 1),
            (700, 1),
            (850, 2),
            (700, 2),
            (649, 1),
            (599, 0),
            (790, 0),
            (1000, 5),
            (5000, 5),
            (781, 4),
            (0, 0),
        ] {
            if emergency.turns_at(bytes) {
                emergency.turn(bytes);
            }
            assert_eq!((emergency.level(), shed(&emergency)), (lanes, lanes), "at {bytes}");
        }
        emergency.turn(800);
        assert!(emergency.sheds(Lane::Background) && !emergency.sheds(Lane::Low));
        emergency.limit(10_000);
        assert!(emergency.turns_at(800), "there is more room now");
    }
}
