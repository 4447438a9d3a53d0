//! Syntax: where settings come from. Flags over environment over file over defaults.

use super::ConfigError;
use super::settings::{SETTINGS, Setting};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => formatter.write_str("default"),
            Origin::File(path) => write!(formatter, "{}", path.display()),
            Origin::Environment(name) => formatter.write_str(name),
            Origin::Flag(flag) => write!(formatter, "--{flag}"),
        }
    }
}

/// Text by key, each with where it came from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Sources {
    /// The value of a key, unset ones as `None`.
    pub fn get(&self, key: &str) -> Option<(&str, &Origin)> {
        let (value, origin) = self.values.get(key)?;
        Some((value, origin))
    }

    /// Adds a layer over what is there.
    pub fn set(&mut self, setting: &Setting, value: String, origin: Origin) {
        self.values.insert(setting.key, (value, origin));
    }

    pub fn defaults() -> Sources {
        let mut sources = Sources::default();
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
            sources.set(setting, setting.default.to_owned(), Origin::Default);
        }
        sources
    }

    pub fn add_file(&mut self, path: &Path) -> Result<(), Vec<ConfigError>> {
        let error = |message: String| vec![ConfigError { key: path.display().to_string(), message }];
        let text = std::fs::read_to_string(path)
            .map_err(|cause| error(format!("cannot be read ({cause}): name an existing TOML file")))?;
        self.add_toml(&text, path)
    }

    pub fn add_toml(&mut self, text: &str, path: &Path) -> Result<(), Vec<ConfigError>> {
        let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
            let line = cause.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = cause.message();
            let message = format!("is not valid TOML ({what}): correct line {line}");
            vec![ConfigError { key: path.display().to_string(), message }]
        })?;
        let mut errors = Vec::new();
        for (key, value) in &table {
            let Some(setting) = Setting::find(key) else {
                errors.push(unknown(key, path.display()));
                continue;
            };
            match plain_text(value) {
                Some(text) => self.set(setting, text, Origin::File(path.to_owned())),
                None => errors.push(ConfigError {
                    key: key.clone(),
                    message: format!(
                        "takes {}, not a {} (from {})",
                        setting.value,
                        value.type_str(),
                        path.display()
                    ),
                }),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Reads `RINGBOLT_…`; an unknown one is reported, because a typo there would go unseen.
    pub fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), Vec<ConfigError>> {
        let mut errors = Vec::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            let Some(key) = name.strip_prefix("RINGBOLT_") else { continue };
            let setting = Setting::find(&key.to_lowercase());
            match (setting, value.into_string()) {
                (Some(setting), Ok(value)) => self.set(setting, value, Origin::Environment(name)),
                (Some(setting), Err(_)) => {
                    let message = format!("takes {}: write it as UTF-8", setting.value);
                    errors.push(ConfigError { key: name, message });
                }
                // Variables of the tools beside the server.
                (None, _) if is_of_tools(key) => {}
                (None, _) => errors.push(unknown(&name, "the environment")),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// `RINGBOLT_…` variables, and first parts of such, that the load generator, the tests and the scripts
/// read.
const NOT_SETTINGS: &[&str] = &[
    "CONFIG",
    "BLESS",
    "PYTHON",
    "NODE",
    "FLATC",
    "NATS_SERVER",
    "REDIS_SERVER",
    "TUNE",
    "SERVER",
    "SEED",
    "TRANSCRIPTS",
];

fn is_of_tools(key: &str) -> bool {
    NOT_SETTINGS
        .iter()
        .any(|known| key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}

fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(list) => {
            let parts: Option<Vec<String>> = list.iter().map(plain_text).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

fn unknown(key: &str, origin: impl fmt::Display) -> ConfigError {
    let bare = key.strip_prefix("RINGBOLT_").unwrap_or(key).to_lowercase();
    let closest = SETTINGS
        .iter()
        .map(|setting| (distance(&bare, setting.key), setting.key))
        .min()
        .filter(|&(distance, _)| distance <= 4);
    let message = match closest {
        Some((_, near)) => format!("is not a setting (from {origin}): did you mean {near}?"),
        None => format!("is not a setting (from {origin}): print-config lists all of them"),
    };
    ConfigError { key: key.to_owned(), message }
}

/// Edits between two words (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..right.len() {
            let change = diagonal + usize::from(letter != right[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_wins_and_keeps_its_origin() {
        let mut sources = Sources::defaults();
        sources.add_toml("wait = \"latency\"\ncores = [0, 1]\n", Path::new("a.toml")).expect("valid");
        let variables = [("RINGBOLT_WAIT".into(), "efficient".into()), ("HOME".into(), "/".into())];
        sources.add_environment(variables.into_iter()).expect("valid");
        assert_eq!(sources.get("wait"), Some(("efficient", &Origin::Environment("RINGBOLT_WAIT".into()))));
        assert_eq!(sources.get("cores"), Some(("0,1", &Origin::File("a.toml".into()))));
        assert_eq!(sources.get("name"), Some(("ringbolt", &Origin::Default)));
        assert_eq!(sources.get("pid_file"), None);
    }

    #[test]
    fn an_unknown_key_is_named_with_the_closest_known_one() {
        let mut sources = Sources::defaults();
        let errors = sources.add_toml("outbox_byte_max = 3", Path::new("a.toml")).expect_err("unknown");
        assert_eq!(
            errors[0].to_string(),
            "outbox_byte_max: is not a setting (from a.toml): did you mean outbox_bytes_max?"
        );
        let variables = [("RINGBOLT_WIAT".into(), "latency".into())];
        let errors = sources.add_environment(variables.into_iter()).expect_err("unknown");
        assert!(errors[0].to_string().contains("did you mean wait?"));
    }

    #[test]
    fn variables_of_the_tools_beside_the_server_are_let_be() {
        let variables = [("RINGBOLT_BLESS".into(), "1".into()), ("RINGBOLT_TUNE_ETHTOOL".into(), "x".into())];
        assert_eq!(Sources::defaults().add_environment(variables.into_iter()), Ok(()));
        let variables = [("RINGBOLT_TUNEX".into(), "1".into())];
        assert!(Sources::defaults().add_environment(variables.into_iter()).is_err());
    }
}
