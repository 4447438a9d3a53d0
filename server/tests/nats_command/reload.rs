//! What stays whose when the accounts and users of a running server change.

use super::{Server, await_some, json, monitored, read_past};
use std::io::Write;
use std::net::TcpStream;

fn accounts(names: &str) -> String {
    let account = |name: char| {
        let user = name.to_ascii_lowercase();
        format!("{name} {{ users: [{{user: {user}, password: {user}}}] }}\n")
    };
    format!("accounts {{ {} }}", names.chars().map(account).collect::<String>())
}

/// A client of an account, and whether it was let in.
fn join(server: &Server, user: &str, words: &str) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    let hello = format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"{user}\",\"verbose\":false}}\r\n");
    stream.write_all(format!("{hello}{words}PING\r\n").as_bytes()).expect("it takes bytes");
    let joined = read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n");
    (stream, joined)
}

/// Puts these accounts in force; `newcomer` is a user that was not known before.
fn reload(server: &Server, names: &str, newcomer: &str) {
    std::fs::write(server.path("nats.conf"), accounts(names)).expect("writes");
    server.tell("reload");
    await_some("the new accounts", || join(server, newcomer, "").1.then_some(()));
}

fn ask(stream: &mut TcpStream, words: &str) -> String {
    stream.write_all(format!("{words}PING\r\n").as_bytes()).expect("it takes bytes");
    read_past(stream, "PONG\r\n")
}

#[test]
fn what_an_account_has_stays_its_own_when_others_come_before_it() {
    let server = Server::start(&accounts("A"), &["-m", "-1"]);
    reload(&server, "AB", "b");
    let (mut b, joined) = join(&server, "b", "SUB x 1\r\n");
    assert!(joined, "b is a user of B");
    // A message of B that is kept until a member of the group takes it.
    drop(join(&server, "b", "SUB jobs workers;ack 1\r\nPUB jobs 1\r\nj\r\n"));
    reload(&server, "ACB", "c");
    assert_eq!(ask(&mut b, "PUB x 1\r\nx\r\n"), "MSG x 1 1\r\nx\r\nPONG\r\n", "b goes on as it was");
    let (mut c, joined) = join(&server, "c", "SUB > 1\r\nSUB jobs workers;ack 2\r\n");
    assert!(joined, "c is a user of C");
    assert_eq!(ask(&mut c, ""), "PONG\r\n", "nothing of B");
    let (mut b, _) = join(&server, "b", "");
    let heard = ask(&mut b, "SUB jobs workers;ack 1\r\n") + &read_past(&mut b, "j\r\n");
    assert!(heard.contains("MSG jobs 1 "), "{heard}");
}

#[test]
fn an_account_that_went_and_comes_back_is_another_one() {
    let server = Server::start(&accounts("AB"), &[]);
    let (mut b, _) = join(&server, "b", "SUB x 1\r\n");
    drop(join(&server, "b", "SUB jobs workers;ack 1\r\nPUB jobs 1\r\nj\r\n"));
    reload(&server, "AC", "c");
    assert!(read_past(&mut b, "").contains("-ERR 'Authorization Violation'"), "its account went");
    reload(&server, "ABD", "d");
    let (mut b, joined) = join(&server, "b", "SUB jobs workers;ack 1\r\n");
    assert!(joined, "b is a user again");
    assert_eq!(ask(&mut b, ""), "PONG\r\n", "what the former B kept is not its own");
}

#[test]
fn a_smaller_payload_is_for_messages_that_begin_after_the_reload() {
    let server = Server::start("max_payload: 64KB", &[]);
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB x 1\r\nPING\r\n").expect("it takes bytes");
    read_past(&mut stream, "PONG\r\n");
    let payload = "y".repeat(2000);
    let (begun, rest) = payload.split_at(1000);
    stream.write_all(format!("PING\r\nPUB x 2000\r\n{begun}").as_bytes()).expect("it takes bytes");
    read_past(&mut stream, "PONG\r\n");
    std::fs::write(server.path("nats.conf"), "max_payload: 1KB").expect("writes");
    server.tell("reload");
    await_some("the new limit", || {
        server.converse("", "\r\n").contains("\"max_payload\":1024").then_some(())
    });
    assert_eq!(ask(&mut stream, &format!("{rest}\r\n")), format!("MSG x 1 2000\r\n{payload}\r\nPONG\r\n"));
    stream.write_all(format!("PUB x 2000\r\n{payload}\r\nPING\r\n").as_bytes()).expect("it takes bytes");
    assert_eq!(read_past(&mut stream, ""), "-ERR 'Maximum Payload Violation'\r\n");
}

#[test]
fn monitoring_shows_what_is_in_force_and_names_accounts() {
    let (server, address) = monitored("max_payload: 64KB");
    let varz = json(&address, "/varz");
    assert_eq!((&varz["auth_required"], &varz["max_payload"]), (&false.into(), &(64 << 10).into()));
    let loaded = varz["config_load_time"].clone();
    std::fs::write(server.path("nats.conf"), format!("max_payload: 1KB\n{}", accounts("AB")))
        .expect("writes");
    server.tell("reload");
    await_some("the new settings", || (json(&address, "/varz")["auth_required"] == true).then_some(()));
    let varz = json(&address, "/varz");
    assert_eq!(varz["max_payload"], 1024);
    assert!(varz["config_load_time"].as_str() > loaded.as_str(), "{varz}");
    let hello = "CONNECT {\"user\":\"b\",\"pass\":\"b\",\"verbose\":false,\"headers\":true}\r\n";
    let headers = "NATS/1.0\r\nRingbolt-Unroutable: dead-letter\r\n\r\n";
    let publish = format!("HPUB lost {0} {0}\r\n{headers}\r\n", headers.len());
    let joined = || {
        let answer = server.converse(&format!("{hello}PING\r\n"), "PONG\r\n");
        answer.ends_with("PONG\r\n").then_some(())
    };
    await_some("the account on its shard", joined);
    server.converse(&format!("{hello}{publish}PING\r\n"), "PONG\r\n");
    assert_eq!(json(&address, "/dead-letters")[0]["account"], "B");
}
