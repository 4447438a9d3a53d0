//! Whether every shard lives: each copies its counters out at every tick, asleep or not.

use std::time::{Duration, Instant};

/// A shard that was not heard of for so long hangs: it ticks ten times a second.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// When each shard's count of publications last changed.
#[derive(Debug)]
pub(super) struct Pulse {
    shards: Vec<(u64, Instant)>,
}

impl Pulse {
    pub(super) fn new(shards: usize, now: Instant) -> Pulse {
        Pulse { shards: vec![(0, now); shards] }
    }

    /// Looks at the counts, in order of shards.
    pub(super) fn observe(&mut self, published: impl Iterator<Item = u64>, now: Instant) {
        for (heard, count) in self.shards.iter_mut().zip(published) {
            if heard.0 != count {
                *heard = (count, now);
            }
        }
    }

    /// The first shard that hangs, if any does.
    pub(super) fn silent(&self, now: Instant) -> Option<usize> {
        self.shards.iter().position(|(_, heard)| now.saturating_duration_since(*heard) > SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_stops_publishing_is_named() {
        let start = Instant::now();
        let later = start + SILENCE_MAX;
        let latest = later + Duration::from_millis(1);
        let mut pulse = Pulse::new(2, start);
        assert_eq!(pulse.silent(later), None);
        pulse.observe([5, 0].into_iter(), later);
        assert_eq!(pulse.silent(latest), Some(1));
        pulse.observe([5, 1].into_iter(), latest);
        assert_eq!(pulse.silent(latest), None);
    }
}
