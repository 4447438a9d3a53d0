//! From the entries of a `nats.conf` and the flags to settings.

use super::authorization;
use super::context::{Context, Unsupported, shown};
use super::flags::Flags;
use super::language::{self, Entry, Node, Place, Surroundings, Value};
use crate::config::{ConfigError, Origin};
use ringbolt_shard::access::{Access, Credential, Secret, User};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

/// What a file and the flags say, in ringbolt's own settings.
#[derive(Debug, Default)]
pub struct NatsOptions {
    pub settings: Vec<(&'static str, String, Origin)>,
    pub access: Access,
}

/// Sections that later versions will serve.
const SECTIONS_NOT_SUPPORTED: &[&str] = &[
    "cluster",
    "gateway",
    "jetstream",
    "leaf",
    "leafnodes",
    "mqtt",
    "operator",
    "operators",
    "resolver",
    "resolver_preload",
    "tls",
    "websocket",
    "ws",
    "https",
    "https_port",
    "mappings",
    "maps",
    "trusted_keys",
    "trusted",
    "roots",
    "auth_callout",
    "ocsp",
];
/// What changes nothing a client sees here.
const WITHOUT_EFFECT: &[&str] = &[
    "logtime",
    "log_size_limit",
    "logfile_size_limit",
    "log_max_num",
    "logfile_max_num",
    "max_traced_msg_len",
    "disable_sublist_cache",
    "prof_port",
    "prof_block_rate",
    "connect_error_reports",
    "reconnect_error_reports",
    "server_tags",
    "syslog",
    "remote_syslog",
    "trace_verbose",
    "feature_flags",
    "server_metadata",
];

/// Where nothing else is said, the account of those who watch the server.
const SYSTEM_ACCOUNT: &str = "$SYS";

/// Where clients and tools connect, before both halves are known.
#[derive(Default)]
struct Listening {
    host: Option<String>,
    port: Option<i64>,
    monitor_host: Option<String>,
    monitor_port: Option<i64>,
}

pub(super) fn read(flags: &Flags, surroundings: &dyn Surroundings) -> (NatsOptions, Vec<ConfigError>) {
    let mut context =
        Context { flags, names: HashSet::new(), alone: None, settings: Vec::new(), errors: Vec::new() };
    let mut access = Access::default();
    let mut listening = Listening::default();
    let (mut no_auth_user, mut system_account) = (None, None);
    if let Some(path) = &flags.config {
        match language::read(path, surroundings) {
            Ok(entries) => {
                for entry in &entries {
                    let named = |text: Option<String>| text.map(|name| (name, entry.place.clone()));
                    match entry.key.to_ascii_lowercase().as_str() {
                        "no_auth_user" => no_auth_user = named(context.text(&entry.node)),
                        "system_account" | "system" => system_account = named(context.text(&entry.node)),
                        _ => context.entry(entry, &mut listening, &mut access),
                    }
                }
            }
            Err(fault) => context.wrong(&fault.place, fault.message),
        }
    }
    if let Some((name, place)) = no_auth_user {
        access.no_auth_user = access.users().iter().find(|user| user.name == name).map(|user| user.number);
        if access.no_auth_user.is_none() {
            context.wrong(&place, format!("no_auth_user: there is no user '{name}'"));
        }
    }
    context.settle_users(&mut access, system_account);
    flags.apply(&mut access);
    context.listen(&listening);
    context.flags_over();
    (NatsOptions { settings: context.settings, access }, context.errors)
}

impl Context<'_> {
    /// What users of several parts of the file mean together.
    fn settle_users(&mut self, access: &mut Access, system_account: Option<(String, Place)>) {
        if let Some(place) = self.alone.clone()
            && access.users().iter().any(|user| user.account != 0)
        {
            self.wrong(&place, "there is either one user or token, or users of accounts".to_owned());
        }
        let known = |name: &str| access.accounts().iter().find(|account| account.name == name);
        if let Some((name, place)) = &system_account
            && *name != SYSTEM_ACCOUNT
            && known(name).is_none()
        {
            self.wrong(place, format!("system_account: there is no account '{name}'"));
        }
        let system = system_account.as_ref().map_or(SYSTEM_ACCOUNT, |(name, _)| name);
        let system = known(system).map(|account| account.number);
        let of_system = |user: &User| Some(user.account) == system;
        // Whoever only named who may watch the server lets everyone else in.
        let only_system = access.accounts().len() == 2 && access.users().iter().all(of_system);
        if only_system && access.required() && access.no_auth_user.is_none() {
            access.no_auth_user =
                Some(access.add_user(User::new("", Credential::Password(Secret::new("")), 0)));
        }
    }

    fn entry(&mut self, entry: &Entry, listening: &mut Listening, access: &mut Access) {
        let node = &entry.node;
        match entry.key.to_ascii_lowercase().as_str() {
            "listen" => self.address(node, &mut listening.host, &mut listening.port),
            "host" | "net" => listening.host = self.text(node),
            "port" => listening.port = Some(self.number(node)),
            "http" => self.address(node, &mut listening.monitor_host, &mut listening.monitor_port),
            "http_port" | "monitor_port" => listening.monitor_port = Some(self.number(node)),
            "server_name" => self.text_to("name", entry),
            "client_advertise" => self.text_to("nats_advertise", entry),
            "log_file" | "logfile" => self.text_to("log_file", entry),
            "pidfile" | "pid_file" => self.text_to("pid_file", entry),
            "ports_file_dir" => self.text_to("nats_ports_directory", entry),
            "debug" | "trace" => {
                if self.flag(node) {
                    self.set("log", "debug".to_owned(), entry);
                }
            }
            "max_payload" => self.number_to("payload_bytes_max", entry),
            "max_control_line" => self.number_to("control_line_bytes_max", entry),
            "max_connections" | "max_conn" => self.number_to("nats_connections_max", entry),
            "max_pending" => self.number_to("outbox_bytes_max", entry),
            "ping_max" => self.number_to("ping_outstanding_max", entry),
            "max_subscriptions" | "max_subs" => match self.number(node) {
                // Not limited.
                ..=0 => {}
                number => self.set("subscriptions_max", number.to_string(), entry),
            },
            // Held back briefly, as there, or not at all.
            "no_fast_producer_stall" => {
                let policy = if self.flag(node) { "disconnect" } else { "hold" };
                self.set("slow_consumer", policy.to_owned(), entry);
            }
            "write_deadline" => self.time_to("send_stall_time_max", entry),
            "ping_interval" => self.time_to("ping_interval", entry),
            "lame_duck_duration" => self.time_to("lame_duck_time", entry),
            "lame_duck_grace_period" => self.time_to("lame_duck_grace", entry),
            "authorization" => authorization::authorization(node, access, self),
            "accounts" => authorization::accounts(node, access, self),
            key if SECTIONS_NOT_SUPPORTED.contains(&key) => {
                self.unsupported(Unsupported { name: &entry.key, place: &entry.place });
            }
            key if WITHOUT_EFFECT.contains(&key) || is_variable(entry) => {}
            _ => self.unknown(entry),
        }
    }

    /// `host:port`, or a port alone.
    fn address(&mut self, node: &Node, host: &mut Option<String>, port: &mut Option<i64>) {
        if let Value::Number(number, _) = node.value {
            *port = Some(number);
            return;
        }
        let Some(text) = self.text(node) else { return };
        let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parsed {
            Some((found_host, found_port)) => {
                if !found_host.is_empty() {
                    *host = Some(found_host.trim_matches(['[', ']']).to_owned());
                }
                *port = Some(found_port);
            }
            None => self.wrong(&node.place, format!("'{text}' is not an address: write HOST:PORT")),
        }
    }

    fn listen(&mut self, listening: &Listening) {
        let flags = self.flags;
        let host = flags.host.clone().or(listening.host.clone()).unwrap_or_else(|| "0.0.0.0".to_owned());
        let port = flags.port.or(listening.port).unwrap_or(4222);
        let origin = flags.config.as_deref().map_or(Origin::Default, shown);
        self.settings.push(("nats", join(&host, port), origin.clone()));
        if let Some(port) = flags.monitor_port.or(listening.monitor_port) {
            let host = listening.monitor_host.clone().unwrap_or(host);
            self.settings.push(("admin", join(&host, port), origin));
        }
    }

    /// Flags win over the file.
    fn flags_over(&mut self) {
        for (key, value, flag) in &self.flags.settings {
            self.settings.push((key, value.clone(), Origin::Flag(flag.clone())));
        }
    }

    fn text_to(&mut self, key: &'static str, entry: &Entry) {
        if let Some(text) = self.text(&entry.node) {
            self.set(key, text, entry);
        }
    }

    fn number_to(&mut self, key: &'static str, entry: &Entry) {
        let number = self.number(&entry.node);
        self.set(key, number.to_string(), entry);
    }

    fn time_to(&mut self, key: &'static str, entry: &Entry) {
        let nanos = self.seconds(&entry.node);
        self.set(key, format!("{nanos}ns"), entry);
    }

    fn flag(&mut self, node: &Node) -> bool {
        match node.value {
            Value::Bool(value) => value,
            _ => {
                self.wrong(&node.place, "takes true or false".to_owned());
                false
            }
        }
    }
}

/// A top-level key in capitals that is only there to be referred to.
fn is_variable(entry: &Entry) -> bool {
    entry.key.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// A port below zero is any free one.
fn join(host: &str, port: i64) -> String {
    let port = port.max(0);
    match host.parse() {
        Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
        Ok(IpAddr::V4(host)) => format!("{host}:{port}"),
        Err(_) if host.is_empty() => format!("{}:{port}", Ipv4Addr::UNSPECIFIED),
        Err(_) => format!("{host}:{port}"),
    }
}
