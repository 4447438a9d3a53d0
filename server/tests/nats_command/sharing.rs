//! What accounts have from one another: how often a message comes, and what may not be imported. All as
//! nats-server 2.15.1 does it.

use super::{Server, finished, read_past};
use std::io::Write;
use std::net::TcpStream;

/// Accounts A, B and C, each with a user of its name, and these exports and imports.
fn accounts(parts: [&str; 3]) -> String {
    let account = |(name, part): (&str, &str)| {
        let user = name.to_lowercase();
        format!("{name} {{ users: [{{user: {user}, password: {user}}}]\n{part} }}\n")
    };
    format!("accounts {{ {} }}", ["A", "B", "C"].into_iter().zip(parts).map(account).collect::<String>())
}

/// A client that subscribed to everything.
fn listener(server: &Server, user: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    let hello = format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"{user}\",\"verbose\":false}}\r\n");
    stream.write_all(format!("{hello}SUB > 1\r\nPING\r\n").as_bytes()).expect("it takes bytes");
    assert!(read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n"));
    stream
}

#[test]
fn a_message_comes_as_often_as_with_nats_server() {
    let give_a = "exports: [{stream: \"a.>\"}, {service: \"a.x\"}, {service: \"q\"}]";
    let take_both =
        "imports: [{stream: {account: A, subject: \"a.>\"}}, {service: {account: A, subject: \"a.x\"}}]";
    for (parts, (user, subject), heard) in [
        // A stream goes no further, neither as a stream nor as a service.
        (
            [
                give_a,
                "exports: [{stream: \"a.>\"}], imports: [{stream: {account: A, subject: \"a.>\"}}]",
                "imports: [{stream: {account: B, subject: \"a.>\"}}]",
            ],
            ("a", "a.b"),
            [1, 1, 0],
        ),
        ([give_a, take_both, ""], ("a", "a.x"), [1, 1, 0]),
        ([give_a, take_both, ""], ("b", "a.x"), [1, 1, 0]),
        // A service asks those behind it.
        (
            [
                give_a,
                "exports: [{service: q}], imports: [{service: {account: A, subject: q}}]",
                "imports: [{service: {account: B, subject: q}}]",
            ],
            ("c", "q"),
            [1, 1, 1],
        ),
        // What an account has of itself comes once more.
        (
            ["exports: [{stream: s}], imports: [{stream: {account: A, subject: s}}]", "", ""],
            ("a", "s"),
            [2, 0, 0],
        ),
        (
            ["exports: [{service: s}], imports: [{service: {account: A, subject: s}}]", "", ""],
            ("a", "s"),
            [2, 0, 0],
        ),
    ] {
        let server = Server::start(&accounts(parts), &[]);
        let mut clients = ["a", "b", "c"].map(|user| listener(&server, user));
        let place = ["a", "b", "c"].iter().position(|&name| name == user).expect("one of them");
        let mut ask = |place: usize, words: &str| {
            clients[place].write_all(format!("{words}PING\r\n").as_bytes()).expect("it takes bytes");
            read_past(&mut clients[place], "PONG\r\n")
        };
        let own = ask(place, &format!("PUB {subject} 1\r\nx\r\n"));
        let count = |text: &str| text.matches("MSG ").count();
        let counts = [0, 1, 2].map(|other| count(&if other == place { own.clone() } else { ask(other, "") }));
        assert_eq!(counts, heard, "{user} publishes {subject}: {parts:?}");
    }
}

#[test]
fn imports_in_a_circle_and_imports_that_are_there_twice_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("a.conf");
    let stream = |account: &str, subject: &str, more: &str| {
        format!("imports: [\n{{stream: {{account: {account}, subject: \"{subject}\"}}{more}}}]")
    };
    let service = |account: &str, subject: &str, more: &str| {
        format!("imports: [\n{{service: {{account: {account}, subject: \"{subject}\"}}{more}}}]")
    };
    let all = "exports: [{stream: \">\"}, {service: \">\"}]\n";
    for (imports, told) in [
        ([stream("B", "a.>", ""), stream("A", "a.>", ""), String::new()], Some("forms a cycle")),
        (
            [stream("B", "a.>", ", prefix: a"), stream("A", "a.>", ", prefix: a"), String::new()],
            Some("forms a cycle"),
        ),
        ([service("B", "q", ""), service("A", "q", ""), String::new()], Some("forms a cycle")),
        ([service("B", "r", ", to: q"), service("A", "q", ", to: r"), String::new()], Some("forms a cycle")),
        ([stream("C", "a", ""), stream("A", "a", ""), stream("B", "a", "")], Some("forms a cycle")),
        ([stream("B", "b.>", ""), stream("A", "a.>", ""), String::new()], None),
        ([service("B", "r", ", to: x"), service("A", "q", ", to: y"), String::new()], None),
        ([service("B", "a.x", ""), stream("A", "a.>", ""), String::new()], None),
        ([stream("A", "a", ""), service("B", "a", ""), String::new()], None),
        (
            [
                String::new(),
                "imports: [{stream: {account: A, subject: a}},\n{stream: {account: A, subject: a}, to: b}]"
                    .to_owned(),
                String::new(),
            ],
            Some("imported already"),
        ),
        (
            [
                String::new(),
                "imports: [{service: {account: A, subject: a}, to: x},\n\
                 {service: {account: A, subject: b}, to: x}]"
                    .to_owned(),
                String::new(),
            ],
            Some("imported already"),
        ),
    ] {
        let parts = imports.map(|imports| format!("{all}{imports}"));
        let text = accounts([&parts[0], &parts[1], &parts[2]]);
        std::fs::write(&file, &text).expect("writes");
        let (code, _, stderr) = finished(&["-t", "-c", file.to_str().expect("UTF-8")]);
        match told {
            None => assert_eq!(code, Some(0), "{text}: {stderr}"),
            Some(told) => {
                assert!(code == Some(2) && stderr.contains(told), "{text}: {stderr}");
                assert!(stderr.contains("a.conf:"), "with its line: {stderr}");
            }
        }
    }
}
