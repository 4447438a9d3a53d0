//! RLIMIT_NOFILE, which also bounds a ring's table of direct descriptors.
#![allow(unsafe_code)]

use std::io;

/// Raises the soft limit of open files to the hard one.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = current()?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: a valid structure, and only this process's own limit.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The soft limit of open files: the largest table of direct descriptors a ring may have.
pub fn descriptor_limit() -> u32 {
    current().map_or(1024, |limit| u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}

fn current() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit to a local.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}
