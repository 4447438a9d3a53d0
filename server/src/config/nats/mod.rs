//! Settings in the words of nats-server: `nats.conf` and its flags, turned into ringbolt's own settings
//! and [`ringbolt_shard::access::Access`].

mod authorization;
mod context;
pub mod flags;
mod language;
mod options;
mod trade;

pub use language::{Fault, Surroundings, ThisProcess};
pub use options::NatsOptions;

use super::settings::Setting;
use super::{ConfigError, Origin, Sources};

/// What nats-server does where nothing is said, and ringbolt does otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("native", "off"),
    ("nats", "0.0.0.0:4222"),
    ("admin", "off"),
    ("log_format", "nats"),
    ("ping_interval", "2m"),
    ("hello_timeout", "2s"),
    ("subscriptions_max", "4294967295"),
];

/// The settings of a server started in the words of nats-server; everything that is wrong.
pub fn sources(flags: &flags::Flags) -> (Sources, NatsOptions, Vec<ConfigError>) {
    let mut sources = Sources::defaults();
    for &(key, value) in DEFAULTS {
        set(&mut sources, key, value.to_owned(), Origin::Default);
    }
    let (options, errors) = options::read(flags, &ThisProcess);
    for (key, value, origin) in &options.settings {
        set(&mut sources, key, value.clone(), origin.clone());
    }
    (sources, options, errors)
}

fn set(sources: &mut Sources, key: &str, value: String, origin: Origin) {
    sources.set(Setting::find(key).expect("a setting of ours"), value, origin);
}
