//! The flags of one run, and the trial they describe.

use super::delivery::DeliveryArgs;
use crate::dialect::Dialect;
use crate::parse::{parse_cores, parse_prefix, parse_ramp, parse_rate, parse_share, parse_time};
use crate::targets::Target;
use crate::trial::{ServerPlan, Trial};
use crate::workload::{Kind, Pacing, Ramp, Sizes, Workload};
use clap::{Args, Parser, ValueEnum};
use ringbolt_ring::Address;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum KindName {
    Pubsub,
    Request,
    Fanout,
    Queue,
    Churn,
    Sink,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arrival {
    /// Evenly spaced.
    Constant,
    /// Independent arrivals.
    Poisson,
}

/// Connections × messages a second × payload of the S47 stress rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Preset {
    /// 1 000 connections, 10 000 msg/s, 1024 bytes
    #[value(name = "s47-1000")]
    Connections1000,
    /// 5 000 connections, 50 000 msg/s, 512 bytes
    #[value(name = "s47-5000")]
    Connections5000,
    /// 10 000 connections, 100 000 msg/s, 256 bytes
    #[value(name = "s47-10000")]
    Connections10000,
}

#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Server to drive; starts ringbolt-server itself if unset
    #[arg(long, value_name = "HOST:PORT|unix:PATH", help_heading = "Server")]
    pub address: Option<String>,
    #[arg(long, value_enum, default_value = "native", help_heading = "Server")]
    pub dialect: Dialect,
    /// Report CPU time and memory of this process
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub server_pid: Option<u32>,
    /// Drive the server it starts over a Unix socket
    #[arg(long, conflicts_with = "address", help_heading = "Server")]
    pub unix: bool,
    /// Flags for the server it starts, as one string
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        allow_hyphen_values = true,
        help_heading = "Server"
    )]
    pub server_flags: String,
    /// Cores of the server it starts
    #[arg(long, value_name = "LIST", default_value = "0", help_heading = "Server")]
    pub server_cores: String,

    #[arg(long, value_enum, default_value = "pubsub", help_heading = "Workload")]
    pub workload: KindName,
    /// Name of the run in reports
    #[arg(long, value_name = "TEXT", help_heading = "Workload")]
    pub name: Option<String>,
    /// Publishers, requesters or churners
    #[arg(short, long, value_name = "N", default_value_t = 8, help_heading = "Workload")]
    pub publishers: u32,
    /// Subscribers, responders or members of the group
    #[arg(short, long, value_name = "N", default_value_t = 8, help_heading = "Workload")]
    pub subscribers: u32,
    /// Of the subscribers, how many never read what they get (pubsub and fanout)
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Workload")]
    pub stalled: u32,
    /// Subjects, dealt out in turn; default: as many as publishers
    #[arg(short = 'k', long, value_name = "N", help_heading = "Workload")]
    pub subjects: Option<u32>,
    /// First token of all subjects: runs beside each other on one server need different ones
    #[arg(
        long,
        value_name = "TOKEN",
        value_parser = parse_prefix,
        default_value = "rb",
        help_heading = "Workload"
    )]
    pub prefix: String,
    /// Share of subscribers with a wildcard pattern, 0 to 1
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = parse_share,
        default_value = "0",
        help_heading = "Workload"
    )]
    pub wildcard_share: f64,
    /// Payload bytes: 128, 64..4096 (uniform) or 16:90,4096:10 (weighted)
    #[arg(long, value_name = "SIZES", default_value = "128", help_heading = "Workload")]
    pub payload: Sizes,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// A stress row: sets connections, rate and payload
    #[arg(long, value_enum, help_heading = "Workload")]
    pub preset: Option<Preset>,

    /// Messages a second, by a schedule that waits for nothing (open loop)
    #[arg(
        short,
        long,
        value_name = "RATE",
        value_parser = parse_rate,
        default_value = "50k",
        conflicts_with = "closed",
        help_heading = "Pacing"
    )]
    pub rate: f64,
    /// Rising rate instead: FROM..TO:TIME, like 0..100k:30s
    #[arg(
        long,
        value_name = "RAMP",
        value_parser = parse_ramp,
        conflicts_with = "closed",
        help_heading = "Pacing"
    )]
    pub ramp: Option<Ramp>,
    #[arg(long, value_enum, default_value = "constant", conflicts_with = "closed", help_heading = "Pacing")]
    pub arrival: Arrival,
    /// Send as fast as answers come, --window messages outstanding a publisher (closed loop)
    #[arg(long, help_heading = "Pacing")]
    pub closed: bool,
    #[arg(long, value_name = "N", default_value_t = 1, requires = "closed", help_heading = "Pacing")]
    pub window: u32,

    /// Messages a frame at most, 1 to 1024 (native dialect)
    #[arg(long, value_name = "N", default_value_t = 1, requires = "closed", help_heading = "Pacing")]
    pub batch: u32,

    /// Not measured, before the measured part
    #[arg(
        long,
        value_name = "TIME",
        value_parser = parse_time,
        default_value = "2s",
        help_heading = "Length"
    )]
    pub warm_up: Duration,
    /// The measured part
    #[arg(
        short,
        long,
        value_name = "TIME",
        value_parser = parse_time,
        default_value = "10s",
        help_heading = "Length"
    )]
    pub duration: Duration,
    /// Stop after this many messages
    #[arg(short, long, value_name = "N", help_heading = "Length")]
    pub count: Option<u64>,
    /// Cores of the generator, one thread each; default: the last one allowed
    #[arg(long, value_name = "LIST", help_heading = "Length")]
    pub driver_cores: Option<String>,

    /// Find the highest rate whose response P99 stays under --slo
    #[arg(long, conflicts_with_all = ["closed", "ramp"], help_heading = "Judging")]
    pub find_max: bool,
    /// Response P99 to hold; without --find-max the run fails above it
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Judging")]
    pub slo: Option<Duration>,
    /// Figures to reach: p99<250us, max<5ms, rate>1M, cpu<2us, cores<0.6, growth<10MiB (per 100 000
    /// messages), moved<0.01 (share of messages whose key changed the member)
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Judging")]
    pub target: Vec<Target>,

    /// Write run.json, run.hlog, run.hgrm and report.html there
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Only the final table
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

/// Flags of a run and nothing else.
#[derive(Parser, Debug)]
struct Alone {
    #[command(flatten)]
    run: RunArgs,
}

/// The trial that flags describe, as one string.
pub fn read(flags: &str) -> Result<Trial, String> {
    let words = ["ringbolt-loadgen"].into_iter().chain(flags.split_whitespace());
    Alone::try_parse_from(words).map_err(|error| error.to_string())?.run.trial()
}

impl RunArgs {
    pub fn trial(&self) -> Result<Trial, String> {
        Ok(Trial {
            server: ServerPlan {
                address: self.address.as_deref().map(|text| resolve(text, self.dialect)).transpose()?,
                pid: self.server_pid,
                unix: self.unix,
                flags: words(&self.server_flags),
                cores: self.server_cores.clone(),
            },
            workload: self.workload()?,
            targets: self.target.clone(),
            slo: self.slo,
            find_max: self.find_max,
        })
    }

    fn workload(&self) -> Result<Workload, String> {
        let mut args = self.clone();
        if let Some(preset) = args.preset {
            args.apply(preset);
        }
        let kind = match args.workload {
            KindName::Pubsub => Kind::PubSub,
            KindName::Request => Kind::Request,
            KindName::Fanout => Kind::FanOut,
            KindName::Queue => Kind::Queue,
            KindName::Churn => Kind::Churn,
            KindName::Sink => Kind::Sink,
        };
        if kind == Kind::FanOut {
            (args.publishers, args.subjects) = (1, Some(1));
        }
        Ok(Workload {
            name: args.name.clone().unwrap_or_else(|| kind.name().to_owned()),
            prefix: args.prefix.clone(),
            kind,
            dialect: args.dialect,
            publishers: args.publishers,
            subscribers: args.subscribers,
            stalled: args.stalled,
            subjects: args.subjects.unwrap_or(args.publishers),
            wildcard_share: args.wildcard_share,
            payload: args.payload.clone(),
            pacing: args.pacing(),
            batch: args.batch,
            lanes: args.delivery.lanes.clone(),
            members: args.delivery.members(),
            may_shed: args.delivery.may_shed,
            warm_up: args.warm_up,
            duration: args.duration,
            count: args.count,
            driver_cores: cores(args.driver_cores.as_deref())?,
        })
    }

    fn pacing(&self) -> Pacing {
        if self.closed {
            return Pacing::Closed { window: self.window };
        }
        let rate = self.ramp.unwrap_or(Ramp::constant(self.rate));
        Pacing::Open { rate, poisson: self.arrival == Arrival::Poisson }
    }

    fn apply(&mut self, preset: Preset) {
        let (connections, rate, payload) = match preset {
            Preset::Connections1000 => (1_000, 10_000.0, 1024),
            Preset::Connections5000 => (5_000, 50_000.0, 512),
            Preset::Connections10000 => (10_000, 100_000.0, 256),
        };
        (self.publishers, self.subscribers) = (connections / 2, connections / 2);
        self.subjects = Some(connections / 2);
        self.rate = rate;
        self.payload = Sizes::Fixed(payload);
        self.name.get_or_insert(format!("s47-{connections}"));
    }
}

/// The address of a server to drive.
pub fn resolve(text: &str, dialect: Dialect) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    let full =
        if text.contains(':') { text.to_owned() } else { format!("{text}:{}", dialect.default_port()) };
    let found = full.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found
        .map(Address::from)
        .ok_or_else(|| format!("'{text}' is not an address: write HOST:PORT or unix:PATH"))
}

/// Cores of the generator.
pub fn cores(text: Option<&str>) -> Result<Vec<usize>, String> {
    match text {
        None => {
            let allowed = core_affinity::get_core_ids().unwrap_or_default();
            Ok(vec![allowed.last().map_or(0, |core| core.id)])
        }
        Some(text) => parse_cores(text),
    }
}

pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_sets_its_row() {
        let workload = read("--preset s47-5000").expect("valid").workload;
        assert_eq!(workload.connections(), 5_000);
        assert_eq!(workload.payload, Sizes::Fixed(512));
        assert_eq!(workload.pacing, Pacing::Open { rate: Ramp::constant(50_000.0), poisson: false });
    }
}
