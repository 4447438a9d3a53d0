//! The pure half: everything a shard decides, without a socket, thread or clock.
//!
//! `Shard::handle(now, event, effects)` is the only way in; `take_segments` and `take_batch` are how
//! the edge collects what the effects announced. The same code runs in production, in the simulator
//! and in benchmarks.

pub mod access;
pub mod accounts;
pub mod bus;
pub mod clients;
pub mod closing;
pub mod delivery;
pub mod event;
pub mod identity;
pub mod lanes;
pub mod ledger;
pub mod limits;
pub mod mesh;
pub mod message;
pub mod metrics;
pub mod moment;
pub mod outcome;
pub mod outlets;
pub mod random;
pub mod requests;
pub mod router;
pub mod shard;
pub mod table;
pub mod turn;
pub mod work;

mod door;
mod notices;
mod pieces;
mod reserved;
mod steps;
mod subscriptions;
mod wide;

pub use bus::ServerIdentity;
pub use closing::CloseReason;
pub use event::{Close, Departure, Dialect, Effects, Event, Opening, Receive, Room, Transport};
pub use identity::{AccountId, ConnectionId, HashSeed, Nanos, PublisherId, ShardId, TICK_NANOS};
pub use shard::{Shard, report};
