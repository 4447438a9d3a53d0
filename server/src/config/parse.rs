//! Values: text to sizes, times, addresses and choices, collecting every error.

use super::cores::parse_cores;
use super::memory::default_bytes;
use super::{Capture, Config, ConfigError, Sources};
use crate::capture::Payloads;
use ringbolt_protocol::subject::Pattern;
use ringbolt_shard::limits::{LANES, Shares, SlowConsumerPolicy};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

const NAME_BYTES_MAX: usize = 128;
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Times beyond this are typing errors, and sums of times below it cannot overflow.
const DURATION_NANOS_MAX: u64 = 24 * 3_600_000_000_000;

/// Reads settings one by one. A wrong one is noted and stands in as its type's zero until `finish`.
pub(super) struct Reader<'s> {
    sources: &'s Sources,
    errors: Vec<ConfigError>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(sources: &'s Sources) -> Reader<'s> {
        Reader { sources, errors: Vec::new() }
    }

    pub(super) fn finish(self, config: Config) -> Result<Config, Vec<ConfigError>> {
        if self.errors.is_empty() { Ok(config) } else { Err(self.errors) }
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.value(key).unwrap_or("").to_owned()
    }

    /// A name that fits the control frame it is sent in.
    pub(super) fn name(&mut self, key: &str) -> String {
        let name = self.text(key);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            self.fail(key, format!("is not a name: write 1 to {NAME_BYTES_MAX} bytes of text on one line"));
        }
        name
    }

    pub(super) fn log_filter(&mut self, key: &str) -> String {
        let filter = self.text(key);
        // A lone word that is no level would silently be taken for the name of a module.
        let understood = filter.split(',').all(|part| {
            part.contains(['=', '[']) || LOG_LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level))
        });
        if !understood || EnvFilter::try_new(&filter).is_err() {
            let levels = LOG_LEVELS.join(", ");
            self.fail(key, format!("'{filter}' is not a log filter: write {levels}, or module=level"));
        }
        filter
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.value(key).map(PathBuf::from)
    }

    pub(super) fn capture(&mut self) -> Option<Capture> {
        let bytes_max = self.size("capture_bytes_max", 1 << 20, 1 << 40);
        let words = [("lengths", Payloads::Lengths), ("kept", Payloads::Kept)];
        let payloads = self.choice("capture_payloads", &words);
        Some(Capture { directory: self.path("capture_directory")?, bytes_max, payloads })
    }

    /// A path short enough for a Unix socket.
    pub(super) fn socket_path(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.path(key)?;
        let longest = ringbolt_ring::UNIX_PATH_BYTES_MAX;
        if path.as_os_str().len() > longest {
            self.fail(key, format!("a socket's path has at most {longest} bytes: choose a shorter one"));
        }
        Some(path)
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.value(key).unwrap_or("");
        if let Some(&(_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return value;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.fail(key, format!("'{text}' is not one of {}", names.join(", ")));
        choices[0].1
    }

    pub(super) fn address(&mut self, key: &str) -> SocketAddr {
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        let text = self.value(key).unwrap_or("");
        match text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
            Some(address) => address,
            None => {
                self.fail(key, format!("'{text}' is not an address: write HOST:PORT, like 127.0.0.1:7700"));
                unset
            }
        }
    }

    pub(super) fn optional_address(&mut self, key: &str) -> Option<SocketAddr> {
        (self.value(key) != Some("off")).then(|| self.address(key))
    }

    /// Two listeners that share their port would share its connections too.
    pub(super) fn apart(&mut self, addresses: &[(&str, Option<SocketAddr>)]) {
        for (place, &(key, address)) in addresses.iter().enumerate() {
            for &(earlier_key, earlier) in &addresses[..place] {
                let (Some(address), Some(earlier)) = (address, earlier) else { continue };
                let any_host = address.ip().is_unspecified() || earlier.ip().is_unspecified();
                let same_host = any_host || address.ip() == earlier.ip();
                if address.port() != 0 && address.port() == earlier.port() && same_host {
                    self.fail(
                        key,
                        format!("{address} is also the {earlier_key} address: choose another port"),
                    );
                }
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, least: usize, most: usize) -> usize {
        let text = self.value(key).unwrap_or("");
        match text.replace('_', "").parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.fail(key, format!("'{text}' does not fit: write a number from {least} to {most}"));
                least
            }
        }
    }

    pub(super) fn power_of_two(&mut self, key: &str, least: usize, most: usize) -> usize {
        let number = self.count(key, least, most);
        if !number.is_power_of_two() {
            let near = number.next_power_of_two();
            self.fail(key, format!("{number} is not a power of two: write {near}"));
        }
        number
    }

    pub(super) fn size(&mut self, key: &str, least: usize, most: usize) -> usize {
        let text = self.value(key).unwrap_or("");
        match parse_size(text) {
            Some(bytes) if (least..=most).contains(&bytes) => bytes,
            Some(_) => {
                let (least_text, most_text) = (size_text(least), size_text(most));
                self.fail(key, format!("{text} is out of bounds: write {least_text} to {most_text}"));
                least
            }
            None => {
                self.fail(key, format!("'{text}' is not a size: write bytes, or 64KiB, 1MiB, 2GiB"));
                least
            }
        }
    }

    /// A size, or by what there is.
    pub(super) fn memory(&mut self, key: &str, least: usize, most: usize) -> usize {
        match self.value(key) {
            Some("auto") => default_bytes().clamp(least, most),
            _ => self.size(key, least, most),
        }
    }

    pub(super) fn duration(&mut self, key: &str) -> u64 {
        let text = self.value(key).unwrap_or("");
        match parse_duration(text) {
            Some(nanos) if (1..=DURATION_NANOS_MAX).contains(&nanos) => nanos,
            _ => {
                self.fail(key, format!("'{text}' is not a time up to 24h: write 500ms, 10s or 2m"));
                1
            }
        }
    }

    /// Percentages of the lanes, as thousandths.
    pub(super) fn lane_shares(&mut self, key: &str) -> Shares {
        let text = self.value(key).unwrap_or("");
        let percents: Result<Vec<u16>, _> = text.split(',').map(|part| part.trim().parse::<u16>()).collect();
        let shares = percents.ok().and_then(|percents| <[u16; LANES]>::try_from(percents).ok());
        let shares = shares.filter(|shares| shares.iter().all(|&percent| percent <= 100));
        match shares.map(|shares| shares.map(|percent| 10 * percent)) {
            Some(shares) if shares.iter().sum::<u16>() <= Shares::SUM_MAX => Shares(shares),
            _ => {
                let message = format!("'{text}' does not fit: write {LANES} percentages, at most 50 in all");
                self.fail(key, message);
                Shares::default()
            }
        }
    }

    /// Patterns and their policies: `a.>=drop-oldest,b=disconnect`.
    pub(super) fn policies(&mut self, key: &str) -> Vec<(String, SlowConsumerPolicy)> {
        let text = self.value(key).unwrap_or("").to_owned();
        let mut policies = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (pattern, name) = part.rsplit_once('=').unwrap_or((part, ""));
            let policy = SlowConsumerPolicy::NAMES.iter().find(|(known, _)| *known == name);
            match (Pattern::new(pattern.as_bytes()), policy) {
                (Ok(_), Some(&(_, policy))) => policies.push((pattern.to_owned(), policy)),
                (Err(error), _) => self.fail(key, format!("'{pattern}' is no pattern: {error}")),
                (_, None) => {
                    let names: Vec<&str> = SlowConsumerPolicy::NAMES.iter().map(|&(name, _)| name).collect();
                    self.fail(key, format!("'{part}' has no policy behind its '=': {}", names.join(", ")));
                }
            }
        }
        policies
    }

    /// Names of hosts, without ports.
    pub(super) fn hosts(&mut self, key: &str) -> Vec<String> {
        let text = self.value(key).unwrap_or("").to_owned();
        let hosts: Vec<String> =
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let part_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        for name in hosts.iter().filter(|name| *name != "*" && !name.chars().all(part_of_name)) {
            self.fail(key, format!("'{name}' is no name of a host: write example.org,db.example.org, or *"));
        }
        hosts
    }

    /// Cores from `cores` and `shards`, which must agree.
    pub(super) fn cores(&mut self) -> Vec<usize> {
        let count = self.value("shards").is_some().then(|| self.count("shards", 1, 128));
        let named = match self.value("cores").map(parse_cores) {
            None => None,
            Some(Ok(cores)) => Some(cores),
            Some(Err(message)) => {
                self.fail("cores", message);
                return vec![0];
            }
        };
        let allowed = allowed_cores();
        match (named, count) {
            (Some(cores), Some(count)) if cores.len() != count => {
                let message =
                    format!("{count} shards do not fit {} cores: name one core a shard", cores.len());
                self.fail("shards", message);
                cores
            }
            (Some(cores), _) if cores.len() > 128 => {
                self.fail("cores", "a server has at most 128 shards: name fewer cores".to_owned());
                cores
            }
            (Some(cores), _) => cores,
            (None, Some(count)) if count > allowed.len() => {
                let message =
                    format!("{count} shards want as many cores: this process may use {}", allowed.len());
                self.fail("shards", message);
                allowed
            }
            (None, count) => allowed.into_iter().take(count.unwrap_or(128)).collect(),
        }
    }

    fn value(&self, key: &str) -> Option<&'s str> {
        self.sources.get(key).map(|(value, _)| value).filter(|value| !value.is_empty())
    }

    pub(super) fn fail(&mut self, key: &str, message: String) {
        let origin = self.sources.get(key).map(|(_, origin)| format!(" (from {origin})")).unwrap_or_default();
        self.errors.push(ConfigError { key: key.to_owned(), message: message + &origin });
    }
}

/// The cores this process may run on (`Cpus_allowed_list`, proc(5)).
pub fn allowed_cores() -> Vec<usize> {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            parse_cores(line.trim()).ok()
        })
        .unwrap_or_else(|| vec![0])
}

/// The largest unit that is exact.
fn size_text(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|&(unit, _)| bytes >= unit && bytes.is_multiple_of(unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let digits =
        text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_').len();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.replace('_', "").parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn sizes_and_times_have_units() {
        for (text, bytes) in
            [("10", 10), ("64KiB", 65536), ("1 MiB", 1 << 20), ("2g", 2 << 30), ("3kb", 3000)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for (text, nanos) in [("5s", 5_000_000_000), ("10ms", 10_000_000), ("2m", 120_000_000_000)] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        assert_eq!(parse_size("many"), None);
        assert_eq!(parse_size("99999999999999999999"), None);
        assert_eq!(parse_duration("10"), None, "a time without a unit is ambiguous");
    }

    #[test]
    fn every_wrong_setting_is_reported_with_its_origin() {
        let mut sources = Sources::defaults();
        let text = "wait = \"fast\"\nping_interval = \"soon\"\nreceive_buffers = 100\nnative = \"nowhere\"";
        sources.add_toml(text, Path::new("bad.toml")).expect("valid syntax");
        let errors = Config::from_sources(&sources).expect_err("four wrong values");
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["native", "wait", "receive_buffers", "ping_interval"]);
        assert!(errors.iter().all(|error| error.message.contains("bad.toml")), "{errors:?}");
    }

    #[test]
    fn cores_and_shards_must_agree() {
        let mut sources = Sources::defaults();
        sources.add_toml("cores = \"0,1\"\nshards = 3", Path::new("a.toml")).expect("valid syntax");
        let errors = Config::from_sources(&sources).expect_err("disagree");
        assert!(errors[0].message.contains("3 shards do not fit 2 cores"), "{errors:?}");
    }

    /// The one error of a file with this text.
    fn error(text: &str) -> String {
        let mut sources = Sources::defaults();
        sources.add_toml(text, Path::new("a.toml")).expect("valid syntax");
        let errors = Config::from_sources(&sources).expect_err(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    }

    #[test]
    fn values_out_of_bounds_are_told_their_bounds() {
        for (text, told) in [
            (
                "payload_bytes_max = '1GiB'",
                "payload_bytes_max: 1GiB is out of bounds: write 16 bytes to 32MiB",
            ),
            ("connections_max = 0", "connections_max: '0' does not fit: write a number from 1 to 1000000"),
            ("receive_buffers = 100", "receive_buffers: 100 is not a power of two: write 128"),
            ("ping_interval = '48h'", "ping_interval: '48h' is not a time up to 24h"),
            ("hello_timeout = '0s'", "hello_timeout: '0s' is not a time"),
            ("cores = '0,x'", "cores: 'x' is not a core"),
            ("name = ''", "name: is not a name"),
            ("native = '127.0.0.1'", "native: '127.0.0.1' is not an address: write HOST:PORT"),
        ] {
            assert!(error(text).starts_with(told), "{}", error(text));
        }
    }

    #[test]
    fn a_log_filter_that_would_log_nothing_by_mistake_is_refused() {
        assert!(error("log = 'inof'").contains("'inof' is not a log filter: write off, error,"));
        assert!(error("log = 'info,a=b=c'").contains("is not a log filter"));
        let mut sources = Sources::defaults();
        sources.add_toml("log = 'warn,ringbolt_server=debug'", Path::new("a.toml")).expect("valid syntax");
        assert!(Config::from_sources(&sources).is_ok());
    }

    #[test]
    fn the_native_and_the_admin_address_are_not_one() {
        let same = "native = '0.0.0.0:7700'\nadmin = '127.0.0.1:7700'";
        assert!(error(same).contains("is also the native address"), "{}", error(same));
        let mut sources = Sources::defaults();
        let any = "native = '127.0.0.1:0'\nadmin = '127.0.0.1:0'";
        sources.add_toml(any, Path::new("a.toml")).expect("valid syntax");
        assert!(Config::from_sources(&sources).is_ok(), "two free ports differ");
    }
}
