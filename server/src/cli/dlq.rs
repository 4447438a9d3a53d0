//! `ringbolt-server dlq`: the dead letters of a running server, over its admin address.

use super::words::{EXIT_HOST, complain, say};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use ringbolt_protocol::headers::one_line;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// A server that says nothing for so long is not there.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
const HEADERS_MAX: usize = 16;

pub fn command() -> Command {
    let id = || Arg::new("id").value_name("ID").help("The letter's name, as list shows it");
    let some = |name: &'static str, about: &'static str| {
        let all = Arg::new("all").long("all").action(ArgAction::SetTrue).help("All letters");
        let one = ArgGroup::new("which").args(["id", "all"]).required(true);
        Command::new(name).about(about).arg(id()).arg(all).group(one)
    };
    Command::new("dlq")
        .about("Shows, replays and purges the dead letters of a running server, over its --admin address")
        .subcommand_required(true)
        .subcommand(Command::new("list").about("One line a letter, the oldest of each shard first"))
        .subcommand(Command::new("show").about("All of a letter").arg(id().required(true)))
        .subcommand(some("replay", "Publishes letters anew as they were; those that nobody takes stay"))
        .subcommand(some("purge", "Throws letters away"))
}

pub fn main(matches: &ArgMatches, admin: Option<SocketAddr>) -> ExitCode {
    let Some((name, matches)) = matches.subcommand().and_then(|(_, below)| below.subcommand()) else {
        unreachable!("clap wants one of them");
    };
    let done = match admin {
        None => Err("the admin address is off: name it with --admin".to_owned()),
        Some(address) => run(name, matches, address),
    };
    match done {
        Ok(text) => say(&text),
        Err(error) => {
            complain(error);
            ExitCode::from(EXIT_HOST)
        }
    }
}

fn run(name: &str, matches: &ArgMatches, address: SocketAddr) -> Result<String, String> {
    let which = || match matches.get_one::<String>("id") {
        Some(id) => format!("id={id}"),
        None => "all=1".to_owned(),
    };
    match name {
        "list" => ask(address, "GET", "/dead-letters").map(|letters| list(&letters)),
        "show" => ask(address, "GET", &format!("/dead-letters?{}", which())).map(|letter| show(&letter)),
        _ => {
            let answer = ask(address, "POST", &format!("/dead-letters/{name}?{}", which()))?;
            let word = if name == "replay" { "replayed" } else { "purged" };
            Ok(format!("{} {word}\n", answer["count"]))
        }
    }
}

fn ask(address: SocketAddr, method: &str, target: &str) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{address}: {error}: is the server running there?");
    if target.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        return Err("a letter's name is SHARD-NUMBER".to_owned());
    }
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(failed)?;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
    let head = format!("{head}Ringbolt-Admin: dlq\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head_bytes)) = response.parse(&answer) else {
        return Err(format!("{address} is not an admin address"));
    };
    let body = &answer[head_bytes..];
    match response.code {
        Some(200) => serde_json::from_slice(body).map_err(|error| format!("{address}: {error}")),
        _ => Err(String::from_utf8_lossy(body).trim_end().to_owned()),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Likewise, on one line: subjects and errors are anybody's words, and a terminal obeys some of them.
fn line(value: &Value) -> String {
    one_line(&text(value)).into_owned()
}

fn list(letters: &Value) -> String {
    let mut table = format!(
        "{:<12} {:<10} {:>10} {:>8}  {:<30}  subject\n",
        "id", "reason", "deliveries", "bytes", "died"
    );
    for letter in letters.as_array().into_iter().flatten() {
        let field = |name: &str| line(&letter[name]);
        table += &format!(
            "{:<12} {:<10} {:>10} {:>8}  {:<30}  {}\n",
            field("id"),
            field("reason"),
            field("deliveries"),
            field("bytes"),
            field("buried"),
            field("subject")
        );
    }
    table
}

fn show(letter: &Value) -> String {
    let mut told = String::new();
    for name in [
        "id",
        "reason",
        "class",
        "subject",
        "account",
        "deliveries",
        "accepted",
        "delivered",
        "buried",
        "error",
        "reply",
    ] {
        told += &format!("{name:<10}  {}\n", line(&letter[name]));
    }
    told += &format!("\n{}", text(&letter["headers"]));
    let payload = STANDARD.decode(text(&letter["payload_base64"])).unwrap_or_default();
    told += &String::from_utf8_lossy(&payload);
    if !told.ends_with('\n') {
        told.push('\n');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_clients_said_is_one_line_and_commands_no_terminal() {
        let letter = json!({ "subject": "a\u{1b}[2J\u{9b}b\rc", "error": "no\nid  0-1", "headers": "" });
        for told in [list(&json!([letter])), show(&letter)] {
            assert!(told.contains("a [2J b c\n"), "{told}");
            assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
        }
        assert!(show(&letter).contains("error       no id  0-1\n"));
    }
}
