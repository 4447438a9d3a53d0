//! Reports of what goes on and on: a line now and then, with how often it happened meanwhile.

use std::time::Duration;

/// One for each thing that may go on and on.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    reported: Option<Duration>,
    unreported: u64,
}

impl Seldom {
    pub const fn new(every: Duration) -> Seldom {
        Seldom { every, reported: None, unreported: 0 }
    }

    /// It happened again, at a time by the caller's clock. If it is to be reported now: how often it happened
    /// since it was, this time included.
    pub fn happened(&mut self, now: Duration) -> Option<u64> {
        self.unreported += 1;
        if self.reported.is_some_and(|last| now.saturating_sub(last) < self.every) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_reported_now_and_then_and_nothing_is_left_out() {
        let (mut seldom, start) = (Seldom::new(Duration::from_secs(10)), Duration::from_secs(7));
        let reports =
            [0, 1, 9, 10, 11, 30].map(|second| seldom.happened(start + Duration::from_secs(second)));
        assert_eq!(reports, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
