//! Buffers and queues of one shard, used again instead of freed.

use super::segment::Segment;
use std::collections::VecDeque;

/// Capacity of a fresh buffer: one small message should not cost a large buffer.
const FRESH_BYTES: usize = 2048;

const LENT_BYTES: usize = FRESH_BYTES + 4 * size_of::<Segment>();

/// A queue that once was longer is freed rather than kept.
const QUEUE_SEGMENTS_MAX: usize = 16;

/// A bounded stack of empty buffers, and one of empty queues; the last returned is the first lent, and still
/// in the cache.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    queues: Vec<VecDeque<Segment>>,
    buffers_max: usize,
    /// A larger buffer is freed rather than kept.
    capacity_max: usize,
    pub hits: u64,
    pub misses: u64,
    /// Of queues that are lent.
    lent_bytes: usize,
}

impl BufferPool {
    pub fn new(buffers_max: usize, segment_bytes: usize) -> BufferPool {
        let (free, queues) = (Vec::new(), Vec::new());
        let capacity_max = 2 * segment_bytes;
        BufferPool { free, queues, buffers_max, capacity_max, hits: 0, misses: 0, lent_bytes: 0 }
    }

    pub fn take(&mut self) -> Vec<u8> {
        if let Some(buffer) = self.free.pop() {
            self.hits += 1;
            debug_assert!(buffer.is_empty(), "what is lent is empty");
            return buffer;
        }
        self.misses += 1;
        Vec::with_capacity(FRESH_BYTES)
    }

    /// One with room for so many bytes from the beginning, unless one is free that has less.
    #[cold]
    pub fn take_whole(&mut self, bytes: usize) -> Vec<u8> {
        match self.free.is_empty() {
            true => {
                self.misses += 1;
                Vec::with_capacity(bytes)
            }
            false => self.take(),
        }
    }

    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let worth_keeping = (FRESH_BYTES..=self.capacity_max).contains(&buffer.capacity());
        if worth_keeping && self.free.len() < self.buffers_max {
            buffer.clear();
            self.free.push(buffer);
            debug_assert!(self.free.len() <= self.buffers_max, "idle memory is bounded");
        }
    }

    /// Takes the buffer of a segment that was sent or dropped back, if it has one of its own.
    pub fn give_segment(&mut self, segment: Segment) {
        if let Segment::Copied(buffer) = segment {
            self.give(buffer);
        }
    }

    /// A queue for a connection that has something to send.
    #[inline]
    pub fn take_queue(&mut self) -> VecDeque<Segment> {
        let queue = self.queues.pop().unwrap_or_default();
        debug_assert!(queue.is_empty(), "what is lent is empty");
        self.lent_bytes += LENT_BYTES;
        queue
    }

    /// An idle connection keeps no memory for its queue.
    #[inline]
    pub fn give_queue(&mut self, queue: VecDeque<Segment>) {
        debug_assert!(queue.is_empty(), "what is queued would be lost");
        self.is_back(&queue);
        let worth_keeping = (1..=QUEUE_SEGMENTS_MAX).contains(&queue.capacity());
        if worth_keeping && self.queues.len() < self.buffers_max {
            self.queues.push(queue);
        }
    }

    /// A queue is given back, or discarded with what is in it. One without room was not lent.
    #[inline]
    pub fn is_back(&mut self, queue: &VecDeque<Segment>) {
        if queue.capacity() > 0 {
            debug_assert!(self.lent_bytes >= LENT_BYTES, "what comes back was lent");
            self.lent_bytes -= LENT_BYTES;
        }
    }

    /// Memory of queues that are lent, and of the buffer that each has at least.
    #[inline]
    pub fn lent_bytes(&self) -> usize {
        self.lent_bytes
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }
}

/// What the queue of an outbox takes, with the buffer it has at least.
pub(super) fn lent_bytes_of(queue: &VecDeque<Segment>) -> usize {
    if queue.capacity() > 0 { LENT_BYTES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_in_count_and_size_and_lends_empty_buffers() {
        let mut pool = BufferPool::new(2, 4096);
        for _ in 0..5 {
            pool.give(vec![1; 4096]);
        }
        pool.give(Vec::with_capacity(1 << 20));
        assert_eq!(pool.free(), 2);
        assert!(pool.take().is_empty());
        assert_eq!((pool.hits, pool.misses), (1, 0));
    }
}
