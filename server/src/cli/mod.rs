//! The command line: flags from the table of settings, and the subcommands.

mod dlq;
mod nats;
mod replay;
mod start;
mod words;

use crate::config::settings::{SETTINGS, Setting};
use crate::config::{ConfigError, Origin, Sources};
use clap::{Arg, ArgMatches, Command};
use start::{check_host, checked, config_errors, later, reloaded, run, sentence};
use std::path::Path;
use std::process::ExitCode;
use words::say;

/// The whole command line, also rendered into `docs/OPERATIONS.md`.
pub fn command() -> Command {
    let run = "Runs the server. The same settings may stand in the --config file (TOML) or in the \
               environment; flags win over the environment, the environment over the file.";
    let mut command = Command::new("ringbolt-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Thread-per-core io_uring message bus server")
        .long_about(run)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .env("RINGBOLT_CONFIG")
                .global(true)
                .help("Settings as TOML"),
        )
        .subcommand(Command::new("check-config").about("Says what is wrong with the settings; runs nothing"))
        .subcommand(Command::new("print-config").about("Prints every setting as TOML, with its origin"))
        .subcommand(Command::new("check-host").about("Says what keeps this host from running the server"))
        .subcommand(dlq::command())
        .subcommand(replay::command())
        .subcommand(
            Command::new("nats")
                .about("Runs the server in place of nats-server: its flags, its configuration file")
                .disable_help_flag(true)
                .arg(Arg::new("flags").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        );
    for setting in SETTINGS {
        command = command.arg(flag(setting));
    }
    command
}

fn flag(setting: &'static Setting) -> Arg {
    let mut help = setting.help.trim_end_matches('.').to_owned();
    if !setting.default.is_empty() {
        help += &format!(" [default: {}]", setting.default);
    }
    Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.value)
        .help(format!("{help} [env: {}]", setting.environment()))
        .global(true)
}

pub fn main() -> ExitCode {
    // Its flags are not of clap's kind: one dash before a whole word.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("nats") {
        return nats::main(arguments);
    }
    let matches = command().get_matches();
    if let Some(("replay", matches)) = matches.subcommand() {
        return replay::main(matches);
    }
    let (sources, errors) = sources(&matches);
    if matches.subcommand_name() == Some("print-config") {
        let told = say(&print_config(&sources));
        if told != ExitCode::SUCCESS {
            return told;
        }
    }
    let (config, limits) = match checked(&sources, errors) {
        Ok(checked) => checked,
        Err(errors) => return config_errors(&errors),
    };
    match matches.subcommand_name() {
        Some("print-config") => ExitCode::SUCCESS,
        Some("check-config") => say("the configuration is valid\n"),
        Some("check-host") => check_host(&config, true),
        Some("dlq") => dlq::main(&matches, config.admin),
        _ => {
            let reload = || {
                let (now, errors) = self::sources(&matches);
                let (config, limits) = checked(&now, errors).map_err(|errors| sentence(&errors))?;
                Ok(reloaded(&config, limits, later(&sources, &now)))
            };
            run(&config, &limits, &reload)
        }
    }
}

/// Defaults, then the file, the environment, the flags; what could be read, and what was wrong.
fn sources(matches: &ArgMatches) -> (Sources, Vec<ConfigError>) {
    let matches = matches.subcommand().map_or(matches, |(_, below)| below);
    let mut sources = Sources::defaults();
    let mut errors = Vec::new();
    if let Some(path) = matches.get_one::<String>("config") {
        errors.extend(sources.add_file(Path::new(path)).err().into_iter().flatten());
    }
    errors.extend(sources.add_environment(std::env::vars_os()).err().into_iter().flatten());
    for setting in SETTINGS {
        if let Some(value) = matches.get_one::<String>(setting.key) {
            sources.set(setting, value.clone(), Origin::Flag(setting.flag()));
        }
    }
    (sources, errors)
}

/// The effective settings as a TOML file that `--config` takes.
fn print_config(sources: &Sources) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let line = match sources.get(setting.key) {
            Some((value, origin)) => format!("{} = {}  # {origin}\n", setting.key, quoted(value)),
            None => format!("# {} is not set\n", setting.key),
        };
        text += &line;
    }
    text
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}
