//! The name of a socket in a ring.

/// A socket, as its index in the ring's table of direct descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Slot(pub u32);
