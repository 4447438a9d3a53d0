//! From settings to a running server, whichever words they were given in.

use super::words::{EXIT_CONFIG, EXIT_HOST, complain, say};
use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, ConfigError, Sources};
use crate::io::{Changed, Reload, Reloaded, host_check, log, runtime};
use ringbolt_shard::limits::{Limits, RELOADABLE};
use std::path::Path;
use std::process::ExitCode;

/// The meaning of what was read; adds to `errors`, so that one run names everything that is wrong.
pub(super) fn checked(
    sources: &Sources,
    mut errors: Vec<ConfigError>,
) -> Result<(Config, Limits), Vec<ConfigError>> {
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

pub(super) fn config_errors(errors: &[ConfigError]) -> ExitCode {
    errors.iter().for_each(complain);
    ExitCode::from(EXIT_CONFIG)
}

pub(super) fn reloaded(config: &Config, limits: Limits, later: Vec<String>) -> Reloaded {
    let changed = Changed { access: config.access.clone(), limits };
    Reloaded { changed, log: config.log.clone(), later }
}

/// Keys whose values differ, and take effect at the next start only.
pub(super) fn later(before: &Sources, now: &Sources) -> Vec<String> {
    let value = |sources: &Sources, key: &str| sources.get(key).map(|(value, _)| value.to_owned());
    let differs = |setting: &&Setting| {
        let reloadable = setting.key == "log" || RELOADABLE.contains(&setting.key);
        !reloadable && value(before, setting.key) != value(now, setting.key)
    };
    SETTINGS.iter().filter(differs).map(|setting| setting.key.to_owned()).collect()
}

pub(super) fn sentence(errors: &[ConfigError]) -> String {
    errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("; ")
}

pub(super) fn run(config: &Config, limits: &Limits, reload: &Reload<'_>) -> ExitCode {
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

pub(super) fn check_host(config: &Config, say_good: bool) -> ExitCode {
    let obstacles = host_check::obstacles(&host_check::HostFacts::gather(config), config);
    obstacles.iter().for_each(complain);
    if !obstacles.is_empty() {
        return ExitCode::from(EXIT_HOST);
    }
    if say_good { say("this host can run the server\n") } else { ExitCode::SUCCESS }
}
