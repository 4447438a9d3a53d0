//! Captures of a server under load, replayed by the program itself.
//!
//! `RINGBOLT_CAPTURE_SECONDS=60` loads it for a minute, and says what that came to.

use crate::client::Client;
use crate::server::{Server, await_some};
use ringbolt_protocol::command::{Compression, Flags, Priority, SubjectRef};
use ringbolt_protocol::native::batch::{Messages, PublishBatch, publish_batch};
use ringbolt_protocol::varint;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// In every payload and in a password; in no capture.
const PAYLOAD: &[u8] = b"<what nobody else shall read>";
const PASSWORD: &str = "<word that nobody shall know>";
/// Messages a publisher writes at once, and how often.
const BURST: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

const SECONDS: &str = "RINGBOLT_CAPTURE_SECONDS";

fn seconds() -> u64 {
    std::env::var(SECONDS).map_or(2, |text| text.parse().expect("seconds"))
}

struct Captured {
    server: Server,
    folder: tempfile::TempDir,
}

impl Captured {
    /// Shards that record themselves.
    fn start(flags: &[&str]) -> Captured {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = folder.path().to_str().expect("UTF-8").to_owned();
        Captured::start_in(folder, &[&["--capture-directory", &directory], flags].concat())
    }

    fn start_in(folder: tempfile::TempDir, flags: &[&str]) -> Captured {
        let settings = folder.path().join("settings.toml");
        std::fs::write(&settings, "subscriptions_max = \"100\"\n").expect("writes");
        let shape = ["--shards", "2", "--config", settings.to_str().expect("UTF-8")];
        let server = Server::start(&[&shape, flags].concat());
        Captured { server, folder }
    }

    fn files(&self) -> [PathBuf; 2] {
        [0, 1].map(|shard| self.folder.path().join(format!("shard-{shard}.ringbolt-capture")))
    }

    fn reload(&self) {
        let settings = self.folder.path().join("settings.toml");
        std::fs::write(settings, "subscriptions_max = \"50\"\npayload_bytes_max = \"256KiB\"\n")
            .expect("writes");
        self.server.signal("HUP");
    }

    fn stop(&mut self) {
        self.server.signal("TERM");
        assert!(self.server.await_exit().success());
    }
}

fn payload(bytes: usize) -> Vec<u8> {
    PAYLOAD.iter().copied().cycle().take(bytes).collect()
}

fn nats(server: &Server, options: &str, words: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.nats).expect("it accepts");
    let connect =
        format!("CONNECT {{\"verbose\":false,\"headers\":true,\"pass\":\"{PASSWORD}\"{options}}}\r\n");
    // The password comes in two parts.
    let (first, rest) = connect.as_bytes().split_at(connect.len() - 20);
    stream.write_all(first).expect("it takes bytes");
    thread::sleep(Duration::from_millis(20));
    stream.write_all(&[rest, words.as_bytes()].concat()).expect("it takes bytes");
    stream
}

/// Reads until the end of the stream.
fn drain(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn nats_burst(turn: usize) -> Vec<u8> {
    let mut burst = Vec::new();
    for number in 0..BURST {
        // Some are large enough to be shared between receivers.
        let body = payload(if number == 0 { 20_000 } else { 20 + (turn + number) % 200 });
        if number % 10 == 1 {
            let block = "NATS/1.0\r\nn: 1\r\n\r\n";
            let (head, all) = (block.len(), block.len() + body.len());
            write!(burst, "HPUB load.nats {head} {all}\r\n{block}").expect("a vector");
        } else {
            let subject = if number % 10 == 2 { "jobs" } else { "load.nats" };
            write!(burst, "PUB {subject} {}\r\n", body.len()).expect("a vector");
        }
        burst.extend_from_slice(&body);
        burst.extend_from_slice(b"\r\n");
    }
    burst
}

fn native_batch() -> Vec<u8> {
    let mut messages = Vec::new();
    for number in 0..20 {
        let body = payload(20 + number);
        varint::encode(body.len() as u32, &mut messages);
        messages.extend_from_slice(&body);
    }
    let mut frame = Vec::new();
    let batch = PublishBatch {
        flags: Flags::new(Priority::High, Compression::None),
        timestamp_nanos: 0,
        correlation_id: 0,
        subject: SubjectRef::Literal(b"load.native"),
        messages: Messages::new(&messages).expect("messages"),
    };
    publish_batch(&mut frame, &batch);
    frame
}

/// A member of a group that acknowledges every delivery in the words of JetStream.
fn worker(mut stream: TcpStream) {
    let (mut text, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
        let heard = String::from_utf8_lossy(&text).into_owned();
        let replies = heard.split(' ').filter(|word| word.starts_with("$JS.ACK."));
        let answers: String = replies.map(|reply| format!("PUB {reply} 4\r\n+ACK\r\n")).collect();
        let kept = heard.rfind("MSG ").filter(|_| !answers.is_empty()).map_or(0, |_| text.len());
        text.drain(..kept);
        if stream.write_all(answers.as_bytes()).is_err() {
            return;
        }
    }
}

/// Clients of both dialects on both shards, and settings that are read again half way.
fn load(captured: &Captured, time: Duration) {
    let server = &captured.server;
    let over = AtomicBool::new(false);
    let mut natives: Vec<Client> = [0, 1, 0, 1].map(|shard| server.connect_to_shard(shard)).into();
    natives[0].subscribe("load.>", None);
    natives[1].subscribe("load.native", Some("group"));
    let listeners: Vec<TcpStream> = (0..4)
        .map(|number| {
            nats(server, ",\"echo\":false", &format!("SUB load.* {number}\r\nSUB load.nats g 9\r\nPING\r\n"))
        })
        .collect();
    let workers: Vec<TcpStream> =
        (0..2).map(|_| nats(server, ",\"name\":\"worker\"", "SUB jobs workers;ack 1\r\nPING\r\n")).collect();
    let publishers: Vec<TcpStream> = (0..2).map(|_| nats(server, "", "PING\r\n")).collect();
    let open: Vec<TcpStream> = listeners
        .iter()
        .chain(&workers)
        .chain(&publishers)
        .chain(natives.iter().map(Client::tcp))
        .map(|stream| stream.try_clone().expect("another handle"))
        .collect();
    thread::scope(|scope| {
        let over = &over;
        for client in &natives {
            let stream = client.tcp().try_clone().expect("another handle");
            scope.spawn(|| drain(stream));
        }
        listeners.into_iter().for_each(|stream| drop(scope.spawn(|| drain(stream))));
        workers.into_iter().for_each(|stream| drop(scope.spawn(|| worker(stream))));
        for mut stream in publishers {
            let reader = stream.try_clone().expect("another handle");
            scope.spawn(|| drain(reader));
            scope.spawn(move || {
                for turn in 0.. {
                    if over.load(Ordering::Relaxed) || stream.write_all(&nats_burst(turn)).is_err() {
                        return;
                    }
                    thread::sleep(PAUSE);
                }
            });
        }
        for client in &mut natives[2..] {
            scope.spawn(move || {
                let batch = native_batch();
                while !over.load(Ordering::Relaxed) {
                    (0..BURST).for_each(|number| client.publish("load.native", &payload(10 + number)));
                    client.write(&batch);
                    thread::sleep(PAUSE);
                }
            });
        }
        thread::sleep(time / 2);
        captured.reload();
        thread::sleep(time / 2);
        over.store(true, Ordering::Relaxed);
        thread::sleep(4 * PAUSE);
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    });
}

/// Runs the program on a file. Returns its status, and all it said.
fn replay(file: &Path, flags: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    let Output { status, stdout, stderr } =
        command.arg("replay").arg(file).args(flags).output().expect("it runs");
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (status.code().expect("a status"), text)
}

fn contains(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|part| part == text)
}

#[test]
fn a_server_under_load_is_replayed_to_the_same_bytes() {
    let time = Duration::from_secs(seconds());
    if std::env::var_os(SECONDS).is_some() {
        let plain = Captured::start_in(tempfile::tempdir().expect("a temporary directory"), &[]);
        load(&plain, time);
        let (cost, messages) = (plain.server.cpu_time(), plain.server.metric("ringbolt_messages_in_total"));
        println!("without captures: {messages} messages, server {cost:?} of CPU time");
    }
    let mut captured = Captured::start(&[]);
    load(&captured, time);
    await_some("the reload", || (captured.server.metric("ringbolt_capturing") >= 2.0).then_some(()));
    let (cost, messages) = (captured.server.cpu_time(), captured.server.metric("ringbolt_messages_in_total"));
    println!("with captures: {messages} messages, server {cost:?} of CPU time");
    captured.stop();
    for file in captured.files() {
        let began = Instant::now();
        let (status, text) = replay(&file, &[]);
        let bytes = std::fs::read(&file).expect("a capture");
        println!("{} bytes, replay {:?}\n{text}", bytes.len(), began.elapsed());
        assert!(status == 0 && text.contains("to the same bytes"), "{text}");
        assert!(text.contains("the shard ended"), "{text}");
        assert!(bytes.len() > 100_000 && contains(&bytes, b"load.nats"), "the load is there");
        assert!(contains(&bytes, b"\"subscriptions_max\":50"), "the reload is there");
        assert!(!contains(&bytes, &PAYLOAD[..8]), "a payload is in the file");
        assert!(!contains(&bytes, &PASSWORD.as_bytes()[..8]), "a password is in the file");
    }
}

#[test]
fn payloads_are_kept_if_that_is_asked_for_and_passwords_are_not() {
    let mut captured = Captured::start(&["--capture-payloads", "kept"]);
    load(&captured, Duration::from_millis(500));
    captured.stop();
    for file in captured.files() {
        let (status, text) = replay(&file, &[]);
        assert!(status == 0 && text.contains("to the same bytes"), "{text}");
        let bytes = std::fs::read(&file).expect("a capture");
        assert!(contains(&bytes, PAYLOAD) && !contains(&bytes, &PASSWORD.as_bytes()[..8]));
    }
}

#[test]
fn a_damaged_capture_is_told_by_its_position_and_that_of_a_killed_server_can_be_used() {
    let captured = Captured::start(&[]);
    load(&captured, Duration::from_millis(500));
    captured.server.signal("KILL");
    drop(captured.server);
    let file = captured.folder.path().join("shard-0.ringbolt-capture");
    let whole = std::fs::read(&file).expect("a capture");
    let (status, text) = replay(&file, &[]);
    assert!(status == 2 && text.contains(&format!("byte {}", whole.len())), "{text}");
    let (status, text) = replay(&file, &["--partial"]);
    assert!(status == 0 && text.contains("to the same bytes"), "{text}");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&file, &changed).expect("writes");
    let (status, text) = replay(&file, &[]);
    assert!(status == 2 && text.contains("a block is damaged"), "{text}");
    let (status, text) = replay(&file, &["--partial", "--verbose"]);
    assert!(status == 0 && text.contains("Opened(ConnectionId"), "{text}");
    std::fs::write(&file, b"no capture").expect("writes");
    assert_eq!(replay(&file, &[]).0, 2);
}
