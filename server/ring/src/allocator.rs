//! Memory that the allocator holds although nobody uses it.
#![allow(unsafe_code)]

/// Gives what the calling thread has freed back to the system; takes a time that grows with how much it is.
pub fn give_memory_back() {
    // SAFETY: it may be called at any time, by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
