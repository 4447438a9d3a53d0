//! The real server over loopback: what clients are promised, whatever other clients do.

mod agents;
mod capacity;
mod capture;
mod churn;
mod client;
mod cross_shard;
mod dead_letters;
mod hostile;
mod idle;
mod isolation;
mod nats_async;
mod nats_foreign;
mod nats_interoperation;
mod reload;
#[allow(dead_code, reason = "other tests use more of it")]
mod server;
mod slow_consumers;
mod stopping;
