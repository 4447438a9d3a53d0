//! The end of a run: what was sent is on its way, and the driver waits for it.

/// Everything came: another driver's last messages may not be counted yet, so this long is waited.
const SETTLED_NANOS: u64 = 10_000_000;
/// What is outstanding is lost when nothing came for this long.
const LOST_NANOS: u64 = 5_000_000_000;
/// When nothing came for this long, spinning would only keep the core from a server that shares it: the
/// kernel may leave a thread waiting behind one that spins for seconds.
const IDLE_NANOS: u64 = 10_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Deliveries are coming in: spin, as in the run.
    Spinning,
    /// Nothing comes: sleep until something does.
    Sleeping,
    /// All is there, or given up.
    Over,
}

#[derive(Default, Debug)]
pub struct Drain {
    delivered: u64,
    /// When the last delivery was seen; none before the first look.
    changed_at: Option<u64>,
}

impl Drain {
    /// What to do about all drivers' `delivered` of `expected` messages at `now`, in nanoseconds.
    pub fn look(&mut self, delivered: u64, expected: u64, now: u64) -> Waiting {
        let since = match self.changed_at {
            Some(since) if self.delivered == delivered => since,
            _ => now,
        };
        self.delivered = delivered;
        self.changed_at = Some(since);
        let quiet = now - since;
        if quiet > LOST_NANOS || (delivered >= expected && quiet > SETTLED_NANOS) {
            Waiting::Over
        } else if quiet > IDLE_NANOS {
            Waiting::Sleeping
        } else {
            Waiting::Spinning
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn a_driver_that_waits_for_the_last_deliveries_leaves_the_core_to_the_server() {
        let mut drain = Drain::default();
        assert_eq!(drain.look(90, 100, 0), Waiting::Spinning);
        assert_eq!(drain.look(90, 100, 10 * MILLI), Waiting::Spinning);
        assert_eq!(drain.look(90, 100, 11 * MILLI), Waiting::Sleeping);
        assert_eq!(drain.look(91, 100, 500 * MILLI), Waiting::Spinning, "one came");
        assert_eq!(drain.look(91, 100, 5_500 * MILLI), Waiting::Sleeping);
        assert_eq!(drain.look(91, 100, 5_501 * MILLI), Waiting::Over, "nine are lost");
    }

    #[test]
    fn a_run_ends_soon_after_its_last_delivery() {
        let mut drain = Drain::default();
        assert_eq!(drain.look(100, 100, 0), Waiting::Spinning);
        assert_eq!(drain.look(100, 100, 10 * MILLI), Waiting::Spinning);
        assert_eq!(drain.look(100, 100, 10 * MILLI + 1), Waiting::Over);
        let mut other = Drain::default();
        assert_eq!(other.look(100, 100, 0), Waiting::Spinning);
        assert_eq!(other.look(100, 101, 11 * MILLI), Waiting::Sleeping, "another driver sent one more");
    }
}
