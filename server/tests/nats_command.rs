//! `ringbolt-server nats` in the place of nats-server: flags, configuration file, log lines, files,
//! signals.

#[path = "nats_command/capture.rs"]
mod capture;
#[path = "nats_command/log.rs"]
mod log;
#[path = "nats_command/reload.rs"]
mod reload;
#[path = "nats_command/sharing.rs"]
mod sharing;
#[path = "nats_command/users.rs"]
mod users;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbolt-server"));
    command.arg("nats").args(arguments).stdin(Stdio::null());
    command
}

fn finished(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A running server, awaited as programs await nats-server: by its log.
struct Server {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(configuration: &str, flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, configuration).expect("writes");
        let mut command =
            command(&["-a", "127.0.0.1", "-p", "-1", "--wait=efficient", "--shards", "1", "-c"]);
        let mut child = command.arg(&file).args(flags).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut address = None;
        let ready = lines.by_ref().any(|line| {
            if let Some((_, behind)) = line.split_once("[INF] Listening for client connections on ") {
                address = Some(behind.to_owned());
            }
            line.contains("[INF] Server is ready")
        });
        assert!(ready, "it says when it is ready");
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address: address.expect("it says where it listens"), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tell(&self, signal: &str) {
        let target = format!("{signal}={}", self.child.id());
        let (code, _, stderr) = finished(&["--signal", &target]);
        assert_eq!(code, Some(0), "{stderr}");
    }

    /// What the server says to these words, up to the end of the stream or `end`.
    fn converse(&self, words: &str, end: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it accepts");
        stream.write_all(words.as_bytes()).expect("it takes bytes");
        read_past(&mut stream, end)
    }

    fn await_exit(&mut self) -> ExitStatus {
        await_some("the end of the server", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_past(stream: &mut TcpStream, end: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut text = String::new();
    let mut byte = [0];
    while end.is_empty() || !text.ends_with(end) {
        match stream.read(&mut byte) {
            Ok(1) => text.push(char::from(byte[0])),
            _ => break,
        }
    }
    text
}

fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const PING: &str = "CONNECT {\"verbose\":false}\r\nPING\r\n";

#[test]
fn a_realistic_configuration_starts_the_server() {
    let configuration = r#"
        # What a small installation looks like.
        server_name: "harbour"
        http: "127.0.0.1:-1"
        max_payload: 64kb
        max_control_line: 2kb
        max_connections: 2
        max_subscriptions: 3
        max_pending: 4MB
        ping_interval: "20s", ping_max: 3
        write_deadline: "2s"
        lame_duck_duration: "30s"
        authorization {
            timeout: 1.5
            default_permissions: { publish: ">", subscribe: ">" }
            users = [
                { user: ann, password: "secret" }
                { user: bob, password: "secret", permissions: { publish: "a.>", subscribe: { deny: "b" } } }
            ]
        }
    "#;
    let server = Server::start(configuration, &[]);
    let info = server.converse("", "\r\n");
    for field in ["\"server_name\":\"harbour\"", "\"max_payload\":65536", "\"auth_required\":true"] {
        assert!(info.contains(field), "{info}");
    }
    let hello = "CONNECT {\"user\":\"bob\",\"pass\":\"secret\",\"verbose\":false}\r\n";
    let answer = server.converse(
        &format!("{hello}PUB b 1\r\nx\r\nSUB b 1\r\nSUB c 2\r\nSUB d 3\r\nSUB e 4\r\nSUB f 5\r\nPING\r\n"),
        "PONG\r\n",
    );
    let (_, answer) = answer.split_once("\r\n").expect("INFO first");
    assert_eq!(
        answer,
        "-ERR 'Permissions Violation for Publish to \"b\"'\r\n\
         -ERR 'Permissions Violation for Subscription to \"b\"'\r\n\
         -ERR 'maximum subscriptions exceeded'\r\nPONG\r\n"
    );
    assert!(server.converse(PING, "").ends_with("-ERR 'Authorization Violation'\r\n"));
    let open: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).expect("it accepts");
            read_past(&mut stream, "\r\n");
            stream
        })
        .collect();
    assert!(server.converse("", "").ends_with("-ERR 'maximum connections exceeded'\r\n"));
    drop(open);
}

#[test]
fn a_rule_about_a_queue_group_holds_whatever_options_stand_behind_its_name() {
    let configuration = r#"
        authorization { users = [
            { user: bob, password: "secret", permissions: { subscribe: { deny: "jobs workers" } } }
        ] }
    "#;
    let server = Server::start(configuration, &[]);
    let hello = "CONNECT {\"user\":\"bob\",\"pass\":\"secret\",\"verbose\":false}\r\n";
    for group in ["workers", "workers;ack", "workers;ack;inflight=1;key=User"] {
        let answer = server.converse(&format!("{hello}SUB jobs {group} 1\r\nPING\r\n"), "PONG\r\n");
        assert!(answer.contains("Permissions Violation for Subscription to \"jobs\""), "{group}: {answer}");
    }
    let answer = server.converse(&format!("{hello}SUB jobs others;ack 1\r\nPING\r\n"), "PONG\r\n");
    assert!(!answer.contains("-ERR"), "{answer}");
}

#[test]
fn a_client_that_says_nothing_is_told_that_its_time_is_up() {
    let server = Server::start("authorization { token: abc, timeout: \"1s\" }", &[]);
    assert!(server.converse("", "").ends_with("-ERR 'Authentication Timeout'\r\n"));
    let right = "CONNECT {\"auth_token\":\"abc\",\"verbose\":false}\r\nPING\r\n";
    assert!(server.converse(right, "PONG\r\n").ends_with("PONG\r\n"));
}

#[test]
fn passwords_may_be_hashed_and_users_may_sign() {
    let user = nkeys::KeyPair::new_user();
    let hash = bcrypt::hash("open", 5).expect("a hash");
    let configuration = format!(
        "authorization {{ users: [{{user: ann, password: \"{hash}\"}} {{nkey: {}}}] }}",
        user.public_key()
    );
    let server = Server::start(&configuration, &[]);
    for (password, right) in [("open", true), ("shut", false)] {
        let hello = format!("CONNECT {{\"user\":\"ann\",\"pass\":\"{password}\",\"verbose\":false}}\r\n");
        // What follows at once waits until the password is verified.
        let answer = server.converse(&format!("{hello}SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n"), "PONG\r\n");
        assert_eq!(answer.ends_with("MSG a 1 1\r\nx\r\nPONG\r\n"), right, "{answer}");
        assert_eq!(answer.ends_with("-ERR 'Authorization Violation'\r\n"), !right, "{answer}");
    }
    for right in [true, false] {
        let mut stream = TcpStream::connect(&server.address).expect("it accepts");
        let info = read_past(&mut stream, "\r\n");
        let nonce =
            info.split("\"nonce\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let signed = if right { nonce } else { "another" };
        let signature = user.sign(signed.as_bytes()).expect("a signature");
        let signature = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature);
        let (key, verbose) = (user.public_key(), false);
        let hello = format!(
            "CONNECT {{\"nkey\":\"{key}\",\"sig\":\"{signature}\",\"verbose\":{verbose}}}\r\nPING\r\n"
        );
        stream.write_all(hello.as_bytes()).expect("it takes bytes");
        let answer = read_past(&mut stream, "PONG\r\n");
        assert_eq!(answer == "PONG\r\n", right, "{answer}");
    }
}

#[test]
fn accounts_do_not_hear_each_other() {
    let configuration =
        "accounts { A: {users: [{user: a, password: a}]}, B: {users: [{user: b, password: b}]} }";
    let server = Server::start(configuration, &[]);
    let mut streams = ["a", "b"].map(|name| {
        let mut stream = TcpStream::connect(&server.address).expect("it accepts");
        let hello = format!("CONNECT {{\"user\":\"{name}\",\"pass\":\"{name}\",\"verbose\":false}}\r\n");
        stream.write_all(format!("{hello}SUB > 1\r\nPING\r\n").as_bytes()).expect("it takes bytes");
        assert!(read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n"));
        stream
    });
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("PUB x{number} 1\r\nx\r\nPING\r\n").as_bytes()).expect("it takes bytes");
        assert_eq!(read_past(stream, "PONG\r\n"), format!("MSG x{number} 1 1\r\nx\r\nPONG\r\n"));
    }
    for stream in &mut streams {
        stream.write_all(b"PING\r\n").expect("it takes bytes");
        assert_eq!(read_past(stream, "PONG\r\n"), "PONG\r\n", "nothing of the other account");
    }
}

#[test]
fn files_say_where_the_server_is_and_go_with_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (pid_file, ports) = (folder.path().join("pid"), folder.path().to_str().expect("UTF-8"));
    let flags = ["-P", pid_file.to_str().expect("UTF-8"), "--ports_file_dir", ports, "-m", "-1"];
    let mut server = Server::start("", &flags);
    let pid = server.child.id();
    assert_eq!(std::fs::read_to_string(&pid_file).expect("a pid file").trim(), pid.to_string());
    let ports_file = folder.path().join(format!("nats-server_{pid}.ports"));
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&ports_file).expect("a ports file")).expect("JSON");
    assert_eq!(ports["nats"][0], format!("nats://{}", server.address));
    assert!(ports["monitoring"][0].as_str().expect("a URL").starts_with("http://127.0.0.1:"));
    let (code, _, stderr) = finished(&["--signal", &format!("quit={}", pid_file.display())]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(server.await_exit().success());
    assert!(!pid_file.exists() && !ports_file.exists());
}

#[test]
fn a_reload_changes_who_may_connect_and_a_wrong_file_changes_nothing() {
    let users = |list: &str| format!("max_payload: 1MB\nauthorization {{ users: [{list}] }}");
    let (ann, bob) = ("{user: ann, password: a}", "{user: bob, password: b}");
    let server = Server::start(&users(&format!("{ann} {bob}")), &[]);
    let mut clients = [("ann", "a"), ("bob", "b")].map(|(user, password)| {
        let mut stream = TcpStream::connect(&server.address).expect("it accepts");
        let hello = format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false}}\r\n");
        stream.write_all(format!("{hello}SUB {user} 1\r\nPING\r\n").as_bytes()).expect("it takes bytes");
        read_past(&mut stream, "PONG\r\n");
        stream
    });
    let restricted = "{user: bob, password: b, permissions: {publish: x, subscribe: x}}";
    std::fs::write(server.path("nats.conf"), users(restricted)).expect("writes");
    server.tell("reload");
    assert!(read_past(&mut clients[0], "").ends_with("-ERR 'Authorization Violation'\r\n"));
    let violation = "-ERR 'Permissions Violation for Subscription to \"bob\"'\r\n";
    assert_eq!(read_past(&mut clients[1], "\r\n"), violation);
    // Limits change too.
    std::fs::write(server.path("nats.conf"), users(restricted).replace("1MB", "1KB")).expect("writes");
    server.tell("reload");
    await_some("the new limit", || {
        server.converse("", "\r\n").contains("\"max_payload\":1024").then_some(())
    });
    // A file that is wrong changes nothing.
    std::fs::write(server.path("nats.conf"), "max_paylod: 1").expect("writes");
    server.tell("reload");
    clients[1].write_all(b"PUB x 1\r\nx\r\nPUB y 1\r\ny\r\nPING\r\n").expect("it takes bytes");
    let answer = read_past(&mut clients[1], "PONG\r\n");
    assert_eq!(answer, "-ERR 'Permissions Violation for Publish to \"y\"'\r\nPONG\r\n");
}

#[test]
fn a_moved_log_is_opened_again() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (log, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut child = command(&["-a", "127.0.0.1", "-p", "-1", "--shards", "1", "-l"])
        .arg(&log)
        .spawn()
        .expect("it starts");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    await_some("the log", || text(&log).contains("Server is ready").then_some(()));
    std::fs::rename(&log, &moved).expect("renames");
    finished(&["--signal", &format!("reopen={}", child.id())]);
    await_some("the new log", || text(&log).contains("File log re-opened").then_some(()));
    finished(&["--signal", &format!("term={}", child.id())]);
    assert!(child.wait().expect("a child").success());
    assert!(text(&log).contains("stopped") && !text(&moved).contains("stopped"));
}

#[test]
fn a_lame_duck_tells_its_clients_and_closes_them_little_by_little() {
    let configuration = "lame_duck_grace_period: \"1s\", lame_duck_duration: \"2s\"";
    let mut server = Server::start(configuration, &[]);
    let mut clients: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).expect("it accepts");
            stream
                .write_all(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n")
                .expect("it takes bytes");
            read_past(&mut stream, "PONG\r\n");
            stream
        })
        .collect();
    server.tell("ldm");
    for client in &mut clients {
        let info = read_past(client, "\r\n");
        assert!(info.starts_with("INFO ") && info.contains("\"ldm\":true"), "{info}");
    }
    assert!(TcpStream::connect(&server.address).is_err(), "nobody new");
    let ends: Vec<Instant> = clients
        .iter_mut()
        .map(|client| {
            assert_eq!(read_past(client, ""), "", "closed without a word");
            Instant::now()
        })
        .collect();
    let spread = ends.iter().max().expect("four").duration_since(*ends.iter().min().expect("four"));
    assert!(spread > Duration::from_millis(500), "closed over {spread:?}");
    assert!(server.await_exit().success());
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("a.conf");
    let path = file.to_str().expect("UTF-8");
    for (text, told) in [
        ("port: 4222\nmax_paylod: 1", "a.conf:2: unknown field \"max_paylod\""),
        (
            "\njetstream: true",
            "a.conf:2: jetstream is not supported yet: remove it, or start with --ignore jetstream",
        ),
        ("tls { cert_file: x }", "a.conf:1: tls is not supported yet"),
        ("max_payload: lots", "a.conf:1: takes a number"),
        ("ping_interval: soon", "a.conf:1: takes a time"),
        ("no_auth_user: eve", "a.conf:1: no_auth_user: there is no user 'eve'"),
        ("authorization { users: [{user: a, permissions: {publish: \"a..b\"}}] }", "'a..b' is not a subject"),
        ("authorization { users: [{nkey: UABC}] }", "nkey is not the public key of a user"),
        ("host: {", "a.conf:1: a '}' is missing"),
        ("max_payload: 1", "payload_bytes_max: 1 is out of bounds"),
    ] {
        std::fs::write(&file, text).expect("writes");
        let (code, _, stderr) = finished(&["-t", "-c", path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(stderr.contains(told), "{text}: {stderr}");
    }
    std::fs::write(&file, "jetstream: true\ncluster { port: 1 }").expect("writes");
    let (code, stdout, _) = finished(&["-t", "-c", path, "--ignore", "jetstream,cluster"]);
    assert_eq!((code, stdout.contains("is valid")), (Some(0), true));
    for (arguments, told) in [(&["--jetstream"][..], "is not a flag"), (&["-p", "many"], "wants a number")] {
        let (code, _, stderr) = finished(arguments);
        assert!(code == Some(2) && stderr.contains(told), "{stderr}");
    }
    let (code, stdout, _) = finished(&["--version"]);
    assert!(code == Some(0) && stdout.starts_with("nats-server: v2."), "{stdout}");
    let (code, stdout, _) = finished(&["--help"]);
    assert!(code == Some(0) && stdout.contains("-p, -port PORT"), "{stdout}");
}

/// The body of a page.
fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the monitoring address accepts");
    let head = format!("GET {path} HTTP/1.1\r\nRingbolt-Admin: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it takes bytes");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

fn json(address: &str, path: &str) -> serde_json::Value {
    let text = page(address, path);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

/// A server and the address of its pages.
fn monitored(configuration: &str) -> (Server, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().to_str().expect("UTF-8");
    let server = Server::start(configuration, &["-m", "-1", "--ports_file_dir", path]);
    let ports = folder.path().join(format!("nats-server_{}.ports", server.child.id()));
    let ports = std::fs::read_to_string(ports).expect("a ports file");
    let address = ports.split("http://").nth(1).and_then(|rest| rest.split('"').next());
    (server, address.expect("an address").to_owned())
}

#[test]
fn monitoring_pages_have_the_fields_that_tools_read() {
    let (server, address) = monitored("authorization { users: [{user: ann, password: a}] }");
    let json = |path: &str| json(&address, path);
    let clients: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(&server.address).expect("it accepts");
            let hello = format!(
                "CONNECT {{\"user\":\"ann\",\"pass\":\"a\",\"name\":\"c{number}\",\"verbose\":false}}\r\n\
                 SUB only.{number} q 7\r\n"
            );
            let publish = "PUB only.5 3\r\nabc\r\n".repeat(number % 10);
            stream.write_all(format!("{hello}{publish}PING\r\n").as_bytes()).expect("it takes bytes");
            assert!(read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n"));
            stream
        })
        .collect();
    let connz = json("/connz?subs=1&auth=1&sort=msgs_from&limit=10&offset=0");
    assert_eq!((&connz["total"], &connz["num_connections"]), (&300.into(), &10.into()));
    let first = &connz["connections"][0];
    assert_eq!((&first["in_msgs"], &first["in_bytes"]), (&9.into(), &27.into()));
    assert_eq!((&first["account"], &first["authorized_user"]), (&"$G".into(), &"ann".into()));
    let name = first["name"].as_str().expect("a name");
    assert_eq!(first["subscriptions_list"][0], format!("only.{}", &name[1..]));
    let detail = json("/connz?subs=detail&limit=1&offset=299&sort=cid");
    assert_eq!(detail["connections"][0]["subscriptions_list_detail"][0]["qgroup"], "q");
    assert_eq!(page(&address, "/connz?sort=color"), "invalid sorting option: color\n");
    await_some("the counters", || (json("/varz")["connections"] == 300).then_some(()));
    let varz = json("/varz");
    assert_eq!((&varz["in_msgs"], &varz["subscriptions"]), (&(30 * 45).into(), &300.into()));
    assert_eq!((&varz["auth_required"], &varz["max_payload"]), (&true.into(), &(1 << 20).into()));
    assert_eq!(json("/subsz")["num_subscriptions"], 300);
    assert_eq!(json("/routez")["num_routes"], 0);
    assert_eq!(json("/healthz")["status"], "ok");
    drop(clients);
}

#[test]
fn accounts_have_streams_and_services_from_one_another() {
    let configuration = r#"
        accounts {
            A: {
                users: [{user: a, password: a}]
                exports: [{stream: "news.>"}, {service: "ask.*"}, {stream: "secret", accounts: [C]}]
            }
            B: {
                users: [{user: b, password: b}]
                imports: [
                    {stream: {account: A, subject: "news.*"}, prefix: "from.a"}
                    {stream: {account: A, subject: "news.eu"}, to: "eu"}
                    {service: {account: A, subject: "ask.time"}, to: "time"}
                ]
            }
        }
    "#;
    for shards in ["1", "2"] {
        let server = Server::start(configuration, &["--shards", shards]);
        let connect = |name: &str, subscriptions: &str| {
            let mut stream = TcpStream::connect(&server.address).expect("it accepts");
            let options =
                format!("\"user\":\"{name}\",\"pass\":\"{name}\",\"verbose\":false,\"headers\":true");
            let hello = format!("CONNECT {{{options},\"no_responders\":true}}\r\n{subscriptions}PING\r\n");
            stream.write_all(hello.as_bytes()).expect("it takes bytes");
            assert!(read_past(&mut stream, "PONG\r\n").ends_with("PONG\r\n"));
            stream
        };
        let mut a = connect("a", "SUB ask.* 1\r\n");
        let mut b = connect("b", "SUB > 1\r\nSUB inbox.* 2\r\n");
        a.write_all(
            b"PUB news.eu 1\r\nx\r\nPUB news.us 1\r\ny\r\nPUB news.a.b 1\r\nz\r\nPUB secret 1\r\ns\r\n",
        )
        .expect("it takes bytes");
        let heard = read_past(&mut b, "y\r\n");
        let mut heard: Vec<&str> = heard.split_inclusive("\r\n").collect();
        assert_eq!(heard.len(), 6, "{heard:?}");
        heard.sort_unstable();
        assert_eq!(
            &heard[..3],
            ["MSG eu 1 1\r\n", "MSG from.a.news.eu 1 1\r\n", "MSG from.a.news.us 1 1\r\n"]
        );
        // A request of B is answered by A, which sees neither the subject nor the inbox of B.
        b.write_all(b"PUB time inbox.7 3\r\nnow\r\n").expect("it takes bytes");
        let line = read_past(&mut a, "now\r\n");
        let reply = line.split(' ').nth(3).expect("a reply subject").to_owned();
        assert!(line.starts_with("MSG ask.time 1 _R_.") && reply.ends_with(".inbox.7"), "{line}");
        a.write_all(format!("PUB {reply} 4\r\nnoon\r\n").as_bytes()).expect("it takes bytes");
        let forged = reply.replace("inbox.7", "inbox.8");
        a.write_all(format!("PUB {forged} 6\r\nforged\r\nPUB news.us 3\r\nend\r\n").as_bytes())
            .expect("it takes bytes");
        let heard = read_past(&mut b, "end\r\n");
        assert_eq!(heard.matches("noon\r\n").count(), 2, "both subscriptions: {heard}");
        assert!(!heard.contains("forged") && heard.contains("MSG time 1 inbox.7 3"), "{heard}");
    }
}

#[test]
fn what_is_imported_must_be_exported() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("a.conf");
    for (imports, told) in [
        ("{stream: {account: A, subject: \"other\"}}", "account 'A' does not export 'other' to this one"),
        ("{stream: {account: A, subject: \"s\"}}", "account 'A' does not export 's' to this one"),
        ("{service: {account: A, subject: \"a.b\"}}", "account 'A' does not export 'a.b' to this one"),
        ("{stream: {account: X, subject: \"a.b\"}}", "there is no account 'X'"),
        ("{stream: \"a.b\"}", "takes a block"),
        ("{}", "an import is a stream or a service of an account and a subject"),
    ] {
        let exports = "exports: [{stream: \"a.>\"}, {stream: s, accounts: [C]}]";
        let text = format!("accounts {{ A {{ {exports} }}\nB {{ imports: [{imports}] }} }}");
        std::fs::write(&file, &text).expect("writes");
        let (code, _, stderr) = finished(&["-t", "-c", file.to_str().expect("UTF-8")]);
        assert!(code == Some(2) && stderr.contains(told), "{text}: {stderr}");
    }
}

#[test]
fn a_client_that_answers_no_ping_is_stale() {
    let server = Server::start("ping_interval: \"1s\", ping_max: 2", &[]);
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    stream.write_all(b"CONNECT {\"verbose\":false}\r\n").expect("it takes bytes");
    let heard = read_past(&mut stream, "");
    let (_, heard) = heard.split_once("\r\n").expect("INFO first");
    assert_eq!(heard, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    // One that answers stays.
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    read_past(&mut stream, "\r\n");
    for _ in 0..4 {
        assert_eq!(read_past(&mut stream, "PING\r\n"), "PING\r\n");
        stream.write_all(b"PONG\r\n").expect("it takes bytes");
    }
}
