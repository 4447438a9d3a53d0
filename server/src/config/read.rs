//! From the text of every setting to checked values, key by key.

use super::parse::Reader;
use super::{Config, ConfigError, LogFormat, Sources, WaitMode};
use ringbolt_shard::access::Access;
use ringbolt_shard::limits::SlowConsumerPolicy;

const WAIT_MODES: &[(&str, WaitMode)] =
    &[("latency", WaitMode::Latency), ("balanced", WaitMode::Balanced), ("efficient", WaitMode::Efficient)];

const YES_OR_NO: &[(&str, bool)] = &[("yes", true), ("no", false)];

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
            wait: read.choice("wait", WAIT_MODES),
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
            pause_publisher_by_clients: read.choice("pause_publisher_by_clients", YES_OR_NO),
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
            memory_bytes_max: read.memory("memory_bytes_max", 1 << 20, 1 << 44),
            dead_letters_bytes_max: read.size("dead_letters_bytes_max", 0, 1 << 40),
            capture: read.capture(),
        };
        read.finish(config)
    }
}
