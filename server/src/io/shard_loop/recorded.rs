//! The one call by which a shard is told what happened, recorded if that is wanted.

use crate::capture::Recorder;
use ringbolt_shard::{Effects, Event, Nanos, Shard};

/// The shard handles an event, and it is recorded if that is wanted.
#[inline]
pub(super) fn decide(
    shard: &mut Shard,
    capture: &mut Option<Box<Recorder>>,
    now: Nanos,
    event: Event<'_>,
    effects: &mut Effects,
) {
    match capture {
        None => shard.handle(now, event, effects),
        Some(recorder) => recorder.handle(shard, now, event, effects),
    }
}
