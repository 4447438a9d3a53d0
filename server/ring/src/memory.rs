//! Anonymous memory for I/O buffers: page-aligned, prefaulted by the calling thread so that it lies
//! on that thread's NUMA node (first touch), in huge pages when the host has them.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

const HUGE_PAGE_BYTES: usize = 2 << 20;
const PAGE_BYTES: usize = 4096;

/// What kind of pages a region got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionBacking {
    /// Pages reserved in `vm.nr_hugepages`.
    HugePages,
    /// Ordinary pages; the kernel was asked to merge them (`MADV_HUGEPAGE`).
    Pages,
}

/// A mapping that lives as long as this value.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    bytes: usize,
    backing: RegionBacking,
    locked: bool,
}

// SAFETY: the mapping is private to this value and tied to no thread.
unsafe impl Send for Region {}
// SAFETY: a shared reference gives the address alone; who may touch which bytes is settled by ownership of
// the buffers inside.
unsafe impl Sync for Region {}

impl Region {
    /// Maps and prefaults at least `bytes`; falls back to ordinary pages without failing.
    ///
    /// Call it on the pinned thread that will use the memory: the first touch decides the NUMA node.
    pub fn new(bytes: usize, huge_pages: bool) -> io::Result<Region> {
        assert!(bytes > 0, "an empty region has no use");
        let large_enough = bytes * 2 >= HUGE_PAGE_BYTES;
        let huge = (huge_pages && large_enough)
            .then(|| map(bytes.next_multiple_of(HUGE_PAGE_BYTES), libc::MAP_HUGETLB | libc::MAP_POPULATE))
            .and_then(Result::ok);
        let (start, mapped, backing) = match huge {
            Some((start, mapped)) => (start, mapped, RegionBacking::HugePages),
            None => {
                let (start, mapped) = map(bytes.next_multiple_of(PAGE_BYTES), 0)?;
                if large_enough {
                    // SAFETY: advice on our own fresh mapping; a refusal changes nothing.
                    unsafe { libc::madvise(start.as_ptr().cast(), mapped, libc::MADV_HUGEPAGE) };
                }
                (start, mapped, RegionBacking::Pages)
            }
        };
        for page in (0..mapped).step_by(PAGE_BYTES) {
            // SAFETY: inside the mapping, which nobody else knows yet.
            unsafe { start.as_ptr().add(page).write_volatile(0) };
        }
        // SAFETY: locks our own mapping; RLIMIT_MEMLOCK may refuse, which `locked` reports.
        let locked = unsafe { libc::mlock(start.as_ptr().cast(), mapped) } == 0;
        Ok(Region { start, bytes: mapped, backing, locked })
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn backing(&self) -> RegionBacking {
        self.backing
    }

    /// Whether the kernel agreed to keep the region out of swap.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Gives the mapping up for the rest of the process's life.
    pub(crate) fn leak(&mut self) {
        self.bytes = 0;
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: the very mapping that `new` made.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

fn map(bytes: usize, extra_flags: i32) -> io::Result<(NonNull<u8>, usize)> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | extra_flags;
    // SAFETY: an anonymous mapping at an address the kernel chooses.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast::<u8>()).map(|start| (start, bytes)).ok_or_else(io::Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_page_aligned_and_at_least_as_large_as_asked() {
        for bytes in [1, 4096, 4097, 3 << 20] {
            let region = Region::new(bytes, false).expect("anonymous memory");
            assert!(region.bytes() >= bytes);
            assert_eq!(region.start() as usize % PAGE_BYTES, 0);
            assert_eq!(region.backing(), RegionBacking::Pages);
        }
    }

    #[test]
    fn huge_pages_fall_back_to_ordinary_ones() {
        let region = Region::new(3 << 20, true).expect("fallback");
        assert!(region.bytes() >= 3 << 20);
    }
}
