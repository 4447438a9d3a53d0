//! Runs beside each other, from files or just measured.

mod comparison;
mod files;
mod gate;
mod statistics;

pub use comparison::{Comparison, Group, compare, page};
pub use files::{Plan, run};
pub use gate::Gate;
pub use statistics::median;
