//! The command line, and the workload it describes.

mod delivery;
mod parse;

pub use delivery::DeliveryArgs;
pub use parse::{parse_cores, parse_rate, parse_time};

use crate::dialect::Dialect;
use crate::targets::Target;
use crate::workload::{Kind, Pacing, Ramp, Sizes, Workload};
use clap::{Args, Parser, Subcommand, ValueEnum};
use parse::{parse_prefix, parse_ramp, parse_share};
use ringbolt_protocol::limits::{BATCH_MESSAGES_MAX, PAYLOAD_BYTES_MAX_DEFAULT};
use ringbolt_ring::Address;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

/// Open-loop load generator for ringbolt, NATS and Redis.
///
/// Without --address it starts ringbolt-server itself, on the first core, and drives it from the last.
/// Latency counts from the time a message was due, not from when the generator got to send it. Every
/// delivery is checked for loss, duplication, order and content. Exit status: 0 pass, 1 fail, 2 not run.
#[derive(Parser, Debug)]
#[command(version, name = "ringbolt-loadgen", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Sub>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a process, and clap cannot box arguments")]
pub enum Sub {
    /// Compares runs: quantile differences with confidence, beside the hosts' differences.
    Compare(crate::compare::CompareArgs),
    /// Runs two variants in ABBA rounds and gives one verdict.
    Ab(crate::ab::AbArgs),
    /// Builds the server and compares it before and after tuning the host; writes an HTML report.
    Demo(crate::demo::DemoArgs),
    /// Runs rows of workloads against ringbolt and other servers, interleaved.
    Peers(crate::peers::PeersArgs),
    /// Runs workloads whose figures are known in advance, and says which were reached.
    Validate(crate::validate::ValidateArgs),
    /// Relays bytes between connections without looking at them: the bound of any server.
    Limit(crate::limit::LimitArgs),
}

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

impl RunArgs {
    /// The workload, against `address`.
    pub fn workload(&self, address: Address) -> Result<Workload, String> {
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
        let workload = Workload {
            name: args.name.clone().unwrap_or_else(|| kind.name().to_owned()),
            prefix: args.prefix.clone(),
            kind,
            dialect: args.dialect,
            address,
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
            driver_cores: args.cores()?,
        };
        check(&workload)?;
        Ok(workload)
    }

    /// What the run must hold beside its rate.
    pub fn targets(&self) -> Vec<Target> {
        let slo = self.slo.map(|slo| Target::response_p99(slo.as_nanos() as u64));
        slo.into_iter().chain(self.target.iter().copied()).collect()
    }

    /// The address to drive; `None` if the generator starts the server.
    pub fn remote(&self) -> Result<Option<Address>, String> {
        let Some(text) = &self.address else { return Ok(None) };
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Some(Address::Unix(path.into())));
        }
        let full =
            if text.contains(':') { text.clone() } else { format!("{text}:{}", self.dialect.default_port()) };
        let found = full.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        found
            .map(|address| Some(address.into()))
            .ok_or(format!("'{text}' is not an address: write HOST:PORT or unix:PATH"))
    }

    pub fn cores(&self) -> Result<Vec<usize>, String> {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        match &self.driver_cores {
            None => Ok(vec![allowed.last().copied().unwrap_or(0)]),
            Some(text) => parse_cores(text),
        }
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

fn check(workload: &Workload) -> Result<(), String> {
    let fail = |wrong: bool, text: &str| if wrong { Err(text.to_owned()) } else { Ok(()) };
    fail(workload.publishers == 0, "--publishers: at least one")?;
    let senders_only = matches!(workload.kind, Kind::Churn | Kind::Sink);
    fail(workload.subscribers == 0 && !senders_only, "--subscribers: at least one")?;
    let may_stall = matches!(workload.kind, Kind::PubSub | Kind::FanOut);
    fail(workload.stalled > 0 && !may_stall, "--stalled wants --workload pubsub or fanout")?;
    fail(workload.stalled >= workload.subscribers.max(1), "--stalled: fewer than --subscribers")?;
    fail(workload.subjects == 0, "--subjects: at least one")?;
    fail(workload.publishers > 65_535, "--publishers: at most 65535, their number travels in 16 bits")?;
    fail(workload.duration.is_zero(), "--duration: longer than nothing")?;
    fail(workload.duration > Duration::from_secs(86_400), "--duration: at most a day")?;
    check_dialect(workload)?;
    let batches = workload.dialect == Dialect::Native
        && matches!(workload.kind, Kind::PubSub | Kind::FanOut | Kind::Sink);
    fail(
        workload.batch > 1 && !batches,
        "--batch wants --dialect native and --workload pubsub, fanout or sink",
    )?;
    fail(!(1..=BATCH_MESSAGES_MAX).contains(&workload.batch), "--batch: 1 to 1024")?;
    let frame_bytes = u64::from(workload.batch) * (workload.payload.largest() as u64 + 5);
    let too_long = workload.batch > 1 && frame_bytes > PAYLOAD_BYTES_MAX_DEFAULT as u64;
    fail(too_long, "--batch: a frame would have more than the 1 MiB a server takes by default")?;
    let sink = workload.kind == Kind::Sink && !matches!(workload.pacing, Pacing::Closed { .. });
    fail(sink, "--workload sink wants --closed: its barriers are what paces it")?;
    delivery::check(workload)?;
    let introduced = workload.subjects.div_ceil(workload.publishers) > 4096;
    fail(introduced, "--subjects: at most 4096 a publisher")
}

/// Not every protocol has what every workload needs.
fn check_dialect(workload: &Workload) -> Result<(), String> {
    let plain = matches!(workload.kind, Kind::PubSub | Kind::FanOut | Kind::Sink);
    match workload.dialect {
        Dialect::Native | Dialect::Nats => Ok(()),
        Dialect::Redis | Dialect::Mqtt if !plain => {
            Err("Redis and MQTT have no requests or greetings: choose --workload pubsub, fanout or sink"
                .into())
        }
        Dialect::Redis | Dialect::Mqtt => Ok(()),
        Dialect::Raw if matches!(workload.kind, Kind::Queue | Kind::Sink) => {
            Err("the relay has no groups and answers nothing: choose another --workload or --dialect".into())
        }
        Dialect::Raw => {
            let own = workload.subjects == workload.publishers && workload.subjects <= workload.subscribers;
            let own = own || workload.kind == Kind::Churn;
            if own { Ok(()) } else { Err("--dialect raw: one subject a publisher and subscriber".into()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_preset_sets_its_row() {
        let cli = Cli::parse_from(["x", "--preset", "s47-5000"]);
        let workload = cli.run.workload(Address::Unix("x".into())).expect("valid");
        assert_eq!(workload.connections(), 5_000);
        assert_eq!(workload.payload, Sizes::Fixed(512));
        assert_eq!(workload.pacing, Pacing::Open { rate: Ramp::constant(50_000.0), poisson: false });
    }
}
