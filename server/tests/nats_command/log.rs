//! A log that cannot be written is not worth a server.

use super::{PING, await_some, command, finished, read_past};
use std::fs::OpenOptions;
use std::io::{PipeWriter, Read, Write, pipe};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

/// What a pipe of Linux holds (pipe(7)).
const PIPE_BYTES: usize = 65_536;

/// A running server, found by its ports file: its log may not be readable.
struct Server {
    child: Child,
    nats: String,
    monitoring: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(stderr: impl Into<Stdio>, flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (file, ports) = (folder.path().join("nats.conf"), folder.path().to_str().expect("UTF-8"));
        std::fs::write(&file, "").expect("writes");
        let own = ["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "--shards", "1", "--ports_file_dir", ports];
        let mut command = command(&own);
        let child = command.arg("-c").arg(&file).args(flags).stderr(stderr).spawn().expect("it starts");
        let ports_file = folder.path().join(format!("nats-server_{}.ports", child.id()));
        let ports = await_some("the ports file", || std::fs::read_to_string(&ports_file).ok());
        let ports: serde_json::Value = serde_json::from_str(&ports).expect("JSON");
        let address = |name: &str| {
            let url = ports[name][0].as_str().expect("a URL");
            url.rsplit('/').next().expect("an address").to_owned()
        };
        Server { nats: address("nats"), monitoring: address("monitoring"), child, folder }
    }

    fn tell(&self, signal: &str) {
        let (code, _, stderr) = finished(&["--signal", &format!("{signal}={}", self.child.id())]);
        assert_eq!(code, Some(0), "{stderr}");
    }

    fn lines_dropped(&self) -> u64 {
        let mut stream = TcpStream::connect(&self.monitoring).expect("it accepts");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it takes bytes");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let line = text.lines().find_map(|line| line.strip_prefix("ringbolt_log_lines_dropped_total "));
        line.expect("the metric").parse().expect("a number")
    }

    /// Limits change with every reload, so that a client can see that it happened.
    fn reload(&self, payload: usize) {
        std::fs::write(self.folder.path().join("nats.conf"), format!("max_payload: {payload}"))
            .expect("writes");
        self.tell("reload");
        await_some("the new limit", || {
            self.serves().contains(&format!("\"max_payload\":{payload}")).then_some(())
        });
    }

    /// What it says to a client, which it answers.
    fn serves(&self) -> String {
        let mut stream = TcpStream::connect(&self.nats).expect("it accepts");
        stream.write_all(PING.as_bytes()).expect("it takes bytes");
        let heard = read_past(&mut stream, "PONG\r\n");
        assert!(heard.ends_with("PONG\r\n"), "{heard}");
        heard
    }

    fn ends(&mut self) {
        self.tell("term");
        let status = await_some("the end of the server", || self.child.try_wait().expect("a child"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full_device() -> std::fs::File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    writer.write_all(&[b'x'; PIPE_BYTES]).expect("it holds so much");
    (reader, writer)
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    let closed = || pipe().expect("a pipe").1;
    let (_reader, full) = full_pipe();
    let mut servers = [
        ("a full disk", Server::start(full_device(), &[])),
        ("a file on a full disk", Server::start(Stdio::null(), &["-l", "/dev/full"])),
        ("a reader that is gone", Server::start(closed(), &[])),
        ("a reader that does not read", Server::start(full, &[])),
    ];
    for (log, server) in &mut servers {
        server.serves();
        server.reload(4096);
        server.tell("reopen");
        server.reload(8192);
        if *log != "a reader that does not read" {
            assert!(server.lines_dropped() > 0, "{log}");
        }
        server.ends();
    }
}

#[test]
fn a_reader_that_reads_again_finds_the_lines_that_waited() {
    let (mut reader, full) = full_pipe();
    let mut server = Server::start(full, &[]);
    server.reload(4096);
    let heard = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    server.ends();
    let text = heard.join().expect("it reads").expect("UTF-8");
    let lines = text.trim_start_matches('x');
    for expected in ["Server is ready", "Reloaded server configuration", "stopped; 0 connections were cut"] {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
}

#[test]
fn a_message_to_whoever_started_it_may_fail_too() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let wrong = folder.path().join("wrong.conf");
    std::fs::write(&wrong, "max_paylod: 1").expect("writes");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let good = folder.path().join("good.conf");
    std::fs::write(&good, "").expect("writes");
    let status = |arguments: &[&str], stdout: Stdio, stderr: Stdio| {
        let mut child = command(arguments).stdout(stdout).stderr(stderr).spawn().expect("it starts");
        await_some("its end", || child.try_wait().expect("a child")).code()
    };
    let (_reader, full) = full_pipe();
    let wrong = path(&wrong);
    assert_eq!(status(&["-t", "-c", &wrong], Stdio::null(), full_device().into()), Some(2));
    assert_eq!(status(&["-t", "-c", &wrong], Stdio::null(), full.into()), Some(2));
    let good = path(&good);
    assert_eq!(status(&["-t", "-c", &good], full_device().into(), Stdio::null()), Some(1), "not told");
    let closed = pipe().expect("a pipe").1;
    assert_eq!(status(&["-t", "-c", &good], closed.into(), Stdio::null()), Some(0), "nobody asked");
}
