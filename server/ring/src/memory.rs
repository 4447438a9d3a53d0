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

    /// Nodes that hold pages of the mapping at `start`, from the N0=… fields of numa_maps(5). `None`: this
    /// kernel keeps no such file, or folds the mapping into a neighbour.
    fn nodes_of(start: usize) -> Option<Vec<u32>> {
        let maps = std::fs::read_to_string("/proc/self/numa_maps").ok()?;
        let line = maps.lines().find(|line| {
            let address = line.split(' ').next().and_then(|text| usize::from_str_radix(text, 16).ok());
            address == Some(start)
        })?;
        let field = |word: &str| word.strip_prefix('N')?.split_once('=')?.0.parse().ok();
        Some(line.split(' ').filter_map(field).collect())
    }

    /// The node of a core, from its folder in sysfs.
    fn node_of(core: usize) -> Option<u32> {
        let folder = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
        let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix("node")?.parse().ok()).next()
    }

    #[test]
    fn a_region_lies_on_the_node_of_the_core_that_made_it() {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        for core in [cores.first(), cores.last()].into_iter().flatten().copied() {
            let made = std::thread::spawn(move || {
                assert!(core_affinity::set_for_current(core));
                Region::new(8 << 20, false).expect("anonymous memory")
            });
            let region = made.join().expect("it is made");
            // A host without the files has nothing to read, and nothing to get wrong.
            if let (Some(node), Some(nodes)) = (node_of(core.id), nodes_of(region.start() as usize)) {
                assert_eq!(nodes, [node], "core {}", core.id);
            }
        }
    }

    #[test]
    fn huge_pages_fall_back_to_ordinary_ones() {
        let region = Region::new(3 << 20, true).expect("fallback");
        assert!(region.bytes() >= 3 << 20);
    }
}
