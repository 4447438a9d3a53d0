//! What the admin address knows, and the answers that it gives without asking a shard.

use super::facts::ServerFacts;
use super::pulse::Pulse;
use super::settings::Settings;
use crate::io::metrics::{ShardCollector, SharedCounters};
use crate::io::shard_loop::Inquiry;
use prometheus_client::registry::Registry;
use ringbolt_shard::ShardId;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::Limits;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// Status, content type and body.
pub(super) type Answer = (u16, &'static str, String);

/// Asks the shards what only they know.
pub trait Inquire: std::fmt::Debug + Send + Sync {
    /// Begins to ask a shard; the answer comes on `answer`.
    fn ask(&self, shard: ShardId, inquiry: Inquiry);
}

/// What the admin address answers from.
#[derive(Debug)]
pub struct AdminState {
    registry: Registry,
    pub(super) counters: Vec<Arc<SharedCounters>>,
    pub(super) facts: ServerFacts,
    settings: Mutex<Settings>,
    pub(super) started: SystemTime,
    pub(super) inquirer: Option<Box<dyn Inquire>>,
    /// All shards serve.
    pub ready: AtomicBool,
    pub draining: AtomicBool,
    pub(super) stop: AtomicBool,
}

impl AdminState {
    pub fn new(
        counters: Vec<Arc<SharedCounters>>,
        facts: ServerFacts,
        access: &Access,
        limits: &Limits,
        inquirer: Option<Box<dyn Inquire>>,
    ) -> AdminState {
        let mut registry = Registry::with_prefix("ringbolt");
        registry.register_collector(Box::new(ShardCollector::new(counters.clone())));
        AdminState {
            registry,
            counters,
            facts,
            settings: Mutex::new(Settings::new(access, limits)),
            started: SystemTime::now(),
            inquirer,
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Settings were read again.
    pub fn change(&self, access: &Access, limits: &Limits) {
        self.settings().take_over(access, limits);
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pulse(&self) -> Pulse {
        Pulse::new(self.counters.len(), Instant::now())
    }

    /// Takes every shard's pulse. Before they serve they have none.
    pub(super) fn observe(&self, pulse: &mut Pulse) {
        if self.ready.load(Ordering::Relaxed) {
            pulse.observe(self.counters.iter().map(|counters| counters.published()), Instant::now());
        } else {
            *pulse = self.pulse();
        }
    }

    /// Whether a restart would help. While draining, a shard that is done falls silent before the
    /// others are, and `drain_time_max` bounds the whole.
    pub(super) fn health(&self, pulse: &Pulse) -> (u16, &'static str, String) {
        match pulse.silent(Instant::now()) {
            Some(shard) if !self.draining.load(Ordering::Relaxed) => {
                let error = format!("shard {shard} does not turn");
                (503, JSON, json!({"status": "unavailable", "error": error}).to_string())
            }
            _ => (200, JSON, json!({"status": "ok"}).to_string()),
        }
    }

    /// Status, content type and body of a path.
    pub(super) fn answer(&self, path: &str, pulse: &Pulse) -> (u16, &'static str, String) {
        match path {
            "/healthz" => self.health(pulse),
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
            "/varz" => (200, JSON, self.varz().to_string()),
            "/subsz" => (200, JSON, self.subsz().to_string()),
            "/routez" => (200, JSON, self.routez().to_string()),
            _ => (
                404,
                TEXT,
                "there are /healthz, /readyz, /metrics, /varz, /connz, /subsz, /routez and /dead-letters\n"
                    .to_owned(),
            ),
        }
    }
}
