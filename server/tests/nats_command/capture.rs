//! Captures of a server that knows who may connect: without secrets, and with the same decisions.

use super::{Server, await_some, read_past};
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

const SECRETS: [&str; 4] = ["p4ss-of-ann", "t0ken-of-all", "p4ss-of-bob", "wr0ng-guess"];

fn configuration(hash: &str, more: &str) -> String {
    let [ann, ..] = SECRETS;
    format!(
        "accounts {{ A {{ users: [{{user: ann, password: {ann}}}] }}, \
         B {{ users: [{{user: bob, password: \"{hash}\"}}{more}] }} }}"
    )
}

/// A client, and whether it was let in.
fn enters(server: &Server, options: &str) -> bool {
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    let hello = format!("CONNECT {{\"verbose\":false,{options}}}\r\nSUB x 1\r\nPUB x 2\r\nhi\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).expect("it takes bytes");
    read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n")
}

#[test]
fn who_was_let_in_is_let_in_again_and_no_secret_is_in_the_file() {
    let [ann, token, bob, wrong] = SECRETS;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_str().expect("UTF-8");
    let hash = bcrypt::hash(bob, 4).expect("a hash");
    let mut server = Server::start(&configuration(&hash, ""), &["--capture_directory", path]);
    let user = |name: &str, pass: &str| format!("\"user\":\"{name}\",\"pass\":\"{pass}\"");
    for _ in 0..3 {
        assert!(enters(&server, &user("ann", ann)));
        assert!(enters(&server, &user("bob", bob)));
        assert!(!enters(&server, &user("ann", wrong)));
        assert!(!enters(&server, &user("bob", wrong)));
        assert!(!enters(&server, &user("bob", &hash)));
        assert!(!enters(&server, &format!("\"auth_token\":\"{token}\"")));
        assert!(!enters(&server, &user("cid", ann)));
    }
    let cid = ", {user: cid, password: p4ss-of-ann}";
    std::fs::write(server.path("nats.conf"), configuration(&hash, cid)).expect("writes");
    server.tell("reload");
    await_some("the new user", || enters(&server, &user("cid", ann)).then_some(()));
    assert!(!enters(&server, &user("cid", wrong)));
    server.tell("quit");
    assert!(server.await_exit().success());
    let file = directory.path().join("shard-0.ringbolt-capture");
    let replay = Command::new(env!("CARGO_BIN_EXE_ringbolt-server")).arg("replay").arg(&file).output();
    let replay = replay.expect("it runs");
    let text = String::from_utf8_lossy(&[replay.stdout, replay.stderr].concat()).into_owned();
    assert!(replay.status.success() && text.contains("to the same bytes"), "{text}");
    let bytes = std::fs::read(file).expect("a capture");
    let contains = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(contains("ann") && contains("cid"), "who they are is in the file");
    for secret in SECRETS.iter().chain(&[&*hash, "$2b$04"]) {
        assert!(!contains(secret), "{secret} is in the file");
    }
}
