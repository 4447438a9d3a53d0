//! Listening sockets: one a shard on the same address, so that the kernel spreads connections.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Connections that may wait for an accept; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 16_384;

/// Binds `count` listeners; port 0 is chosen by the kernel once and shared by all.
pub fn bind_shared(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let listener = bind(address)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Whether an address could be listened on. Nobody can connect meanwhile: who waits for the server must
/// not take this for it.
pub fn try_bind(address: SocketAddr) -> io::Result<()> {
    bind_socket(address, false).map(drop)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind_socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it (tcp(7)): direct descriptors have no setsockopt of their own.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds one Unix socket; every shard accepts from a duplicate of it. A socket file that nobody
/// listens on any more is replaced.
pub fn bind_unix(path: &Path, count: usize) -> io::Result<Vec<OwnedFd>> {
    if is_abandoned(path) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    (0..count).map(|_| listener.try_clone().map(OwnedFd::from)).collect()
}

/// Whether a socket is there that nobody listens on.
pub fn is_abandoned(path: &Path) -> bool {
    // Connecting to any other kind of file is refused as well.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket
        && matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
