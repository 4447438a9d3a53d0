//! Configuration in two stages: `sources` is syntax (file, environment, flags → text by key), `read` is
//! meaning (text → checked values). One table, `settings`, drives both, the help and the operations page.

mod cores;
mod error;
mod limits;
mod memory;
pub mod nats;
mod parse;
mod read;
pub mod settings;
pub mod sources;
mod values;

pub use cores::parse_cores;
pub use error::ConfigError;
pub use parse::allowed_cores;
pub use sources::{Origin, Sources};
pub use values::{Capture, Config, LogFormat, WaitMode};
