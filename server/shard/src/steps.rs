//! What work is counted in: steps of about 50 ns. A receiver or a node visited is one, an operation on a
//! table, a record for another shard.

/// Bytes that are copied in a step.
pub const BYTES_A_STEP: usize = 512;

/// Bytes that are read in a step, and what they say is done.
pub const BYTES_READ_A_STEP: usize = 32;

/// Steps that a run of messages may take though its client has fewer left. A turn that sends to a thousand
/// receivers takes long anyway, and what it sends to each of them had better be much.
pub const RUN_STEPS: i64 = 1 << 16;

/// Steps that it takes to make or to end a subscription, its announcement to other shards included.
pub const INTEREST_STEPS: usize = 16;

/// Steps that it takes to choose a member of a group.
pub const MEMBER_STEPS: usize = 16;

/// Steps that it takes to keep a message, to give it to a member, and to let go of it.
pub const KEEP_STEPS: usize = 32;

/// Steps that it takes to look after a request, and to forget it.
pub const WATCH_STEPS: usize = 32;
