//! Both servers, on free ports.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIME_MAX: Duration = Duration::from_secs(20);

pub struct Servers {
    pub nats: SocketAddr,
    pub ringbolt: SocketAddr,
    children: [Child; 2],
}

impl Servers {
    /// `None` if there is no nats-server to compare with.
    pub fn start(shards: u32, configuration: Option<&str>) -> Option<Servers> {
        let program = std::env::var_os("RINGBOLT_NATS_SERVER")?;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut ringbolt = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
        ringbolt.args(["nats", "--wait", "efficient", "--shards", &shards.to_string()]);
        let [(nats, nats_child), (ringbolt, ringbolt_child)] =
            [Command::new(program), ringbolt].map(|mut command| {
                // The same flags for both.
                command.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(folder.path());
                command.args(configuration.iter().flat_map(|path| ["-c", path]));
                let child =
                    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts");
                let ports = folder.path().join(format!("nats-server_{}.ports", child.id()));
                (await_address(&ports), child)
            });
        Some(Servers { nats, ringbolt, children: [nats_child, ringbolt_child] })
    }
}

/// The address in a ports file: `{"nats": ["nats://127.0.0.1:4222"], …}`.
fn await_address(ports: &Path) -> SocketAddr {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(ports).unwrap_or_default();
        let url = text.split("nats://").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(address) = url.and_then(|url| url.parse().ok()) {
            return address;
        }
        assert!(started.elapsed() < START_TIME_MAX, "no {}", ports.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
