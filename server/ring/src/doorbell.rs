//! An eventfd by which any thread wakes one that waits on its ring.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Clone it to every thread that may have to wake the owner of the ring.
#[derive(Clone, Debug)]
pub struct Doorbell {
    event: Arc<File>,
}

impl Doorbell {
    pub fn new() -> io::Result<Doorbell> {
        // SAFETY: a plain system call; the descriptor is owned from here on.
        let event = unsafe {
            let raw = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(raw)
        };
        Ok(Doorbell { event: Arc::new(File::from(event)) })
    }

    /// Wakes the owner; ringing twice before it wakes is one wake-up.
    pub fn ring(&self) {
        // The only failure of a non-blocking eventfd write is a full counter, and a counter that is
        // full is already ringing.
        let _ = (&*self.event).write(&1u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        let mut count = [0u8; 8];
        // Already silent reads as EAGAIN: nothing to do either way.
        let _ = (&*self.event).read(&mut count);
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
