//! What [`super::sleeper`] is made of; its test puts a model in the place of this.

pub use std::sync::atomic::{AtomicBool, Ordering, fence};
