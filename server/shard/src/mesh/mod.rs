//! Shard to shard: batches of records over one bounded link a direction, and the interest they keep
//! in step.
//!
//! A link is first in, first out in each lane, and interest is in the normal one: what a client publishes
//! there after it subscribed arrives after its interest. Another lane may overtake it: a client that waits
//! for the answer to its PING, or for SUBSCRIBED, is answered when the interest is in force.

pub mod batch;
pub mod inbound;
pub mod interest;
pub mod link;

pub use batch::MeshBatch;
pub use link::{Forwarded, Mesh};
