//! The monitoring pages that tools of nats-server read: `/varz`, `/connz`, `/subsz`, `/routez`, with the
//! same names of fields.

use super::query::Query;
use super::state::AdminState;
use ringbolt_protocol::nats::COMPATIBLE_VERSION;
use ringbolt_shard::Dialect;
use ringbolt_shard::metrics::{Counter, Counters};
use ringbolt_shard::report::ConnectionReport;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// Connections listed where nothing else is asked for.
const LIMIT_DEFAULT: usize = 1024;

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

/// `1h2m3s`, as Go writes it.
fn duration(nanos: u64) -> String {
    let seconds = Duration::from_secs(nanos / 1_000_000_000);
    humantime::format_duration(seconds).to_string().replace(' ', "")
}

impl AdminState {
    fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for shared in &self.counters {
            let counters = shared.load();
            Counter::ALL.iter().for_each(|&counter| sum.add(counter, counters.get(counter)));
        }
        sum
    }

    pub(super) fn varz(&self) -> Value {
        let (facts, settings, sum) = (&self.facts, self.settings(), self.sum());
        let get = |counter| sum.get(counter);
        let uptime = self.started.elapsed().unwrap_or_default().as_nanos() as u64;
        let configured = json!({
            "server_id": facts.server_id,
            "server_name": facts.server_name,
            "version": COMPATIBLE_VERSION,
            "ringbolt": env!("CARGO_PKG_VERSION"),
            "proto": 1,
            "go": "rust",
            "host": facts.host,
            "port": facts.port,
            "http_host": facts.monitor_host,
            "http_port": facts.monitor_port,
            "http_base_path": "",
            "https_port": 0,
            "auth_required": settings.auth_required,
            "max_connections": settings.connections_max,
            "max_payload": settings.payload_bytes_max,
            "max_control_line": settings.control_line_bytes_max,
            "max_pending": settings.outbox_bytes_max,
            "ping_interval": settings.ping_interval_nanos,
            "ping_max": settings.ping_outstanding_max,
            "write_deadline": settings.write_deadline_nanos,
            "auth_timeout": settings.auth_timeout_nanos as f64 / 1e9,
            "tls_timeout": 0,
        });
        let observed = json!({
            "cluster": {},
            "gateway": {},
            "leaf": {},
            "jetstream": {},
            "mqtt": {},
            "websocket": {},
            "start": rfc3339(self.started),
            "config_load_time": rfc3339(settings.loaded),
            "now": rfc3339(SystemTime::now()),
            "uptime": duration(uptime),
            "mem": resident_bytes(),
            "cores": facts.cores,
            "gomaxprocs": facts.cores,
            "cpu": 0,
            "connections": get(Counter::Connections),
            "total_connections": get(Counter::ConnectionsOpened),
            "routes": 0,
            "remotes": 0,
            "leafnodes": 0,
            "in_msgs": get(Counter::MessagesIn),
            "out_msgs": get(Counter::MessagesOut),
            "in_bytes": get(Counter::BytesIn),
            "out_bytes": get(Counter::BytesOut),
            "slow_consumers": get(Counter::ConnectionsClosedSlowConsumer),
            "subscriptions": get(Counter::Subscriptions),
        });
        joined(configured, observed)
    }

    pub(super) fn subsz(&self) -> Value {
        let sum = self.sum();
        let (hits, misses) = (sum.get(Counter::RouteCacheHits), sum.get(Counter::RouteCacheMisses));
        let rate = if hits + misses > 0 { hits as f64 / (hits + misses) as f64 } else { 0.0 };
        json!({
            "server_id": self.facts.server_id,
            "now": rfc3339(SystemTime::now()),
            "num_subscriptions": sum.get(Counter::Subscriptions),
            "num_cache": sum.get(Counter::SubjectsCached),
            "num_matches": hits + misses,
            "cache_hit_rate": rate,
        })
    }

    pub(super) fn routez(&self) -> Value {
        json!({
            "server_id": self.facts.server_id,
            "server_name": self.facts.server_name,
            "now": rfc3339(SystemTime::now()),
            "num_routes": 0,
            "routes": [],
        })
    }

    pub(super) fn connz(
        &self,
        mut reports: Vec<ConnectionReport>,
        query: &Query<'_>,
    ) -> Result<Value, String> {
        reports.retain(|report| report.dialect == Dialect::Nats);
        if query.get("state").is_some_and(|state| !matches!(state, "open" | "any" | "all" | "0" | "")) {
            reports.clear();
        }
        sort(&mut reports, query.get("sort").unwrap_or_default())?;
        let (total, offset, limit) =
            (reports.len(), query.number("offset", 0), query.number("limit", LIMIT_DEFAULT).max(1));
        let now = SystemTime::now();
        let listed: Vec<Value> = reports
            .iter()
            .skip(offset)
            .take(limit)
            .map(|report| self.connection(report, now, query))
            .collect();
        Ok(json!({
            "server_id": self.facts.server_id,
            "now": rfc3339(now),
            "num_connections": listed.len(),
            "total": total,
            "offset": offset,
            "limit": limit,
            "connections": listed,
        }))
    }

    fn connection(&self, report: &ConnectionReport, now: SystemTime, query: &Query<'_>) -> Value {
        let before = |nanos| rfc3339(now.checked_sub(Duration::from_nanos(nanos)).unwrap_or(now));
        let mut value = json!({
            "cid": report.number,
            "kind": "Client",
            "type": "nats",
            "ip": report.peer.map(|peer| peer.ip().to_string()).unwrap_or_default(),
            "port": report.peer.map_or(0, |peer| peer.port()),
            "start": before(report.age_nanos),
            "last_activity": before(report.idle_nanos),
            "uptime": duration(report.age_nanos),
            "idle": duration(report.idle_nanos),
            "pending_bytes": report.pending_bytes,
            "in_msgs": report.traffic.messages_in,
            "out_msgs": report.traffic.messages_out,
            "in_bytes": report.traffic.bytes_in,
            "out_bytes": report.traffic.bytes_out,
            "subscriptions": report.subscriptions,
        });
        for (key, text) in [("name", &report.name), ("lang", &report.lang), ("version", &report.version)] {
            if !text.is_empty() {
                value[key] = json!(text);
            }
        }
        if query.get("auth").is_some_and(|wanted| matches!(wanted, "1" | "true")) {
            value["authorized_user"] = json!(report.user);
            value["account"] = json!(report.account);
        }
        if query.get("subs") == Some("detail") {
            let details = report.patterns.iter().map(|pattern| {
                let mut detail = json!({
                    "subject": pattern.pattern,
                    "sid": pattern.id,
                    "msgs": pattern.delivered,
                    "cid": report.number,
                });
                if let Some(group) = &pattern.group {
                    detail["qgroup"] = json!(group);
                }
                if let Some(max) = pattern.deliveries_max {
                    detail["max"] = json!(max);
                }
                detail
            });
            value["subscriptions_list_detail"] = details.collect();
        } else if query.wants_patterns() {
            value["subscriptions_list"] =
                report.patterns.iter().map(|pattern| json!(pattern.pattern)).collect();
        }
        value
    }
}

fn joined(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut all), Value::Object(more)) => {
            all.extend(more);
            Value::Object(all)
        }
        (first, _) => first,
    }
}

fn sort(reports: &mut [ConnectionReport], by: &str) -> Result<(), String> {
    let most =
        |of: fn(&ConnectionReport) -> u64| move |report: &ConnectionReport| std::cmp::Reverse(of(report));
    reports.sort_by_key(|report| report.number);
    match by {
        "" | "cid" => {}
        "start" | "uptime" => reports.sort_by_key(most(|report| report.age_nanos)),
        "subs" => reports.sort_by_key(most(|report| report.subscriptions as u64)),
        "pending" => reports.sort_by_key(most(|report| report.pending_bytes as u64)),
        "msgs_to" => reports.sort_by_key(most(|report| report.traffic.messages_out)),
        "msgs_from" => reports.sort_by_key(most(|report| report.traffic.messages_in)),
        "bytes_to" => reports.sort_by_key(most(|report| report.traffic.bytes_out)),
        "bytes_from" => reports.sort_by_key(most(|report| report.traffic.bytes_in)),
        "idle" => reports.sort_by_key(most(|report| report.idle_nanos)),
        "last" => reports.sort_by_key(|report| report.idle_nanos),
        _ => return Err(format!("invalid sorting option: {by}\n")),
    }
    Ok(())
}

/// Memory of this process (`VmRSS`, proc(5)).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
