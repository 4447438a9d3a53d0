//! What the settings mean: checked values.

use crate::capture::Payloads;
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::{Shares, SlowConsumerPolicy};
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
    pub pause_publisher_by_clients: bool,
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
