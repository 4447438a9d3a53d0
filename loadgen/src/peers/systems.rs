//! The systems: how each is started on a free port, and what it can take part in.

use super::rows::{Row, Waits};
use crate::dialect::Dialect;
use crate::server_process::{Door, ServerProcess, find_ringbolt};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Messages a frame, where batches are compared.
const BATCH: u32 = 256;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum System {
    Ringbolt {
        dialect: Dialect,
        wait: &'static str,
    },
    /// In the native dialect, with batches of this many messages.
    Batches(u32),
    Nats(PathBuf),
    Redis(PathBuf),
    Mosquitto(PathBuf),
    Limit {
        spin: bool,
    },
}

/// Programs to compare with, where they are.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    pub nats_server: Option<PathBuf>,
    pub redis_server: Option<PathBuf>,
    pub mosquitto: Option<PathBuf>,
}

impl Programs {
    /// Those that can take part in a row; the first is what the others are compared with.
    pub fn systems(&self, row: &Row) -> Vec<System> {
        let mut systems = Vec::new();
        systems.extend(self.nats_server.clone().map(System::Nats));
        let waits: &[&'static str] =
            if row.waits == Waits::Both { &["balanced", "latency"] } else { &["balanced"] };
        for &wait in waits {
            for dialect in [Dialect::Nats, Dialect::Native] {
                systems.push(System::Ringbolt { dialect, wait });
            }
        }
        if row.bulk {
            systems.push(System::Batches(BATCH));
        }
        if row.needs.relayed {
            systems.push(System::Limit { spin: false });
            if row.waits == Waits::Both {
                systems.push(System::Limit { spin: true });
            }
        }
        if !row.needs.requests {
            systems.extend(self.redis_server.clone().map(System::Redis));
            systems.extend(self.mosquitto.clone().map(System::Mosquitto));
        }
        systems
    }
}

impl System {
    pub fn label(&self) -> String {
        match self {
            System::Ringbolt { dialect: Dialect::Nats, wait } => format!("ringbolt, NATS, {wait}"),
            System::Ringbolt { wait, .. } => format!("ringbolt, native, {wait}"),
            System::Batches(count) => format!("ringbolt, native, {count} a frame"),
            System::Nats(_) => "nats-server".to_owned(),
            System::Redis(_) => "Redis".to_owned(),
            System::Mosquitto(_) => "Mosquitto".to_owned(),
            System::Limit { spin: false } => "limit, sleeping".to_owned(),
            System::Limit { spin: true } => "limit, spinning".to_owned(),
        }
    }

    /// Messages a frame the generator may gather.
    pub fn batch(&self) -> u32 {
        if let System::Batches(count) = self { *count } else { 1 }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            System::Ringbolt { dialect, .. } => *dialect,
            System::Batches(_) => Dialect::Native,
            System::Nats(_) => Dialect::Nats,
            System::Redis(_) => Dialect::Redis,
            System::Mosquitto(_) => Dialect::Mqtt,
            System::Limit { .. } => Dialect::Raw,
        }
    }

    /// Starts it on `cores`. Bounds of peers are lifted where they would drop messages.
    pub fn start(&self, cores: &str, folder: &Path) -> Result<ServerProcess, String> {
        let address = free_address()?;
        let port = address.port().to_string();
        let words: Vec<String> = match self {
            System::Ringbolt { dialect, wait } => {
                let flags = ["--wait".to_owned(), (*wait).to_owned()];
                return ServerProcess::ringbolt(&find_ringbolt()?, cores, &flags, Door::of(*dialect, false)?);
            }
            System::Batches(_) => {
                let native = System::Ringbolt { dialect: Dialect::Native, wait: "balanced" };
                return native.start(cores, folder);
            }
            System::Nats(program) => words(program, &["-a", "127.0.0.1", "-p", &port]),
            System::Redis(program) => {
                let quiet = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
                let unbounded = ["--client-output-buffer-limit", "pubsub 0 0 0"];
                words(program, &[&quiet[..], &unbounded].concat())
            }
            System::Mosquitto(program) => {
                let file = folder.join("mosquitto.conf");
                let text = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
                     max_inflight_messages 0\nset_tcp_nodelay true\nlog_dest none\n"
                );
                std::fs::write(&file, text)
                    .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
                words(program, &["-c", &file.to_string_lossy()])
            }
            System::Limit { spin } => {
                let own =
                    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
                let listen = address.to_string();
                let mut words = words(&own, &["limit", "--listen", &listen]);
                words.extend(spin.then(|| "--spin".to_owned()));
                words
            }
        };
        ServerProcess::command(&words, cores, address)
    }
}

fn words(program: &Path, arguments: &[&str]) -> Vec<String> {
    let program = program.to_string_lossy().into_owned();
    [program].into_iter().chain(arguments.iter().map(|&word| word.to_owned())).collect()
}

/// A port nobody listens on now.
fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
