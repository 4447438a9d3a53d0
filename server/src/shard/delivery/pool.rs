//! Buffers of one shard, used again instead of freed.

/// Capacity of a fresh buffer: one small message should not cost a large buffer.
const FRESH_BYTES: usize = 2048;

/// A bounded stack of empty buffers; the last returned is the first lent, and still in the cache.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    buffers_max: usize,
    /// A larger buffer is freed rather than kept.
    capacity_max: usize,
    pub hits: u64,
    pub misses: u64,
}

impl BufferPool {
    pub fn new(buffers_max: usize, segment_bytes: usize) -> BufferPool {
        BufferPool { free: Vec::new(), buffers_max, capacity_max: 2 * segment_bytes, hits: 0, misses: 0 }
    }

    pub fn take(&mut self) -> Vec<u8> {
        if let Some(buffer) = self.free.pop() {
            self.hits += 1;
            return buffer;
        }
        self.misses += 1;
        Vec::with_capacity(FRESH_BYTES)
    }

    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let worth_keeping = (FRESH_BYTES..=self.capacity_max).contains(&buffer.capacity());
        if worth_keeping && self.free.len() < self.buffers_max {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }
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
