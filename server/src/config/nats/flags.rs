//! The flags of nats-server: one dash or two, `=` or a blank before the value.

use ringbolt_shard::access::{Access, Credential, Secret, User};
use std::path::PathBuf;

/// What the command line says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub host: Option<String>,
    pub port: Option<i64>,
    pub monitor_port: Option<i64>,
    /// Settings of ringbolt, and the flag each came from.
    pub settings: Vec<(&'static str, String, String)>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
    /// Parts of the file to let be.
    pub ignore: Vec<String>,
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Action {
    #[default]
    Run,
    /// Only say whether the settings are right.
    Test,
    Version,
    Help,
    /// Tell a running server something: a command, and perhaps the process or its pid file.
    Signal(String, Option<String>),
}

/// Flag names, the shape of the value (empty: none), and what it does.
const FLAGS: &[(&[&str], &str, &str)] = &[
    (&["a", "addr", "net"], "HOST", "Bind to this host (default 0.0.0.0)"),
    (&["p", "port"], "PORT", "Port for clients (default 4222); -1 for any free one"),
    (&["n", "name", "server_name"], "NAME", "Name of the server"),
    (&["client_advertise"], "ADDR", "Address told to clients instead of the bound one"),
    (&["m", "http_port", "monitor_port"], "PORT", "Port for monitoring; off by default"),
    (&["c", "config"], "FILE", "Configuration file in the language of nats.conf"),
    (&["ignore"], "LIST", "Sections of the file to start without, like jetstream,cluster"),
    (&["t"], "", "Test the configuration and exit"),
    (&["P", "pid"], "FILE", "File to write the process id to"),
    (&["ports_file_dir"], "DIR", "Directory for nats-server_<pid>.ports, the bound addresses as JSON"),
    (&["l", "log"], "FILE", "File to log to, instead of standard error"),
    (&["T", "logtime"], "", "Accepted: log lines always have a time"),
    (&["D", "debug"], "", "Log more"),
    (&["V", "trace"], "", "Log more"),
    (&["VV"], "", "Log more"),
    (&["DV"], "", "Log more"),
    (&["DVV"], "", "Log more"),
    (&["user"], "USER", "User name clients must give"),
    (&["pass"], "PASSWORD", "Password clients must give"),
    (&["auth"], "TOKEN", "Token clients must give"),
    (
        &["sl", "signal"],
        "CMD[=PID]",
        "Tell a server: stop, quit, term, reopen, reload or ldm; PID is a number or a pid file",
    ),
    (&["cores"], "LIST", "ringbolt: cores to pin shards to, one shard each: 0,1 or 0-3"),
    (&["shards"], "N", "ringbolt: number of shards"),
    (&["wait"], "MODE", "ringbolt: how a shard waits: latency, balanced or efficient"),
    (&["native"], "ADDR|off", "ringbolt: address of the native protocol (default off)"),
    (&["admin_hosts"], "LIST", "ringbolt: names by which monitoring may be asked; *: any"),
    (&["capture_directory"], "PATH", "ringbolt: folder that each shard records itself to, for bug reports"),
    (&["capture_bytes_max"], "SIZE", "ringbolt: length of a shard's capture (default 1GiB)"),
    (&["capture_payloads"], "WORD", "ringbolt: lengths (default), or kept for payloads too"),
    (&["v", "version"], "", "Print the version"),
    (&["h", "help"], "", "Print this help"),
];

/// Reads the arguments behind `nats`.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut flags = Flags::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let Some(dashed) = argument.strip_prefix('-') else {
            return Err(format!("'{argument}' is not a flag: see --help"));
        };
        let dashed = dashed.strip_prefix('-').unwrap_or(dashed);
        let (name, given) = match dashed.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (dashed, None),
        };
        let Some((names, shape, _)) = FLAGS.iter().find(|(names, ..)| names.contains(&name)) else {
            return Err(format!("'{argument}' is not a flag of nats-server that ringbolt knows: see --help"));
        };
        let value = match (shape.is_empty(), given) {
            (true, Some(value)) if value == "false" => continue,
            (true, _) => String::new(),
            (false, Some(value)) => value,
            (false, None) => arguments.next().ok_or_else(|| format!("-{name} wants {shape}"))?,
        };
        flags.set(names[0], name, value)?;
    }
    Ok(flags)
}

pub fn help() -> String {
    let mut text = "Runs the server in place of nats-server: the same flags, the same configuration file\n\n\
                    Usage: ringbolt-server nats [flags]\n\n\
                    Flags have one dash or two, and `=` or a blank before their value.\n\n"
        .to_owned();
    for (names, shape, help) in FLAGS {
        let names: Vec<String> = names.iter().map(|name| format!("-{name}")).collect();
        let left = format!("{} {shape}", names.join(", "));
        text += &format!("  {left:<36} {help}\n");
    }
    text
}

impl Flags {
    fn set(&mut self, canonical: &str, name: &str, value: String) -> Result<(), String> {
        let number =
            |value: &str| value.parse::<i64>().map_err(|_| format!("-{name} wants a number, not '{value}'"));
        let mut setting =
            |key: &'static str, value: String| self.settings.push((key, value, name.to_owned()));
        match canonical {
            "a" => self.host = Some(value),
            "p" => self.port = Some(number(&value)?),
            "m" => self.monitor_port = Some(number(&value)?),
            "c" => self.config = Some(value.into()),
            "n" => setting("name", value),
            "client_advertise" => setting("nats_advertise", value),
            "P" => setting("pid_file", value),
            "ports_file_dir" => setting("nats_ports_directory", value),
            "l" => setting("log_file", value),
            "D" | "V" | "VV" | "DV" | "DVV" => setting("log", "debug".to_owned()),
            "cores" => setting("cores", value),
            "shards" => setting("shards", value),
            "wait" => setting("wait", value),
            "native" => setting("native", value),
            "admin_hosts" => setting("admin_hosts", value),
            "capture_directory" => setting("capture_directory", value),
            "capture_bytes_max" => setting("capture_bytes_max", value),
            "capture_payloads" => setting("capture_payloads", value),
            "ignore" => self.ignore.extend(value.split(',').map(|name| name.trim().to_owned())),
            "user" => self.user = Some(value),
            "pass" => self.password = Some(value),
            "auth" => self.token = Some(value),
            "t" => self.action = Action::Test,
            "v" => self.action = Action::Version,
            "h" => self.action = Action::Help,
            "sl" => {
                let (command, process) = match value.split_once('=') {
                    Some((command, process)) => (command.to_owned(), Some(process.to_owned())),
                    None => (value, None),
                };
                self.action = Action::Signal(command, process);
            }
            _ => {}
        }
        Ok(())
    }

    /// Credentials on the command line stand for all others.
    pub(super) fn apply(&self, access: &mut Access) {
        let (name, credential) = match (&self.user, &self.token) {
            (Some(user), _) => {
                let password = self.password.as_deref().unwrap_or_default();
                (user.clone(), Credential::Password(Secret::new(password)))
            }
            (None, Some(token)) => (String::new(), Credential::Token(Secret::new(token))),
            (None, None) => return,
        };
        *access = Access::default();
        access.add_user(User::new(&name, credential, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_in_every_spelling() {
        let expected = parsed("-a 127.0.0.1 -p 4333 -c a.conf -DV").expect("flags");
        assert_eq!(expected.host.as_deref(), Some("127.0.0.1"));
        assert_eq!((expected.port, expected.config.clone()), (Some(4333), Some("a.conf".into())));
        for line in [
            "--net 127.0.0.1 --port 4333 --config a.conf -DV",
            "-addr=127.0.0.1 -p=4333 --config=a.conf --DV",
        ] {
            assert_eq!(parsed(line).expect("flags"), expected, "{line}");
        }
        assert_eq!(parsed("-p -1").expect("flags").port, Some(-1));
        assert_eq!(parsed("-v").expect("flags").action, Action::Version);
        let signal = Action::Signal("reload".to_owned(), Some("12".to_owned()));
        assert_eq!(parsed("--signal reload=12").expect("flags").action, signal);
        assert_eq!(parsed("--ignore jetstream,tls").expect("flags").ignore, ["jetstream", "tls"]);
    }

    #[test]
    fn what_is_no_flag_is_named() {
        for (line, told) in [
            ("run", "'run' is not a flag"),
            ("--jetstream", "'--jetstream' is not a flag of nats-server that ringbolt knows"),
            ("-p", "-p wants PORT"),
            ("-p x", "-p wants a number, not 'x'"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(told), "{error}");
        }
    }
}
