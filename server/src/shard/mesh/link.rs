//! The sending end of one link: a queue of batches, bounded in bytes.

use super::batch::{MeshBatch, Record};
use crate::shard::identity::ConnectionId;
use std::collections::VecDeque;

/// What is pending for one other shard.
#[derive(Debug, Default)]
pub struct Link {
    /// Full batches, and behind them the one being filled.
    pending: VecDeque<MeshBatch>,
    pending_bytes: usize,
    /// The edge was told to take a batch and has not come yet.
    announced: bool,
    /// Publishers of this shard held back until the link is half empty.
    pub paused: Vec<ConnectionId>,
}

impl Link {
    /// Appends a record. Returns whether the edge must be told.
    #[inline]
    #[must_use = "the edge takes only what it is told of"]
    pub fn push(&mut self, record: &Record<'_>, batch_bytes: usize) -> bool {
        let fits = self.pending.back().is_some_and(|last| last.size_bytes() < batch_bytes);
        if !fits {
            self.pending.push_back(MeshBatch::default());
        }
        let batch = self.pending.back_mut().expect("pushed above");
        let before = batch.size_bytes();
        batch.push(record);
        self.pending_bytes += batch.size_bytes() - before;
        !std::mem::replace(&mut self.announced, true)
    }

    /// The next batch, in order. The edge answers `Event::MeshRoom` once it is on its way.
    pub fn take(&mut self) -> Option<MeshBatch> {
        let batch = self.pending.pop_front()?;
        self.pending_bytes -= batch.size_bytes();
        Some(batch)
    }

    /// There is room again. Returns whether more waits, and the edge must be told.
    #[must_use = "the edge takes only what it is told of"]
    pub fn room(&mut self) -> bool {
        self.announced = !self.pending.is_empty();
        self.announced
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub fn pending_batches(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_leave_in_order_and_the_edge_is_told_once() {
        let mut link = Link::default();
        let record = |sequence| Record::InterestInForce { sequence };
        assert!(link.push(&record(1), 16));
        assert!((2..=5).all(|sequence| !link.push(&record(sequence), 16)));
        let mut seen = Vec::new();
        while let Some(batch) = link.take() {
            seen.extend(batch.records().map(|record| match record {
                Record::InterestInForce { sequence } => sequence,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(link.pending_bytes(), 0);
        assert!(!link.room());
        assert!(link.push(&record(6), 16), "told again after the room was reported");
    }
}
