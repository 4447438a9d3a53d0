//! A circuit breaker for each member: one that fails all it is given is given nothing for a while, then
//! little.

use crate::Nanos;

/// Failures in a row that open it.
pub const FAILURES_TO_OPEN: u8 = 3;
/// Successes in a row that close it again.
pub const SUCCESSES_TO_CLOSE: u8 = 5;
/// Outcomes the error rate is taken of, and the failures among them that open it.
const WINDOW: u32 = 20;
const WINDOW_FAILURES_TO_OPEN: u32 = 10;
/// How long it stays open: the first time, and at most after doubling.
const OPEN_NANOS: u64 = 1_000_000_000;
const OPEN_NANOS_MAX: u64 = 30_000_000_000;

const _: () = assert!(WINDOW < u32::BITS, "the outcomes of a window are bits of a word");
const _: () =
    assert!(WINDOW_FAILURES_TO_OPEN <= WINDOW && FAILURES_TO_OPEN as u32 <= WINDOW_FAILURES_TO_OPEN);
const _: () = assert!(OPEN_NANOS <= OPEN_NANOS_MAX);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Messages go to the member.
    #[default]
    Closed,
    /// None do, until then.
    Open(Nanos),
    /// One at a time does, to see whether it works.
    HalfOpen,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open(_) => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Breaker {
    state: State,
    failures_in_row: u8,
    successes_in_row: u8,
    /// The last outcomes, a bit each, the newest lowest: set is a failure.
    outcomes: u32,
    outcomes_seen: u32,
    /// Times it opened since it was closed last.
    openings: u32,
}

impl Breaker {
    pub fn state(&self) -> State {
        self.state
    }

    /// Deliveries the member may have in flight, of those it may otherwise.
    pub fn admits(&self, in_flight_max: u32) -> u32 {
        match self.state {
            State::Closed => in_flight_max,
            State::HalfOpen => 1,
            State::Open(_) => 0,
        }
    }

    /// A delivery was acknowledged. Returns whether the state changed.
    pub fn succeeded(&mut self) -> bool {
        self.note(false);
        self.failures_in_row = 0;
        self.successes_in_row = self.successes_in_row.saturating_add(1);
        let closes = self.state == State::HalfOpen && self.successes_in_row >= SUCCESSES_TO_CLOSE;
        if closes {
            *self = Breaker::default();
        }
        closes
    }

    /// A delivery failed. Returns whether the state changed.
    pub fn failed(&mut self, now: Nanos) -> bool {
        self.note(true);
        self.successes_in_row = 0;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let opens = match self.state {
            State::Closed => {
                let failures = (self.outcomes & ((1 << WINDOW) - 1)).count_ones();
                let often = self.outcomes_seen >= WINDOW && failures >= WINDOW_FAILURES_TO_OPEN;
                self.failures_in_row >= FAILURES_TO_OPEN || often
            }
            State::HalfOpen => true,
            // What was under way when it opened.
            State::Open(_) => false,
        };
        debug_assert!(self.state != State::Closed || self.openings == 0, "openings end with being closed");
        if opens {
            let nanos = OPEN_NANOS.saturating_mul(1 << self.openings.min(16)).min(OPEN_NANOS_MAX);
            self.openings += 1;
            self.state = State::Open(Nanos(now.0 + nanos));
        }
        opens
    }

    /// Time passed. Returns whether the state changed.
    pub fn pass_time(&mut self, now: Nanos) -> bool {
        let over = matches!(self.state, State::Open(until) if until <= now);
        if over {
            debug_assert!(self.openings > 0, "what is open was opened");
            self.state = State::HalfOpen;
            self.successes_in_row = 0;
        }
        over
    }

    fn note(&mut self, failure: bool) {
        let ended = self.failures_in_row == 0 || self.successes_in_row == 0;
        debug_assert!(ended, "what comes in a row is of one kind");
        self.outcomes = self.outcomes << 1 | u32::from(failure);
        self.outcomes_seen = self.outcomes_seen.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_five_successes_close_it() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)) && !breaker.succeeded());
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)), "the row was broken");
        assert!(breaker.failed(at(0)));
        assert_eq!((breaker.state(), breaker.admits(64)), (State::Open(at(1000)), 0));
        assert!(!breaker.failed(at(1)) && !breaker.pass_time(at(999)));
        assert!(breaker.pass_time(at(1000)));
        assert_eq!(breaker.admits(64), 1, "a probe");
        assert!((0..4).all(|_| !breaker.succeeded()));
        assert!(breaker.succeeded());
        assert_eq!((breaker.state(), breaker.admits(64)), (State::Closed, 64));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer() {
        let mut breaker = Breaker::default();
        assert_eq!([0; 3].map(|millis| breaker.failed(at(millis))), [false, false, true]);
        let mut now = 0;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.state(), State::Open(at(now + 1000 * seconds)));
            now += 1000 * seconds;
            assert!(breaker.pass_time(at(now)) && breaker.failed(at(now)));
        }
    }

    #[test]
    fn half_of_many_failing_opens_it() {
        let mut breaker = Breaker::default();
        let opened = (0..40).position(|turn| {
            if turn % 2 == 0 {
                breaker.succeeded();
                return false;
            }
            breaker.failed(at(0))
        });
        assert_eq!(opened, Some(19), "as soon as there are enough to judge");
    }
}
