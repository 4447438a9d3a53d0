//! The control plane: health and metrics over HTTP, on a glommio executor of its own thread.
//!
//! It reads what the shards copied out and never touches them.

mod http;
mod server;

pub use server::{AdminHandle, spawn};

use super::metrics::{ShardCollector, SharedCounters};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the admin address answers from.
#[derive(Debug)]
pub struct AdminState {
    registry: Registry,
    /// All shards serve.
    pub ready: AtomicBool,
    pub draining: AtomicBool,
    stop: AtomicBool,
}

impl AdminState {
    pub fn new(counters: Vec<Arc<SharedCounters>>) -> AdminState {
        let mut registry = Registry::with_prefix("ringbolt");
        registry.register_collector(Box::new(ShardCollector::new(counters)));
        AdminState {
            registry,
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Status, content type and body of a path.
    fn answer(&self, path: &str) -> (u16, &'static str, String) {
        const TEXT: &str = "text/plain; charset=utf-8";
        match path {
            "/healthz" => (200, TEXT, "ok\n".to_owned()),
            "/readyz" if self.draining.load(Ordering::Relaxed) => (503, TEXT, "draining\n".to_owned()),
            "/readyz" if self.ready.load(Ordering::Relaxed) => (200, TEXT, "ready\n".to_owned()),
            "/readyz" => (503, TEXT, "starting\n".to_owned()),
            "/metrics" => {
                let mut body = String::new();
                // Writing to a String fails only if a metric is misdeclared, which a test would see.
                match prometheus_client::encoding::text::encode(&mut body, &self.registry) {
                    Ok(()) => (200, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
                    Err(error) => (500, TEXT, format!("{error}\n")),
                }
            }
            _ => (404, TEXT, "there are /healthz, /readyz and /metrics\n".to_owned()),
        }
    }
}
