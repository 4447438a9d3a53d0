//! The command line: flags from the table of settings, and the subcommands.

mod dlq;
mod nats;
mod replay;
mod words;

use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, ConfigError, Origin, Sources};
use crate::io::{Changed, Reload, Reloaded, host_check, log, runtime};
use clap::{Arg, ArgMatches, Command};
use ringbolt_shard::limits::{Limits, RELOADABLE};
use std::path::Path;
use std::process::ExitCode;
use words::{EXIT_CONFIG, EXIT_HOST, complain, say};

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

fn reloaded(config: &Config, limits: Limits, later: Vec<String>) -> Reloaded {
    let changed = Changed { access: config.access.clone(), limits };
    Reloaded { changed, log: config.log.clone(), later }
}

/// Keys whose values differ, and take effect at the next start only.
fn later(before: &Sources, now: &Sources) -> Vec<String> {
    let value = |sources: &Sources, key: &str| sources.get(key).map(|(value, _)| value.to_owned());
    let differs = |setting: &&Setting| {
        let reloadable = setting.key == "log" || RELOADABLE.contains(&setting.key);
        !reloadable && value(before, setting.key) != value(now, setting.key)
    };
    SETTINGS.iter().filter(differs).map(|setting| setting.key.to_owned()).collect()
}

fn sentence(errors: &[ConfigError]) -> String {
    errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("; ")
}

fn run(config: &Config, limits: &Limits, reload: &Reload<'_>) -> ExitCode {
    if let Err(error) = log::set_up(config) {
        let path = config.log_file.as_deref().unwrap_or(Path::new("the log"));
        complain(format_args!("log_file {}: {error}", path.display()));
        return ExitCode::from(EXIT_HOST);
    }
    let checked = check_host(config, false);
    if checked != ExitCode::SUCCESS {
        return checked;
    }
    let ran = runtime::run(config, limits, reload);
    log::flush();
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::from(EXIT_HOST)
        }
    }
}

fn check_host(config: &Config, say_good: bool) -> ExitCode {
    let obstacles = host_check::obstacles(&host_check::HostFacts::gather(config), config);
    obstacles.iter().for_each(complain);
    if !obstacles.is_empty() {
        return ExitCode::from(EXIT_HOST);
    }
    if say_good { say("this host can run the server\n") } else { ExitCode::SUCCESS }
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

/// The meaning of what was read; adds to `errors`, so that one run names everything that is wrong.
fn checked(sources: &Sources, mut errors: Vec<ConfigError>) -> Result<(Config, Limits), Vec<ConfigError>> {
    let derived = Config::from_sources(sources).and_then(|config| {
        let limits = config.limits().map_err(|error| vec![error])?;
        Ok((config, limits))
    });
    match derived {
        Ok(derived) if errors.is_empty() => return Ok(derived),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(errors)
}

fn config_errors(errors: &[ConfigError]) -> ExitCode {
    errors.iter().for_each(complain);
    ExitCode::from(EXIT_CONFIG)
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
