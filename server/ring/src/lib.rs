//! The io_uring data plane: one ring a thread, sockets as direct descriptors, multishot receives
//! into a ring of provided buffers.
//!
//! Everything unsafe about io_uring is settled here, by ownership: bytes to send move into the ring
//! and come back when the kernel is done with them; received bytes are lent until they are recycled.
//! The callers (the server's edge and the load generator) stay free of unsafe code.

mod address;
mod allocator;
mod buffers;
mod completion;
mod connect;
mod descriptors;
mod doorbell;
mod memory;
mod operations;
mod reuse;
mod ring;
mod send;
mod slot;
mod token;

pub use address::{Address, UNIX_PATH_BYTES_MAX};
pub use allocator::give_memory_back;
pub use buffers::{BufferRingConfig, LentBuffer, ReceivedBuffer};
pub use completion::{AcceptOutcome, Completion, ReceiveOutcome};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use doorbell::Doorbell;
pub use memory::{Region, RegionBacking};
pub use reuse::reuse_address;
pub use ring::{Ring, RingConfig, Wait};
pub use send::Chunk;
pub use slot::Slot;
