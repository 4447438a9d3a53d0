//! Configuration in two stages: `sources` is syntax (file, environment, flags → text by key), this
//! module is meaning (text → checked values). One table, `settings`, drives both, the help and the
//! operations page.

mod cores;
mod limits;
pub mod nats;
mod parse;
pub mod settings;
pub mod sources;

pub use cores::parse_cores;
pub use parse::allowed_cores;
pub use sources::{Origin, Sources};

use crate::capture::Payloads;
use parse::Reader;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::{Shares, SlowConsumerPolicy};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How a shard waits for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitMode {
    /// Never sleeps: a core a shard, the lowest latency.
    Latency,
    /// Spins for a short while after work, then sleeps.
    Balanced,
    /// Sleeps at once.
    Efficient,
}

/// Checked settings, ready to derive [`Limits`](ringbolt_shard::limits::Limits) from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Cores to pin shards to, one a shard.
    pub cores: Vec<usize>,
    pub wait: WaitMode,
    pub native: Option<SocketAddr>,
    pub native_unix: Option<PathBuf>,
    pub nats: Option<SocketAddr>,
    pub nats_advertise: Option<String>,
    pub admin: Option<SocketAddr>,
    /// Names it may be asked by.
    pub admin_hosts: Vec<String>,
    /// Who may connect in the NATS protocol.
    pub access: Access,
    pub server_name: String,
    pub log: String,
    pub log_format: LogFormat,
    pub log_file: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub ports_file: Option<PathBuf>,
    pub nats_ports_directory: Option<PathBuf>,
    pub huge_pages: bool,
    pub connections_max: usize,
    pub nats_connections_max: usize,
    pub subscriptions_max: usize,
    pub interned_subjects_max: usize,
    pub subjects_max: usize,
    pub payload_bytes_max: usize,
    pub control_line_bytes_max: usize,
    pub outbox_bytes_max: usize,
    pub slow_consumer: SlowConsumerPolicy,
    pub slow_consumer_by_subject: Vec<(String, SlowConsumerPolicy)>,
    pub shared_payload_bytes_min: usize,
    pub outbox_segment_bytes: usize,
    pub mesh_pending_bytes_max: usize,
    pub mesh_batch_bytes: usize,
    pub mesh_ring_batches: usize,
    pub receive_buffer_bytes: usize,
    pub receive_buffers: usize,
    pub hello_timeout_nanos: u64,
    pub ping_interval_nanos: u64,
    pub ping_outstanding_max: usize,
    pub drain_nanos_max: u64,
    pub lame_duck_grace_nanos: u64,
    pub lame_duck_nanos: u64,
    pub send_stall_nanos_max: u64,
    pub lane_shares: Shares,
    pub work_bytes_max: usize,
    pub memory_bytes_max: usize,
    pub dead_letters_bytes_max: usize,
    pub capture: Option<Capture>,
}

/// How shards record themselves.
#[derive(Clone, Debug)]
pub struct Capture {
    pub directory: PathBuf,
    /// Of each shard.
    pub bytes_max: usize,
    pub payloads: Payloads,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
    /// As nats-server writes them.
    Nats,
}

/// A setting that cannot be used, with cause and cure in one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads every setting; reports all that are wrong, not only the first.
    pub fn from_sources(sources: &Sources) -> Result<Config, Vec<ConfigError>> {
        let mut read = Reader::new(sources);
        let cores = read.cores();
        let [native, nats, admin] = ["native", "nats", "admin"].map(|key| read.optional_address(key));
        read.apart(&[("native", native), ("nats", nats), ("admin", admin)]);
        let native_unix = read.socket_path("native_unix");
        if native.is_none() && nats.is_none() && native_unix.is_none() {
            let message = "nobody could connect: give native, nats or native_unix an address";
            read.fail("native", message.to_owned());
        }
        let config = Config {
            cores,
            wait: read.choice(
                "wait",
                &[
                    ("latency", WaitMode::Latency),
                    ("balanced", WaitMode::Balanced),
                    ("efficient", WaitMode::Efficient),
                ],
            ),
            native,
            native_unix,
            nats,
            nats_advertise: Some(read.text("nats_advertise")).filter(|text| !text.is_empty()),
            admin,
            admin_hosts: read.hosts("admin_hosts"),
            access: Access::default(),
            server_name: read.name("name"),
            log: read.log_filter("log"),
            log_format: read.choice(
                "log_format",
                &[("text", LogFormat::Text), ("json", LogFormat::Json), ("nats", LogFormat::Nats)],
            ),
            log_file: read.path("log_file"),
            pid_file: read.path("pid_file"),
            ports_file: read.path("ports_file"),
            nats_ports_directory: read.path("nats_ports_directory"),
            huge_pages: read.choice("huge_pages", &[("try", true), ("off", false)]),
            connections_max: read.count("connections_max", 1, 1_000_000),
            nats_connections_max: read.count("nats_connections_max", 1, 100_000_000),
            subscriptions_max: read.count("subscriptions_max", 1, u32::MAX as usize),
            interned_subjects_max: read.count("interned_subjects_max", 1, 1 << 20),
            subjects_max: read.count("subjects_max", 1, 1 << 26),
            payload_bytes_max: read.size("payload_bytes_max", 16, 32 << 20),
            control_line_bytes_max: read.size("control_line_bytes_max", 512, 32 << 10),
            outbox_bytes_max: read.size("outbox_bytes_max", 64 << 10, 16 << 30),
            slow_consumer: read.choice("slow_consumer", SlowConsumerPolicy::NAMES),
            slow_consumer_by_subject: read.policies("slow_consumer_by_subject"),
            shared_payload_bytes_min: read.size("shared_payload_bytes_min", 256, 64 << 20),
            outbox_segment_bytes: read.size("outbox_segment_bytes", 4096, 1 << 20),
            mesh_pending_bytes_max: read.size("mesh_pending_bytes_max", 64 << 10, 4 << 30),
            mesh_batch_bytes: read.size("mesh_batch_bytes", 4096, 16 << 20),
            mesh_ring_batches: read.power_of_two("mesh_ring_batches", 2, 1 << 16),
            receive_buffer_bytes: read.size("receive_buffer_bytes", 4096, 1 << 20),
            receive_buffers: read.power_of_two("receive_buffers", 2, 1 << 15),
            hello_timeout_nanos: read.duration("hello_timeout"),
            ping_interval_nanos: read.duration("ping_interval"),
            ping_outstanding_max: read.count("ping_outstanding_max", 1, 100),
            drain_nanos_max: read.duration("drain_time_max"),
            lame_duck_grace_nanos: read.duration("lame_duck_grace"),
            lame_duck_nanos: read.duration("lame_duck_time"),
            send_stall_nanos_max: read.duration("send_stall_time_max"),
            lane_shares: read.lane_shares("lane_shares_min"),
            work_bytes_max: read.size("work_bytes_max", 1 << 20, 1 << 40),
            memory_bytes_max: read.size("memory_bytes_max", 1 << 20, 1 << 44),
            dead_letters_bytes_max: read.size("dead_letters_bytes_max", 0, 1 << 40),
            capture: read.capture(),
        };
        read.finish(config)
    }
}
