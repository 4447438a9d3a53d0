//! What one driver measures: latencies of the measured part, by interval and in total, and the gaps of
//! its own loop.

use super::members::MemberRecord;
use crate::histogram::{LatencySet, new_histogram};
use crate::sequence::Faults;
use hdrhistogram::Histogram;
use ringbolt_protocol::command::Priority;

/// A turn without work that took longer than this was interrupted by the machine.
pub const GAP_NANOS_MIN: u64 = 5_000;
/// A turn that found work, after one that found none, was if it took this long: the kernel hands over
/// a few receives at a time.
const GAP_BEFORE_WORK_NANOS_MIN: u64 = 200_000;

/// The measured part, in nanoseconds since the run's epoch.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start: u64,
    pub stop: u64,
    pub interval: u64,
}

impl Window {
    pub fn contains(&self, nanos: u64) -> bool {
        (self.start..self.stop).contains(&nanos)
    }

    fn intervals(&self) -> usize {
        (self.stop - self.start).div_ceil(self.interval) as usize
    }
}

/// One interval of one driver.
#[derive(Clone, Debug)]
pub struct Slice {
    pub response: Histogram<u64>,
    pub gaps: u64,
    pub gap_nanos_max: u64,
}

/// What became of the messages of one lane, over the whole run, and how long they took, in its measured part.
#[derive(Clone, Debug)]
pub struct LaneRecord {
    pub expected: u64,
    pub delivered: u64,
    pub response: Histogram<u64>,
    /// Until a member was done.
    pub done: Histogram<u64>,
}

/// Numbers of priorities: their lanes.
const LANES: usize = 5;

#[derive(Clone, Debug)]
pub struct Recorder {
    window: Window,
    /// By the priority's number.
    pub lanes: Vec<LaneRecord>,
    pub members: MemberRecord,
    pub total: LatencySet,
    pub slices: Vec<Slice>,
    pub faults: Faults,
    /// Over the whole run.
    pub sent: u64,
    pub expected: u64,
    pub delivered: u64,
    pub refused: u64,
    pub disconnects: u64,
    /// Within the measured part, by the time of sending and of receipt.
    pub sent_measured: u64,
    pub delivered_measured: u64,
    pub delivered_bytes_measured: u64,
    pub last_words: Option<String>,
    /// Of the measured part, how long the loop was watched, and how much of that it had nothing to do.
    watched_nanos: u64,
    idle_nanos: u64,
    was_idle: bool,
    /// Of the driver that had most to do, from 0 to 1.
    pub busy_share_max: f64,
    run: Run,
}

/// Messages of equal times, not recorded yet.
#[derive(Clone, Copy, Default, Debug)]
struct Run {
    intended: u64,
    lateness: u64,
    count: u64,
}

impl Recorder {
    pub fn new(window: Window) -> Recorder {
        let slice = Slice { response: new_histogram(), gaps: 0, gap_nanos_max: 0 };
        let lane = LaneRecord { expected: 0, delivered: 0, response: new_histogram(), done: new_histogram() };
        Recorder {
            window,
            lanes: vec![lane; LANES],
            members: MemberRecord::default(),
            total: LatencySet::default(),
            slices: vec![slice; window.intervals()],
            faults: Faults::default(),
            sent: 0,
            expected: 0,
            delivered: 0,
            refused: 0,
            disconnects: 0,
            sent_measured: 0,
            delivered_measured: 0,
            delivered_bytes_measured: 0,
            last_words: None,
            watched_nanos: 0,
            idle_nanos: 0,
            was_idle: false,
            busy_share_max: 0.0,
            run: Run::default(),
        }
    }

    /// Takes a delivery of a lane.
    pub fn lane(&mut self, priority: Priority, intended: u64, received: u64) {
        let lane = &mut self.lanes[priority as usize];
        lane.delivered += 1;
        if self.window.contains(intended) {
            // Too long a latency is counted with all the others.
            let _ = lane.response.record(received.saturating_sub(intended));
        }
    }

    /// A member is done with a message of a lane.
    pub fn done(&mut self, priority: Priority, intended: u64, now: u64) {
        if self.window.contains(intended) {
            let done = &mut self.lanes[priority as usize].done;
            // Too long a time is the longest the histogram holds.
            done.saturating_record(now.saturating_sub(intended));
        }
    }

    /// Takes the latency of one message. What stands in the same receive buffer often has the same
    /// times, and is recorded at once by [`Recorder::settle`].
    #[inline]
    pub fn latency(&mut self, intended: u64, lateness: u64, received: u64) {
        if self.run.intended == intended && self.run.lateness == lateness {
            self.run.count += 1;
            return;
        }
        self.settle(received);
        self.run = Run { intended, lateness, count: 1 };
    }

    /// Records what `latency` took. To be called before the time of receipt changes.
    #[inline]
    pub fn settle(&mut self, received: u64) {
        let Run { intended, lateness, count } = std::mem::take(&mut self.run);
        if count == 0 || !self.window.contains(intended) {
            return;
        }
        self.total.record(intended, lateness, received, count);
        // A message sent in time and received after the end belongs to the last interval.
        let place =
            received.min(self.window.stop - 1).saturating_sub(self.window.start) / self.window.interval;
        if let Some(slice) = self.slices.get_mut(place as usize) {
            // Too long a latency was counted as overflow above.
            let _ = slice.response.record_n(received.saturating_sub(intended), count);
        }
    }

    #[inline]
    pub fn received(&mut self, now: u64, messages: u64, bytes: u64) {
        self.delivered += messages;
        if self.window.contains(now) {
            self.delivered_measured += messages;
            self.delivered_bytes_measured += bytes;
        }
    }

    #[inline]
    pub fn sent(&mut self, now: u64, deliveries: u64) {
        self.sent += 1;
        self.expected += deliveries;
        self.sent_measured += u64::from(self.window.contains(now));
    }

    /// Takes how long the last turn took, and whether this one found work.
    #[inline]
    pub fn turn(&mut self, now: u64, nanos: u64, worked: bool) {
        let was_idle = std::mem::replace(&mut self.was_idle, !worked);
        if !self.window.contains(now) {
            return;
        }
        self.watched_nanos += nanos;
        if !was_idle {
            return;
        }
        let gap_nanos_min = if worked { GAP_BEFORE_WORK_NANOS_MIN } else { GAP_NANOS_MIN };
        if !worked {
            self.idle_nanos += nanos;
        }
        if nanos < gap_nanos_min {
            return;
        }
        let place = ((now - self.window.start) / self.window.interval) as usize;
        if let Some(slice) = self.slices.get_mut(place) {
            slice.gaps += 1;
            slice.gap_nanos_max = slice.gap_nanos_max.max(nanos);
        }
    }

    fn busy_share(&self) -> f64 {
        1.0 - self.idle_nanos as f64 / self.watched_nanos.max(1) as f64
    }

    pub fn window(&self) -> Window {
        self.window
    }

    pub fn merge(&mut self, other: &Recorder) {
        self.total.merge(&other.total);
        self.members.merge(&other.members);
        for (into, from) in self.lanes.iter_mut().zip(&other.lanes) {
            into.expected += from.expected;
            into.delivered += from.delivered;
            into.response.add(&from.response).expect("all histograms have the same bounds");
            into.done.add(&from.done).expect("all histograms have the same bounds");
        }
        for (into, from) in self.slices.iter_mut().zip(&other.slices) {
            into.response.add(&from.response).expect("all histograms have the same bounds");
            into.gaps += from.gaps;
            into.gap_nanos_max = into.gap_nanos_max.max(from.gap_nanos_max);
        }
        self.busy_share_max = self.busy_share_max.max(other.busy_share());
        self.faults.add(other.faults);
        self.sent += other.sent;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.refused += other.refused;
        self.disconnects += other.disconnects;
        self.sent_measured += other.sent_measured;
        self.delivered_measured += other.delivered_measured;
        self.delivered_bytes_measured += other.delivered_bytes_measured;
        self.last_words = self.last_words.take().or_else(|| other.last_words.clone());
    }
}
