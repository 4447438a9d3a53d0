//! Flags of lanes and of groups that acknowledge.

use crate::parse::{parse_lane, parse_share, parse_work};
use crate::workload::{GROUP, Members, WorkTime};
use clap::Args;
use ringbolt_protocol::command::Priority;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    /// Lanes of the subjects, in turn: critical,normal,normal,background (native and NATS dialects)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_lane)]
    pub lanes: Vec<Priority>,
    /// Messages may be missing, but none of the most important lane
    #[arg(long, requires = "lanes")]
    pub may_shed: bool,
    /// The queue group and its options; members of one like 'workers;ack;inflight=8' acknowledge
    #[arg(long, value_name = "NAME", default_value = GROUP)]
    pub group: String,
    /// Time a member takes for a message before it acknowledges it, one after the other: 8ms, or 4ms..12ms
    #[arg(long, value_name = "TIME", value_parser = parse_work, default_value = "0s")]
    pub work: WorkTime,
    /// Share of messages a member says -NAK to instead; every message must come at least once then
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "0")]
    pub nak: f64,
    /// Share of messages a member never answers; every message must come at least once then
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "0")]
    pub silent: f64,
    /// Keys that messages have in turn, in the header Key: for a group like 'workers;ack;key=Key'. Counts
    /// how often the messages of a key change the member
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keys: u32,
}

impl DeliveryArgs {
    pub fn members(&self) -> Members {
        Members {
            group: self.group.clone(),
            work: self.work,
            nak_share: self.nak,
            silent_share: self.silent,
            keys: self.keys,
        }
    }
}
