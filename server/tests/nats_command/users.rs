//! Who gets in by what stands in the file. All as nats-server 2.15.1 does it.

use super::{Server, finished, read_past};
use std::io::Write;
use std::net::TcpStream;

/// Whether a client with these options gets in.
fn enters(server: &Server, options: &str) -> bool {
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    let hello = format!("CONNECT {{\"verbose\":false{options}}}\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).expect("it takes bytes");
    read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n")
}

fn of(user: &str) -> String {
    format!(",\"user\":\"{user}\",\"pass\":\"{user}\"")
}

const A: &str = "{user: a, password: a}";
const B: &str = "{user: b, password: b}";

#[test]
fn who_only_named_who_may_watch_the_server_lets_everyone_else_in() {
    for (configuration, unnamed) in [
        (format!("accounts {{ SYS {{ users: [{A}] }} }}\nsystem_account: SYS"), true),
        (format!("system_account: SYS\naccounts {{ SYS {{ users: [{A}] }} }}"), true),
        (format!("accounts {{ $SYS {{ users: [{A}] }} }}"), true),
        (format!("accounts {{ SYS {{ users: [{A}] }}, APP {{}} }}\nsystem_account: SYS"), false),
        (
            format!("accounts {{ SYS {{ users: [{A}] }}, APP {{ users: [{B}] }} }}\nsystem_account: SYS"),
            false,
        ),
        (format!("accounts {{ APP {{ users: [{A}] }} }}"), false),
        ("authorization { token: \"\" }".to_owned(), true),
        ("authorization { users: [] }".to_owned(), true),
    ] {
        let server = Server::start(&configuration, &[]);
        assert_eq!(enters(&server, ""), unnamed, "{configuration}");
        if configuration.contains(A) {
            assert!(enters(&server, &of("a")), "{configuration}");
            assert!(!enters(&server, ",\"user\":\"a\",\"pass\":\"x\""), "{configuration}");
            assert!(!enters(&server, ",\"user\":\"\",\"pass\":\"x\""), "{configuration}");
        }
    }
}

#[test]
fn of_two_blocks_the_later_counts() {
    for configuration in [
        format!("authorization {{ users: [{A}] }}\nauthorization {{ users: [{B}] }}"),
        format!("authorization {{ token: t }}\nauthorization {{ users: [{B}] }}"),
        format!("authorization {{ users: [{A}]\nusers: [{B}] }}"),
        format!("accounts {{ X {{ users: [{A}] }} }}\naccounts {{ Y {{ users: [{B}] }} }}"),
        format!("accounts {{ X {{ users: [{A}] }}\nX {{ users: [{B}] }} }}"),
    ] {
        let server = Server::start(&configuration, &[]);
        assert!(enters(&server, &of("b")), "{configuration}");
        assert!(!enters(&server, &of("a")), "{configuration}");
        assert!(!enters(&server, ",\"auth_token\":\"t\""), "{configuration}");
    }
}

#[test]
fn users_that_contradict_each_other_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("a.conf");
    let twice = "user 'a' is there twice";
    let list = "there is either one user or token, or a list of users";
    let accounts = "there is either one user or token, or users of accounts";
    for (text, told) in [
        (format!("authorization {{ users: [{A}\n{A}] }}"), twice),
        (format!("accounts {{ X {{ users: [{A}] }}\nY {{ users: [{A}] }} }}"), twice),
        (format!("accounts {{ X {{ users: [{A}] }} }}\nauthorization {{ users: [{A}] }}"), twice),
        (format!("authorization {{ token: t, users: [{A}] }}"), list),
        (format!("authorization {{ user: z, password: z, users: [{A}] }}"), list),
        (
            "authorization { user: z, password: z, token: t }".to_owned(),
            "either a user with a password or a token",
        ),
        (format!("authorization {{ token: t }}\naccounts {{ X {{ users: [{A}] }} }}"), accounts),
        (format!("accounts {{ X {{ users: [{A}] }} }}\nauthorization {{ user: z, password: z }}"), accounts),
        ("authorization { users: [{user: \"\", password: a}] }".to_owned(), "a user has a name"),
        (format!("accounts {{ $G {{ users: [{A}] }} }}"), "$G is the account of all others"),
        (format!("accounts {{ X {{ users: [{A}] }} }}\nsystem_account: SYS"), "there is no account 'SYS'"),
    ] {
        std::fs::write(&file, &text).expect("writes");
        let (code, _, stderr) = finished(&["-t", "-c", file.to_str().expect("UTF-8")]);
        assert!(code == Some(2) && stderr.contains(told) && stderr.contains("a.conf:"), "{text}: {stderr}");
    }
}
