//! `ringbolt-server nats`: what spawns nats-server can spawn this.

use super::start::{checked, config_errors, later, reloaded, run, sentence};
use super::words::{EXIT_CONFIG, EXIT_HOST, complain, say};
use crate::config::nats::flags::{self, Action};
use crate::config::nats::{self as nats_config};
use ringbolt_protocol::nats::COMPATIBLE_VERSION;
use rustix::process::{Pid, Signal, kill_process};
use std::process::ExitCode;

pub(super) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let flags = match flags::parse(arguments) {
        Ok(flags) => flags,
        Err(error) => {
            complain(error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match &flags.action {
        Action::Version => {
            let own = env!("CARGO_PKG_VERSION");
            return say(&format!("nats-server: v{COMPATIBLE_VERSION} (ringbolt-server {own})\n"));
        }
        Action::Help => return say(&flags::help()),
        Action::Signal(command, process) => return signal(command, process.as_deref()),
        Action::Run | Action::Test => {}
    }
    let (sources, options, errors) = nats_config::sources(&flags);
    let (mut config, limits) = match checked(&sources, errors) {
        Ok(checked) => checked,
        Err(errors) => return config_errors(&errors),
    };
    config.access = options.access;
    if flags.action == Action::Test {
        let file = flags.config.as_deref().map_or("the flags".to_owned(), |path| path.display().to_string());
        return say(&format!("ringbolt-server: configuration {file} is valid\n"));
    }
    let reload = || {
        let (now, options, errors) = nats_config::sources(&flags);
        let (mut config, limits) = checked(&now, errors).map_err(|errors| sentence(&errors))?;
        config.access = options.access;
        Ok(reloaded(&config, limits, later(&sources, &now)))
    };
    run(&config, &limits, &reload)
}

fn signal(command: &str, process: Option<&str>) -> ExitCode {
    let sent = signal_of(command).and_then(|signal| {
        let pid = pid_of(process)?;
        kill_process(pid, signal).map_err(|error| format!("process {}: {error}", pid.as_raw_nonzero()))
    });
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(EXIT_HOST)
        }
    }
}

fn signal_of(command: &str) -> Result<Signal, String> {
    Ok(match command {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "reload" => Signal::HUP,
        "ldm" => Signal::USR2,
        _ => return Err(format!("'{command}' is no command: stop, quit, term, reopen, reload or ldm")),
    })
}

/// A number, a pid file, or the only server there is.
fn pid_of(process: Option<&str>) -> Result<Pid, String> {
    let number = match process {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("pid file {path}: {error}"))?,
        None => return only_server(),
    };
    let number = number.trim().parse().ok().and_then(Pid::from_raw);
    number.ok_or_else(|| "that is no process id".to_owned())
}

/// The one process of this program's name beside this one.
fn only_server() -> Result<Pid, String> {
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let found: Vec<i32> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&pid| pid != own as i32)
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "ringbolt-server")
        })
        .collect();
    match *found {
        [pid] => Pid::from_raw(pid).ok_or_else(|| "that is no process id".to_owned()),
        [] => Err("no server is running: name one with --signal CMD=PID".to_owned()),
        _ => Err(format!("several servers are running {found:?}: name one with --signal CMD=PID")),
    }
}
