//! Small limits, chosen at random: those of ringbolt's own file, and those of a nats.conf with accounts.

use crate::words::{once_in, pick};
use ringbolt_shard::random::Random;

pub const MEMORY_BYTES: &[u64] = &[24 << 20, 64 << 20, 256 << 20];

/// A file for `--config`; what cannot change while the server runs is chosen by `fixed`.
pub fn ringbolt(fixed: &mut Random, random: &mut Random) -> (String, u64) {
    let memory = pick(fixed, MEMORY_BYTES);
    let payload = pick(random, &[300, 5000, 70_000]);
    let outbox = pick(random, &[140_000, 1 << 20, 16 << 20]).max(2 * payload);
    let policies = ["hold", "hold", "disconnect", "drop-oldest", "drop-newest", "pause-publisher"];
    let numbers = [
        ("memory_bytes_max", memory),
        ("connections_max", pick(fixed, &[16, 1000])),
        ("interned_subjects_max", pick(fixed, &[4, 4096])),
        ("subjects_max", pick(fixed, &[4, 1000])),
        ("control_line_bytes_max", pick(fixed, &[512, 4096])),
        ("mesh_pending_bytes_max", pick(fixed, &[140_000, 8 << 20])),
        ("mesh_batch_bytes", pick(fixed, &[4096, 65_536])),
        ("mesh_ring_batches", pick(fixed, &[2, 256])),
        ("receive_buffers", pick(fixed, &[4, 128])),
        ("receive_buffer_bytes", pick(fixed, &[4096, 32_768])),
        ("outbox_segment_bytes", pick(fixed, &[4096, 65_536])),
        ("shared_payload_bytes_min", pick(fixed, &[256, 8192])),
        ("work_bytes_max", pick(fixed, &[1 << 20, 256 << 20])),
        ("dead_letters_bytes_max", pick(fixed, &[0, 50_000, 16 << 20])),
        ("payload_bytes_max", payload),
        ("outbox_bytes_max", outbox),
        ("subscriptions_max", pick(random, &[5, 65_536])),
        ("nats_connections_max", pick(random, &[40, 65_536])),
    ];
    let mut text: String = numbers.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    text.push_str(&format!("slow_consumer = \"{}\"\n", pick(fixed, &policies)));
    text.push_str(&format!("pause_publisher_by_clients = \"{}\"\n", pick(random, &["yes", "no"])));
    if once_in(fixed, 2) {
        text.push_str("slow_consumer_by_subject = \"a.>=drop-oldest,b.*=pause-publisher\"\n");
    }
    let ping = pick(random, &["2s", "30s"]);
    text.push_str(&format!(
        "ping_interval = \"{ping}\"\nhello_timeout = \"1s\"\nsend_stall_time_max = \"1s\"\n"
    ));
    (text, memory)
}

/// A file for `nats -c`, with an account for the honest and others, of which one or two are there.
pub fn nats(random: &mut Random) -> String {
    let deny = pick(
        random,
        &["", "permissions: {publish: {deny: \"a.>\"}}", "permissions: {subscribe: [\"a.>\", \"b w\"]}"],
    );
    let reply = pick(random, &["", "permissions: {allow_responses: {max: 2, expires: \"1s\"}}"]);
    let second = if once_in(random, 3) {
        ""
    } else {
        "B { users: [{user: b, password: b}]
             imports: [{stream: {account: A, subject: \"a.>\"}, prefix: c}
                       {service: {account: A, subject: \"b.a\"}}] }"
    };
    let payload = pick(random, &[300, 5000, 70_000]);
    format!(
        "max_payload: {payload}\nmax_subscriptions: {}\nping_interval: \"{}\"\nwrite_deadline: \"1s\"\n\
         accounts {{\n\
         HONEST {{ users: [{{user: honest, password: honest}}] }}\n\
         A {{ users: [{{user: a, password: a, {deny}}}, {{user: c, password: c, {reply}}}]\n\
         exports: [{{stream: \"a.>\"}}, {{service: \"b.a\"}}] }}\n{second}\n}}\n",
        pick(random, &[5, 60_000]),
        pick(random, &["2s", "30s"]),
    )
}
