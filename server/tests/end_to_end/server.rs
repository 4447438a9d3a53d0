//! A server process for one test, stopped with it.

use crate::client::Client;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Only a broken server takes this long for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    child: Child,
    pub native: String,
    pub nats: String,
    pub admin: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// On two shards and free ports, sleeping when idle, unless `flags` say otherwise.
    pub fn start(flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Server::start_in(folder, Command::new(env!("CARGO_BIN_EXE_ringbolt-server")), flags)
    }

    pub fn start_in(folder: tempfile::TempDir, mut command: Command, flags: &[&str]) -> Server {
        let ports = folder.path().join("ports");
        let _ = std::fs::remove_file(&ports);
        let defaults = [
            ("--native", "127.0.0.1:0"),
            ("--nats", "127.0.0.1:0"),
            ("--admin", "127.0.0.1:0"),
            ("--wait", "efficient"),
            ("--log", "warn"),
        ];
        for (flag, value) in defaults {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.arg("--ports-file").arg(&ports).args(flags);
        let (child, text) = spawned(command, |_| Some(ports.clone()));
        let field = |name: &str| {
            let from = text.find(name).expect("the field") + name.len() + 4;
            text[from..].split('"').next().expect("a value").to_owned()
        };
        Server { native: field("native"), nats: field("nats"), admin: field("admin"), _folder: folder, child }
    }

    /// In the place of nats-server, on free ports, without a native address.
    pub fn start_as_nats(folder: tempfile::TempDir, mut command: Command, flags: &[&str]) -> Server {
        command.args(["nats", "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-wait", "efficient"]).args(flags);
        Server::start_with_urls(folder, command)
    }

    /// One that writes where it listens as nats-server does.
    pub fn start_with_urls(folder: tempfile::TempDir, mut command: Command) -> Server {
        command.arg("-ports_file_dir").arg(folder.path()).stderr(Stdio::null());
        let name = |pid: u32| {
            folder
                .path()
                .read_dir()
                .expect("a directory")
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.to_string_lossy().ends_with(&format!("_{pid}.ports")))
        };
        let (child, text) = spawned(command, name);
        let url = |scheme: &str| {
            let from = text.find(scheme).expect("the URL") + scheme.len();
            text[from..].split('"').next().expect("an address").to_owned()
        };
        let native = String::new();
        Server { native, nats: url("nats://"), admin: url("http://"), _folder: folder, child }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.native)
    }

    /// A client of that shard: the kernel deals connections out, so some are tried.
    pub fn connect_to_shard(&self, shard: u16) -> Client {
        for _ in 0..200 {
            let client = self.connect();
            if client.shard == shard {
                return client;
            }
        }
        panic!("200 connections, and none on shard {shard}");
    }

    /// The sum of a metric over all shards; `name` may end in labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let mut stream = TcpStream::connect(&self.admin).expect("the admin address answers");
        write!(stream, "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let of_metric = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        let lines = text.lines().filter(of_metric).filter(|line| line.contains(label.trim_end_matches('}')));
        let values: Vec<f64> =
            lines.map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a number")).collect();
        assert!(!values.is_empty(), "{name} is a metric");
        values.iter().sum()
    }

    pub fn await_metric(&self, name: &str, right: impl Fn(f64) -> bool) {
        await_some(name, || right(self.metric(name)).then_some(()));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS")
    }

    /// Resident memory without the program's own pages, which come and go.
    pub fn anonymous_bytes(&self) -> u64 {
        self.status_bytes("RssAnon")
    }

    pub fn status_bytes(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = text.lines().find(|line| line.starts_with(name)).expect("a size");
        line.split_whitespace().nth(1).expect("kibibytes").parse::<u64>().expect("a number") << 10
    }

    /// User and system time so far.
    pub fn cpu_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = text.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|&place| fields[place].parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "{name} is sent");
    }

    pub fn await_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        await_some("the server's end", || child.try_wait().expect("a child"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process, and the file in which it says where it listens.
fn spawned(mut command: Command, ports: impl Fn(u32) -> Option<PathBuf>) -> (Child, String) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RINGBOLT_")) {
            command.env_remove(name);
        }
    }
    let mut child = command.stdin(Stdio::null()).spawn().expect("the server binary runs");
    let text = await_some("the server's ports file", || {
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "the server ended: {ended:?}");
        std::fs::read_to_string(ports(child.id())?).ok().filter(|text| text.trim_end().ends_with('}'))
    });
    (child, text)
}

/// Waits for the thing itself.
pub fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
