//! Both servers, on free ports.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIME_MAX: Duration = Duration::from_secs(20);

pub struct Servers {
    pub nats: SocketAddr,
    pub ringbolt: SocketAddr,
    children: Vec<Child>,
}

impl Servers {
    /// `None` if there is no nats-server to compare with.
    pub fn start(shards: u32) -> Option<Servers> {
        let program = std::env::var_os("RINGBOLT_NATS_SERVER")?;
        let port = free_port().port().to_string();
        let mut nats = Command::new(program);
        nats.args(["-a", "127.0.0.1", "-p", &port]).stdout(Stdio::null()).stderr(Stdio::null());
        let nats_child = nats.spawn().expect("RINGBOLT_NATS_SERVER names a program");
        let nats = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
        let mut ringbolt = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
        ringbolt.args(["--native", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--admin", "off"]);
        ringbolt.args(["--wait", "efficient", "--log-format", "json", "--shards", &shards.to_string()]);
        let mut ringbolt_child = ringbolt.stderr(Stdio::piped()).spawn().expect("the server starts");
        let log = BufReader::new(ringbolt_child.stderr.take().expect("piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let behind = line.split("\"nats\":\"").nth(1)?;
            behind.split('"').next()?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let servers = Servers {
            nats,
            ringbolt: address.expect("ringbolt says where it listens"),
            children: vec![nats_child, ringbolt_child],
        };
        let started = Instant::now();
        while TcpStream::connect(servers.nats).is_err() {
            assert!(started.elapsed() < START_TIME_MAX, "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(servers)
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

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}
