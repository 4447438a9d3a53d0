//! nats-py and the client of npm, unchanged, where they are installed: `RINGBOLT_PYTHON` names a Python that
//! has nats-py, `RINGBOLT_NODE_MODULES` a folder of modules with `@nats-io/transport-node`.

use crate::server::Server;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/foreign")
}

#[test]
fn nats_py_works_unchanged() {
    let python = std::env::var_os("RINGBOLT_PYTHON").filter(|python| {
        let asked = Command::new(python).args(["-c", "import nats"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        return eprintln!("RINGBOLT_PYTHON names no Python with nats-py: nothing is tested");
    };
    let mut command = Command::new(python);
    command.arg(folder().join("flows.py"));
    run(command);
}

#[test]
fn the_client_of_npm_works_unchanged() {
    if std::env::var_os("RINGBOLT_NODE_MODULES").is_none() {
        return eprintln!("RINGBOLT_NODE_MODULES names no modules: nothing is tested");
    }
    let mut command = Command::new("node");
    command.arg(folder().join("flows.cjs"));
    run(command);
}

/// Runs a client's flows, and does what they ask of the servers.
fn run(mut command: Command) {
    let mut server = Some(Server::start(&[]));
    let settings = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(settings.path(), "authorization { users: [{user: ann, password: right}] }")
        .expect("writes");
    let mut with_users = NatsCommand::start(settings.path());
    let slow = Server::start(&["--outbox-bytes-max", "2MiB"]);
    let (nats, native) = {
        let server = server.as_ref().expect("started");
        (server.nats.clone(), server.native.clone())
    };
    let urls = [&nats, &with_users.address, &slow.nats].map(|address| format!("nats://{address}"));
    command.args(urls).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.spawn().expect("the client starts");
    let mut answers = client.stdin.take().expect("piped");
    let mut passed = false;
    for line in BufReader::new(client.stdout.take().expect("piped")).lines().map_while(Result::ok) {
        match line.as_str() {
            "flood" => flood(&slow.nats),
            "restart" => {
                drop(server.take());
                server = Some(Server::start(&["--nats", &nats, "--native", &native]));
            }
            "lame duck" => server.as_ref().expect("started").signal("USR2"),
            "passed" => passed = true,
            flow => {
                eprintln!("{flow}");
                continue;
            }
        }
        // A client that has passed hears no more.
        let _ = answers.write_all(b"done\n");
    }
    assert!(client.wait().expect("a child").success() && passed, "the flows end well");
    with_users.stop();
}

fn flood(address: &str) {
    let mut publisher = TcpStream::connect(address).expect("connects");
    let frame = [b"PUB flood 100000\r\n", &vec![b'f'; 100_000][..], b"\r\n"].concat();
    publisher.write_all(b"CONNECT {\"verbose\":false}\r\n").expect("writes");
    for _ in 0..400 {
        publisher.write_all(&frame).expect("a publisher is not hurt by a slow consumer");
    }
}

/// The server as nats-server is started.
struct NatsCommand {
    child: std::process::Child,
    address: String,
}

impl NatsCommand {
    fn start(configuration: &Path) -> NatsCommand {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
        command.args(["nats", "-a", "127.0.0.1", "-p", "-1", "--shards", "1", "-c"]).arg(configuration);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            line.split_once("Listening for client connections on ").map(|(_, address)| address.to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        NatsCommand { child, address: address.expect("it says where it listens") }
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
