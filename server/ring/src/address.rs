//! Where a stream socket listens: an IP address and port, or a path (unix(7)).
#![allow(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// Longest path of a Unix socket: `sun_path` has 108 bytes, the last a zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(formatter),
            Address::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// The kernel's form. A path that is too long is cut, and then connects to nothing.
    pub(crate) fn raw(&self) -> (libc::sockaddr_storage, libc::socklen_t) {
        // SAFETY: all-zero is a valid sockaddr_storage, and each concrete type fits in it.
        unsafe {
            let mut storage: libc::sockaddr_storage = std::mem::zeroed();
            let bytes = match self {
                Address::Inet(SocketAddr::V4(v4)) => {
                    let raw = std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>();
                    (*raw).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*raw).sin_port = v4.port().to_be();
                    (*raw).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                    size_of::<libc::sockaddr_in>()
                }
                Address::Inet(SocketAddr::V6(v6)) => {
                    let raw = std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>();
                    (*raw).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*raw).sin6_port = v6.port().to_be();
                    (*raw).sin6_flowinfo = v6.flowinfo();
                    (*raw).sin6_addr.s6_addr = v6.ip().octets();
                    (*raw).sin6_scope_id = v6.scope_id();
                    size_of::<libc::sockaddr_in6>()
                }
                Address::Unix(path) => {
                    let raw = std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_un>();
                    (*raw).sun_family = libc::AF_UNIX as libc::sa_family_t;
                    let bytes = path.as_os_str().as_bytes();
                    for (to, &from) in
                        (*raw).sun_path.iter_mut().zip(&bytes[..bytes.len().min(UNIX_PATH_BYTES_MAX)])
                    {
                        *to = from as libc::c_char;
                    }
                    size_of::<libc::sockaddr_un>()
                }
            };
            (storage, bytes as libc::socklen_t)
        }
    }
}
