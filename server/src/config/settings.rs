//! The table of settings: one row each drives the file, the environment, the flags, `--help`,
//! `print-config` and `docs/OPERATIONS.md`.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the TOML file.
    pub key: &'static str,
    /// Shape of its value, as shown in the help.
    pub value: &'static str,
    /// Empty: not set.
    pub default: &'static str,
    pub help: &'static str,
}

impl Setting {
    /// `--outbox-bytes-max`, without the dashes in front.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `RINGBOLT_OUTBOX_BYTES_MAX`.
    pub fn environment(&self) -> String {
        format!("RINGBOLT_{}", self.key.to_uppercase())
    }

    pub fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

const fn row(key: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, value, default, help }
}

pub const SETTINGS: &[Setting] = &[
    row(
        "cores",
        "LIST",
        "",
        "Cores to pin shards to, one shard each: 0,1 or 0-3. Unset: all cores this process may use.",
    ),
    row("shards", "N", "", "Number of shards. With cores it must agree; alone it takes the first N cores."),
    row(
        "wait",
        "MODE",
        "balanced",
        "How a shard waits: latency (never sleeps, a whole core), balanced (spins briefly, then sleeps), \
         efficient (sleeps at once).",
    ),
    row(
        "native",
        "ADDR|off",
        "127.0.0.1:7700",
        "Address of the native protocol, or off. Port 0: any free port.",
    ),
    row(
        "native_unix",
        "PATH",
        "",
        "Unix socket that also speaks the native protocol, for clients on this host. Unset: none.",
    ),
    row(
        "nats",
        "ADDR|off",
        "127.0.0.1:4222",
        "Address of the NATS client protocol, or off. Port 0: any free port.",
    ),
    row(
        "nats_advertise",
        "ADDR",
        "",
        "HOST:PORT told to NATS clients as where to connect. Unset: the bound address.",
    ),
    row("admin", "ADDR|off", "127.0.0.1:9090", "Address of health, metrics and monitoring pages, or off."),
    row(
        "admin_hosts",
        "LIST",
        "",
        "Names by which the admin address may be asked, beside localhost, addresses and the name of this \
         host; *: any.",
    ),
    row("name", "TEXT", "ringbolt", "Name of this server, as told to clients."),
    row("log", "FILTER", "info", "What is logged: error, warn, info, debug, or a tracing filter."),
    row("log_format", "FORMAT", "text", "text, json, or nats: lines as nats-server writes them."),
    row("log_file", "PATH", "", "File to log to, opened again at SIGUSR1. Unset: standard error."),
    row("pid_file", "PATH", "", "File to write the process id to."),
    row("ports_file", "PATH", "", "File to write the bound addresses to, as JSON, once the server is ready."),
    row(
        "nats_ports_directory",
        "PATH",
        "",
        "Directory to write nats-server_<pid>.ports to: where clients and tools connect, as URLs in JSON.",
    ),
    row("huge_pages", "try|off", "try", "Whether receive buffers try reserved huge pages first."),
    row("connections_max", "N", "16384", "Connections a shard accepts; the open-file limit may lower it."),
    row("nats_connections_max", "N", "65536", "Connections of NATS clients, on all shards together."),
    row("subscriptions_max", "N", "65536", "Subscriptions a connection may hold."),
    row("interned_subjects_max", "N", "4096", "Subject numbers a connection may define."),
    row("subjects_max", "N", "262144", "Subjects a shard keeps routes of; others are evicted."),
    row("payload_bytes_max", "SIZE", "1MiB", "Largest payload."),
    row(
        "control_line_bytes_max",
        "SIZE",
        "4KiB",
        "Longest arguments of one operation of a NATS client: subject, reply subject, options.",
    ),
    row("outbox_bytes_max", "SIZE", "64MiB", "Bytes queued for one connection before slow_consumer decides."),
    row(
        "slow_consumer",
        "POLICY",
        "hold",
        "What happens when an outbox is full: hold, disconnect, drop-oldest, drop-newest, or \
         pause-publisher. A subscription may choose its own.",
    ),
    row(
        "pause_publisher_by_clients",
        "yes|no",
        "no",
        "Whether a subscription may choose pause-publisher, with which it can stop its publishers.",
    ),
    row(
        "slow_consumer_by_subject",
        "LIST",
        "",
        "Other policies for some subjects: metrics.>=drop-oldest,audit.*=pause-publisher; the first pattern \
         that matches counts.",
    ),
    row(
        "shared_payload_bytes_min",
        "SIZE",
        "8KiB",
        "Payloads from this size on are shared between receivers instead of copied to each.",
    ),
    row("outbox_segment_bytes", "SIZE", "64KiB", "Bytes gathered in one buffer of an outbox."),
    row(
        "mesh_pending_bytes_max",
        "SIZE",
        "8MiB",
        "Bytes waiting for another shard before their publishers are held back; less where memory or \
         outbox_bytes_max is little.",
    ),
    row("mesh_batch_bytes", "SIZE", "64KiB", "Bytes of messages sent to another shard at once."),
    row(
        "mesh_ring_batches",
        "N",
        "256",
        "Batches a link between two shards holds; a power of two; fewer where memory or outbox_bytes_max \
         is little.",
    ),
    row("receive_buffer_bytes", "SIZE", "32KiB", "Size of a receive buffer."),
    row("receive_buffers", "N", "128", "Receive buffers a shard; a power of two."),
    row("hello_timeout", "TIME", "5s", "Time a client has from accept until it is admitted."),
    row("ping_interval", "TIME", "30s", "Silence after which a client is asked whether it lives."),
    row("ping_outstanding_max", "N", "2", "Unanswered pings after which a connection is closed."),
    row("drain_time_max", "TIME", "10s", "Time a graceful stop may take before what is left is cut."),
    row(
        "lame_duck_grace",
        "TIME",
        "10s",
        "Time between telling NATS clients to leave (SIGUSR2) and closing the first of them.",
    ),
    row("lame_duck_time", "TIME", "2m", "Time over which the clients are closed after that."),
    row(
        "send_stall_time_max",
        "TIME",
        "10s",
        "Time a client may take no bytes while some wait, unless it asked for drops.",
    ),
    row(
        "lane_shares_min",
        "PERCENTS",
        "0,10,10,5,2",
        "Least share of bytes that each lane gets while it waits: critical, high, normal, low, background; \
         at most 50 in all. The rest goes to the most important lane that waits.",
    ),
    row(
        "work_bytes_max",
        "SIZE",
        "256MiB",
        "Bytes of messages a shard keeps until they are acknowledged; beyond, the least important go.",
    ),
    row(
        "memory_bytes_max",
        "SIZE",
        "auto",
        "Memory for all that the server keeps for clients; the shards have equal parts of seven eighths, and \
         what is on its way between them the rest. `auto`: three quarters of the cgroup's memory.max, or \
         half of the machine's memory. Short of it, who holds much and takes nothing is closed, and lanes \
         are shed, the least important first. As it was at the start, cached routes of an account take a \
         sixteenth at most.",
    ),
    row(
        "dead_letters_bytes_max",
        "SIZE",
        "16MiB",
        "Bytes of dead letters a shard keeps to be shown and replayed; beyond, the oldest go. 0: none.",
    ),
    row(
        "capture_directory",
        "PATH",
        "",
        "Folder that each shard records itself to from the start on, for bug reports. Not set: none does.",
    ),
    row(
        "capture_bytes_max",
        "SIZE",
        "1GiB",
        "Length of a shard's capture; it ends there, the server goes on.",
    ),
    row(
        "capture_payloads",
        "WORD",
        "lengths",
        "What captures hold of payloads: their lengths, or kept for all of them.",
    ),
];

#[cfg(test)]
mod tests {
    use super::SETTINGS;

    #[test]
    fn keys_are_unique_and_every_setting_is_explained() {
        for (place, setting) in SETTINGS.iter().enumerate() {
            assert!(SETTINGS[..place].iter().all(|other| other.key != setting.key), "{}", setting.key);
            assert!(setting.help.ends_with('.'), "{}: a sentence", setting.key);
        }
    }
}
