//! Shard to shard: batches of records over one bounded link a direction, and the interest they keep
//! in step.
//!
//! A link is first in, first out. Interest in a pattern is therefore known at a shard before any
//! message that a subscriber's request provokes can come back from there.

pub mod batch;
pub mod inbound;
pub mod interest;
pub mod link;

pub use batch::MeshBatch;
pub use link::{Forwarded, Mesh};
