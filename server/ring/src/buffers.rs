//! The ring of provided buffers that multishot receives fill.
#![allow(unsafe_code)]

use crate::memory::{Region, RegionBacking};
use io_uring::{IoUring, types::BufRingEntry};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group of a ring.
pub(crate) const BUFFER_GROUP: u16 = 0;

/// Shape of the receive buffers of one ring.
#[derive(Clone, Copy, Debug)]
pub struct BufferRingConfig {
    /// Bytes a buffer.
    pub buffer_bytes: u32,
    /// Buffers; a power of two, at most 32768.
    pub buffers: u16,
    /// Try reserved huge pages first.
    pub huge_pages: bool,
}

/// Received bytes, lent by the kernel until handed back to [`crate::Ring::recycle`].
///
/// It can be neither copied nor made elsewhere, so a buffer is never handed back twice.
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the ring"]
pub struct ReceivedBuffer {
    pub(crate) id: u16,
    pub(crate) filled_bytes: u32,
}

/// A received buffer that keeps its memory mapped, so that it can travel with a send.
#[derive(Debug)]
pub struct LentBuffer {
    buffer: ReceivedBuffer,
    region: Arc<Region>,
    offset: usize,
}

impl LentBuffer {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: inside the region, which this keeps; the kernel does not write a buffer before it is
        // recycled, which consumes the `ReceivedBuffer` in here.
        unsafe {
            let start = self.region.start().add(self.offset);
            std::slice::from_raw_parts(start, self.buffer.filled_bytes as usize)
        }
    }

    /// The buffer, to be recycled.
    pub fn into_received(self) -> ReceivedBuffer {
        self.buffer
    }
}

pub(crate) struct BufferRing {
    /// The kernel holds these pages until it has taken the ring down, some time after its descriptor was
    /// closed; reserved huge pages, which others may wait for, are not to be held.
    entries: Region,
    region: Arc<Region>,
    buffer_bytes: u32,
    mask: u16,
    tail: u16,
    lent: u16,
}

impl BufferRing {
    pub(crate) fn register(ring: &IoUring, config: BufferRingConfig) -> io::Result<BufferRing> {
        assert!(config.buffers.is_power_of_two() && config.buffers <= 32768, "buffers: a power of two");
        assert!(config.buffer_bytes > 0, "an empty buffer receives nothing");
        let entries = Region::new(usize::from(config.buffers) * size_of::<BufRingEntry>(), false)?;
        let bytes = usize::from(config.buffers) * config.buffer_bytes as usize;
        let region = Arc::new(Region::new(bytes, config.huge_pages)?);
        // SAFETY: the region outlives the registration (`Ring` quiesces before it drops this) and
        // has room for `buffers` entries, page-aligned as the kernel demands.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.start() as u64,
                config.buffers,
                BUFFER_GROUP,
                0,
            )?;
        }
        let mut this = BufferRing {
            entries,
            region,
            buffer_bytes: config.buffer_bytes,
            mask: config.buffers - 1,
            tail: 0,
            lent: config.buffers,
        };
        for id in 0..config.buffers {
            this.recycle(ReceivedBuffer { id, filled_bytes: 0 });
        }
        Ok(this)
    }

    /// The kernel says it filled `bytes` of buffer `id`.
    pub(crate) fn lend(&mut self, id: u16, bytes: u32) -> ReceivedBuffer {
        assert!(
            id <= self.mask && bytes <= self.buffer_bytes,
            "the kernel named a buffer it was never given"
        );
        self.lent += 1;
        ReceivedBuffer { id, filled_bytes: bytes }
    }

    pub(crate) fn bytes(&self, buffer: &ReceivedBuffer) -> &[u8] {
        // SAFETY: inside the region; the kernel does not write a buffer between its completion and
        // its recycling, which consumes the `ReceivedBuffer` this slice cannot outlive.
        unsafe { std::slice::from_raw_parts(self.address(buffer.id), buffer.filled_bytes as usize) }
    }

    pub(crate) fn keep(&self, buffer: ReceivedBuffer) -> LentBuffer {
        let offset = usize::from(buffer.id) * self.buffer_bytes as usize;
        LentBuffer { buffer, region: Arc::clone(&self.region), offset }
    }

    pub(crate) fn recycle(&mut self, buffer: ReceivedBuffer) {
        let entries = self.entries.start().cast::<BufRingEntry>();
        let address = self.address(buffer.id) as u64;
        // SAFETY: the index is masked into the entries the region has room for; the kernel reads an
        // entry only after the tail, stored below with release order, has moved past it.
        unsafe {
            let entry = &mut *entries.add(usize::from(self.tail & self.mask));
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(buffer.id);
        }
        self.tail = self.tail.wrapping_add(1);
        self.lent -= 1;
        // SAFETY: the tail lies in the first entry's reserved field, aligned for a u16, and only this
        // thread writes it.
        unsafe {
            let tail = BufRingEntry::tail(entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    pub(crate) fn count(&self) -> u16 {
        self.mask + 1
    }

    /// Buffers the kernel may fill now.
    pub(crate) fn free(&self) -> u16 {
        self.count() - self.lent
    }

    pub(crate) fn backing(&self) -> RegionBacking {
        self.region.backing()
    }

    pub(crate) fn locked(&self) -> bool {
        self.region.locked()
    }

    /// Keeps the memory mapped for good: the kernel may still write to it.
    pub(crate) fn leak(&mut self) {
        self.entries.leak();
        std::mem::forget(Arc::clone(&self.region));
    }

    fn address(&self, id: u16) -> *mut u8 {
        let offset = usize::from(id) * self.buffer_bytes as usize;
        debug_assert!(offset + self.buffer_bytes as usize <= self.region.bytes());
        // SAFETY: the region was sized for every id up to the mask.
        unsafe { self.region.start().add(offset) }
    }
}
