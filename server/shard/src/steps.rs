//! What work is counted in: steps of about 50 ns. A receiver or a node visited is one, an operation on a
//! table, a record for another shard.

/// Bytes that are copied in a step.
pub const BYTES_A_STEP: usize = 512;

/// Steps that it takes to read an operation of so many bytes, and to do what it says to a few receivers.
#[inline]
pub fn steps_of(bytes: usize) -> usize {
    4 + bytes / BYTES_A_STEP
}

/// Bytes of lines, subjects and headers that are read in a step: they are looked at more than once.
const TEXT_BYTES_A_STEP: usize = 32;

/// Steps that it takes to read so many bytes of them, beside what each operation takes.
#[inline]
pub fn steps_of_text(bytes: usize) -> usize {
    bytes / TEXT_BYTES_A_STEP
}

/// Steps that it takes to let a client in.
pub const CONNECT_STEPS: usize = 128;

/// Steps that a run of messages may take though its client has fewer left. A turn that sends to a thousand
/// receivers takes long anyway, and what it sends to each of them had better be much.
pub const RUN_STEPS: i64 = 1 << 16;

/// Steps that it takes to make or to end a subscription, its announcement to other shards included.
pub const INTEREST_STEPS: usize = 64;

/// Steps that it takes to make or to forget a node of the trie.
pub const NODE_STEPS: usize = 3;

/// Steps that it takes to give a member its places in the ring of a group with a key, or to take them.
pub const RING_STEPS: usize = 256;

/// Steps that it takes to choose a member of a group.
pub const MEMBER_STEPS: usize = 16;

/// Members that are looked at in a step.
pub const MEMBERS_A_STEP: usize = 4;

/// Steps that it takes to keep a message, to give it to a member, and to let go of it.
pub const KEEP_STEPS: usize = 32;

/// Steps that it takes to look after a request, and to forget it.
pub const WATCH_STEPS: usize = 64;

/// Steps that it takes to put a message with a deadline among others that wait.
pub const TIMED_STEPS: usize = 16;
