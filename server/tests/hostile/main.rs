//! What one client does to harm the others, by name, against the real server: while it goes on another
//! client's requests are answered, and when it is over nothing is left of it.
//!
//! Each attack prints how long requests took, and the memory the server took; with
//! `cargo test --release --package ringbolt-server --test hostile -- --nocapture --test-threads 1` these are
//! the figures of docs/DELIVERY.md. Only an answer within a second is asserted: the machine may be busy.

#[path = "../end_to_end/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod fan_out;
mod interest;
mod memory;
mod nats;
#[path = "../end_to_end/server.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod server;
mod victim;
mod work;
