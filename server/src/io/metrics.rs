//! Counters as the admin thread sees them: each shard copies its own out now and then, and nothing a
//! reader does touches the shard.

use super::log;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use ringbolt_shard::metrics::{Counter, Counters, Kind, TURN_BUCKETS, TurnHistogram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One shard's numbers, written by its thread only. Aligned so that no two shards share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct SharedCounters {
    values: [AtomicU64; Counter::COUNT],
    turns: [AtomicU64; TURN_BUCKETS],
    turn_sum_nanos: AtomicU64,
    /// How often the shard published: a shard that lives does so every tick.
    published: AtomicU64,
}

impl Default for SharedCounters {
    fn default() -> SharedCounters {
        SharedCounters {
            values: std::array::from_fn(|_| AtomicU64::new(0)),
            turns: std::array::from_fn(|_| AtomicU64::new(0)),
            turn_sum_nanos: AtomicU64::new(0),
            published: AtomicU64::new(0),
        }
    }
}

impl SharedCounters {
    /// Copies a shard's counters out. Each number is whole; a reader may see some older than others.
    pub fn publish(&self, counters: &Counters) {
        for &counter in Counter::ALL {
            self.values[counter as usize].store(counters.get(counter), Ordering::Relaxed);
        }
        for (shared, &count) in self.turns.iter().zip(&counters.turns.counts) {
            shared.store(count, Ordering::Relaxed);
        }
        self.turn_sum_nanos.store(counters.turns.sum_nanos, Ordering::Relaxed);
        // One writer: no read-modify-write is needed.
        self.published.store(self.published() + 1, Ordering::Relaxed);
    }

    /// How often `publish` was called: the shard's heartbeat.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub fn load(&self) -> Counters {
        let mut counters = Counters::default();
        for &counter in Counter::ALL {
            counters.set(counter, self.values[counter as usize].load(Ordering::Relaxed));
        }
        counters.turns = TurnHistogram {
            counts: std::array::from_fn(|bucket| self.turns[bucket].load(Ordering::Relaxed)),
            sum_nanos: self.turn_sum_nanos.load(Ordering::Relaxed),
        };
        counters
    }
}

/// Collects all shards on every scrape.
#[derive(Debug)]
pub struct ShardCollector {
    shards: Vec<Arc<SharedCounters>>,
    started: Instant,
    started_unix_seconds: f64,
}

impl ShardCollector {
    pub fn new(shards: Vec<Arc<SharedCounters>>) -> ShardCollector {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ShardCollector { shards, started: Instant::now(), started_unix_seconds: since_epoch.as_secs_f64() }
    }

    fn encode_counters(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        loaded: &[Counters],
    ) -> Result<(), std::fmt::Error> {
        let mut place = 0;
        while place < Counter::ALL.len() {
            // Rows of one name stand together in the table and make one family.
            let first = Counter::ALL[place].description();
            let family = Counter::ALL[place..]
                .iter()
                .take_while(|counter| counter.description().name == first.name)
                .count();
            let metric_type = match first.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let help = first.help.trim_end_matches('.');
            let mut metric = encoder.encode_descriptor(first.name, help, None, metric_type)?;
            for (shard, counters) in loaded.iter().enumerate() {
                for &counter in &Counter::ALL[place..place + family] {
                    encode_value(&mut metric, shard, counter, counters.get(counter))?;
                }
            }
            place += family;
        }
        Ok(())
    }
}

fn encode_value(
    metric: &mut MetricEncoder<'_>,
    shard: usize,
    counter: Counter,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let description = counter.description();
    let shard = shard.to_string();
    let mut labels = vec![("shard", shard.as_str())];
    labels.extend(description.reason.map(|reason| ("reason", reason)));
    let family = metric.encode_family(&labels)?;
    match description.kind {
        Kind::Counter => ConstCounter::new(value).encode(family),
        Kind::Gauge => ConstGauge::new(value as i64).encode(family),
    }
}

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let loaded: Vec<Counters> = self.shards.iter().map(|shared| shared.load()).collect();
        self.encode_counters(&mut encoder, &loaded)?;
        let help = "How long a turn of a shard's loop took";
        let mut metric =
            encoder.encode_descriptor("turn_duration_seconds", help, None, MetricType::Histogram)?;
        for (shard, counters) in loaded.iter().enumerate() {
            let labels = [("shard", shard.to_string())];
            let turns = &counters.turns;
            let buckets: Vec<(f64, u64)> = (0..TURN_BUCKETS)
                .map(|bucket| {
                    let bound = TurnHistogram::bound_nanos(bucket);
                    (bound.map_or(f64::INFINITY, |nanos| nanos as f64 / 1e9), turns.counts[bucket])
                })
                .collect();
            let count = turns.counts.iter().sum();
            metric.encode_family(&labels)?.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
                turns.sum_nanos as f64 / 1e9,
                count,
                &buckets,
                None,
            )?;
        }
        let gauges = [
            ("start_time_seconds", "When the server started, Unix time", self.started_unix_seconds),
            ("uptime_seconds", "How long it has run", self.started.elapsed().as_secs_f64()),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let help = "Lines of the log that could not be written in time";
        let metric = encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(log::lines_dropped()).encode(metric)?;
        let mut metric =
            encoder.encode_descriptor("build_info", "The version that runs", None, MetricType::Gauge)?;
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        ConstGauge::new(1i64).encode(metric.encode_family(&labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn scrape(shards: &[Arc<SharedCounters>]) -> String {
        let mut registry = Registry::with_prefix("ringbolt");
        registry.register_collector(Box::new(ShardCollector::new(shards.to_vec())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text
    }

    #[test]
    fn what_a_shard_publishes_is_what_a_reader_loads() {
        let mut counters = Counters::default();
        for (place, &counter) in Counter::ALL.iter().enumerate() {
            counters.set(counter, place as u64 + 1);
        }
        counters.observe_turn(300);
        let shared = SharedCounters::default();
        assert_eq!(shared.published(), 0);
        shared.publish(&counters);
        let loaded = shared.load();
        assert!(Counter::ALL.iter().all(|&counter| loaded.get(counter) == counters.get(counter)));
        assert_eq!(loaded.turns, counters.turns);
        assert_eq!(shared.published(), 1);
    }

    #[test]
    fn drops_are_told_apart_by_shard_and_reason() {
        let shards = [Arc::<SharedCounters>::default(), Arc::default()];
        let mut counters = Counters::default();
        counters.add(Counter::DropsMeshFull, 7);
        shards[1].publish(&counters);
        let text = scrape(&shards);
        for (shard, drops) in [(0, 0), (1, 7)] {
            let labels = format!("{{shard=\"{shard}\",reason=\"mesh_full\"}}");
            let line = format!("ringbolt_messages_dropped_total{labels} {drops}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains("ringbolt_build_info{version="), "{text}");
    }

    #[test]
    fn every_family_is_declared_once_and_its_turns_end_in_infinity() {
        let text = scrape(&[Arc::default()]);
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let declared = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), declared, "a family stands apart from its rows in the table");
        let last = "ringbolt_turn_duration_seconds_bucket{le=\"+Inf\",shard=\"0\"} 0\n";
        assert!(text.contains(last), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
