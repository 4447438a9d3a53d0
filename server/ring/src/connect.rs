//! Connects in flight: the ring owns the address until the kernel is done with it.

/// The address of a connect in flight; the kernel reads it.
pub(crate) struct ConnectOperation {
    pub address: libc::sockaddr_storage,
}
