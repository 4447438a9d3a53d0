//! Servers the generator starts itself: pinned, awaited, and stopped whatever happens.

use crate::dialect::Dialect;
use crate::parse::parse_cores;
use ringbolt_ring::Address;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server has this long to listen.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// And this long to stop before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    /// TCP, or the Unix socket if that was asked for.
    pub address: Address,
    ports_file: Option<PathBuf>,
}

/// Which of the server's listeners is driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Native,
    NativeUnix,
    Nats,
}

impl Door {
    /// The listener for a dialect; none if ringbolt does not speak it.
    pub fn of(dialect: Dialect, unix: bool) -> Result<Door, String> {
        match (dialect, unix) {
            (Dialect::Native, false) => Ok(Door::Native),
            (Dialect::Native, true) => Ok(Door::NativeUnix),
            (Dialect::Nats, false) => Ok(Door::Nats),
            (Dialect::Nats, true) => Err("--unix goes with the native dialect".to_owned()),
            (Dialect::Redis | Dialect::Mqtt | Dialect::Raw, _) => {
                Err("--address: which server speaks that dialect?".to_owned())
            }
        }
    }
}

impl ServerProcess {
    /// Starts ringbolt-server on `cores` and free ports, to be driven at `door`.
    pub fn ringbolt(
        program: &Path,
        cores: &str,
        flags: &[String],
        door: Door,
    ) -> Result<ServerProcess, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ports_file = std::env::temp_dir().join(format!("ringbolt-{}-{number}.ports", std::process::id()));
        let _ = std::fs::remove_file(&ports_file);
        let mut command = Command::new(program);
        command.args(["--cores", cores, "--native", "127.0.0.1:0", "--nats", "127.0.0.1:0"]);
        command.args(["--admin", "off", "--log", "warn"]);
        command.arg("--ports-file").arg(&ports_file).args(flags).stdin(Stdio::null()).stdout(Stdio::null());
        let socket = ports_file.with_extension("socket");
        if door == Door::NativeUnix {
            command.arg("--native-unix").arg(&socket);
        }
        let child = command.spawn().map_err(|error| {
            format!("cannot start {} ({error}): build it with `cargo build --release`", program.display())
        })?;
        let address = Address::Unix(socket);
        let mut server = ServerProcess { child, address, ports_file: Some(ports_file.clone()) };
        let key = if door == Door::Nats { "nats" } else { "native" };
        let tcp = server.await_until(|| read_port(&ports_file, key))?;
        if door != Door::NativeUnix {
            server.address = tcp.into();
        }
        Ok(server)
    }

    /// Starts any server by its command line, pinned to `cores`, and waits until `address` accepts.
    pub fn command(words: &[String], cores: &str, address: SocketAddr) -> Result<ServerProcess, String> {
        let (program, arguments) = words.split_first().ok_or("the server's command is empty")?;
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Err(format!("something listens on {address} already: stop it first"));
        }
        let cores = parse_cores(cores)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            spawn_pinned(command, &cores).map_err(|error| format!("cannot start {program}: {error}"))?;
        let mut server = ServerProcess { child, address: address.into(), ports_file: None };
        server.await_until(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn await_until<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> Result<T, String> {
        let started = Instant::now();
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended before it listened ({status}): its message is above"));
            }
            if started.elapsed() > START_TIME_MAX {
                return Err(format!("the server did not listen within {START_TIME_MAX:?}"));
            }
            crate::interrupts::check()?;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // SIGTERM first, so that it leaves in order; by pid, through kill(1), which needs no unsafe code.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().is_ok_and(|status| status.success());
        let started = Instant::now();
        while asked && started.elapsed() < STOP_TIME_MAX {
            if let Ok(Some(_)) = self.child.try_wait() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.ports_file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A child inherits the affinity of the thread that starts it.
fn spawn_pinned(mut command: Command, cores: &[usize]) -> io::Result<Child> {
    let [core] = *cores else { return command.spawn() };
    let thread = std::thread::spawn(move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            return Err(io::Error::other(format!("cannot pin to core {core}")));
        }
        command.spawn()
    });
    thread.join().map_err(|_| io::Error::other("the starting thread panicked"))?
}

/// `{"native": "127.0.0.1:7700", …}`, written by the server once it is ready.
fn read_port(path: &Path, key: &str) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(path).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports[key].as_str()?.parse().ok()
}

/// ringbolt-server: RINGBOLT_SERVER, or beside this program.
pub fn find_ringbolt() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("RINGBOLT_SERVER") {
        return Ok(path.into());
    }
    let own =
        std::env::current_exe().map_err(|error| format!("cannot find this program's folder: {error}"))?;
    let beside = own.with_file_name("ringbolt-server");
    if beside.exists() {
        return Ok(beside);
    }
    Err(format!(
        "there is no {}: build it with `cargo build --release`, or name a running server with --address",
        beside.display()
    ))
}
