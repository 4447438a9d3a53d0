//! Written by `protocol/schema/generate`.

include!("generated/control.rs");
