//! SO_REUSEADDR for sockets of libraries that do not set it and lend nothing but a raw descriptor.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// While `socket` lingers after its end, its address can be bound anew by whoever sets the option too
/// (socket(7)). For what a listener without the option has accepted.
pub fn reuse_address(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let bytes = size_of_val(&on) as libc::socklen_t;
    let descriptor: RawFd = socket.as_raw_fd();
    // SAFETY: the call reads one integer of this frame and writes to no memory of ours; a descriptor that is
    // not open is an error.
    let set = unsafe {
        libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), bytes)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
