//! What is run: roles, subjects, sizes, pacing; and the plan of connections that follows.

use crate::dialect::Dialect;
use ringbolt_protocol::command::Priority;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Publishers and subscribers on K subjects.
    PubSub,
    /// Requesters and responders.
    Request,
    /// One publisher, every subscriber gets every message.
    FanOut,
    /// Subscribers are one queue group: each message goes to one.
    Queue,
    /// Connect, subscribe, one message, disconnect, again.
    Churn,
    /// Nobody subscribes; a barrier behind every batch tells that the server took it.
    Sink,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PubSub => "pubsub",
            Kind::Request => "request",
            Kind::FanOut => "fanout",
            Kind::Queue => "queue",
            Kind::Churn => "churn",
            Kind::Sink => "sink",
        }
    }
}

/// When messages are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pacing {
    /// By a schedule that waits for nothing.
    Open { rate: Ramp, poisson: bool },
    /// As soon as fewer than `window` are outstanding.
    Closed { window: u32 },
}

/// Messages a second: constant, or rising from `start` to `end` over `over` and constant after.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ramp {
    pub start: f64,
    pub end: f64,
    pub over: Duration,
}

impl Ramp {
    pub fn constant(rate: f64) -> Ramp {
        Ramp { start: rate, end: rate, over: Duration::ZERO }
    }

    /// The rate `seconds` after the start.
    pub fn at(&self, seconds: f64) -> f64 {
        let over = self.over.as_secs_f64();
        if seconds >= over { self.end } else { self.start + (self.end - self.start) * seconds / over }
    }
}

/// Payload sizes in bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Sizes {
    Fixed(usize),
    Uniform(usize, usize),
    /// Size and weight.
    Weighted(Vec<(usize, u32)>),
}

impl Sizes {
    pub fn largest(&self) -> usize {
        match self {
            Sizes::Fixed(bytes) | Sizes::Uniform(_, bytes) => *bytes,
            Sizes::Weighted(sizes) => sizes.iter().map(|&(bytes, _)| bytes).max().unwrap_or(0),
        }
    }

    /// A size for a uniformly random number.
    #[inline]
    pub fn choose(&self, random: u64) -> usize {
        match self {
            Sizes::Fixed(bytes) => *bytes,
            Sizes::Uniform(least, most) => least + (random % (most - least + 1) as u64) as usize,
            Sizes::Weighted(sizes) => {
                let total: u64 = sizes.iter().map(|&(_, weight)| u64::from(weight)).sum();
                let mut rest = random % total;
                for &(bytes, weight) in sizes {
                    if rest < u64::from(weight) {
                        return bytes;
                    }
                    rest -= u64::from(weight);
                }
                unreachable!("the weights sum to the bound")
            }
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let wrong = || format!("'{text}' is not a payload: write 128, 64..4096, or 16:90,4096:10");
        let number = |text: &str| {
            let bytes: usize = text.trim().parse().map_err(|_| wrong())?;
            let allowed = crate::payload::STAMP_BYTES..=crate::payload::PAYLOAD_BYTES_MAX;
            let (least, most) = (allowed.start(), allowed.end());
            allowed.contains(&bytes).then_some(bytes).ok_or(format!(
                "a payload has {least} to {most} bytes: the first {least} carry times and checks"
            ))
        };
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (number(least)?, number(most.trim_start_matches('='))?);
            return if least <= most { Ok(Sizes::Uniform(least, most)) } else { Err(wrong()) };
        }
        if !text.contains(':') {
            return number(text).map(Sizes::Fixed);
        }
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let (bytes, weight) = part.split_once(':').ok_or_else(wrong)?;
            let weight: u32 = weight.trim().parse().map_err(|_| wrong())?;
            sizes.push((number(bytes)?, weight));
        }
        let any = sizes.iter().any(|&(_, weight)| weight > 0);
        if any { Ok(Sizes::Weighted(sizes)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Fixed(bytes) => write!(formatter, "{bytes}"),
            Sizes::Uniform(least, most) => write!(formatter, "{least}..{most}"),
            Sizes::Weighted(sizes) => {
                let parts: Vec<String> =
                    sizes.iter().map(|(bytes, weight)| format!("{bytes}:{weight}")).collect();
                formatter.write_str(&parts.join(","))
            }
        }
    }
}

/// How long something takes: any time between the two, each as likely.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkTime {
    pub least: Duration,
    pub most: Duration,
}

impl WorkTime {
    /// Nanoseconds for a uniformly random number.
    pub fn choose(&self, random: u64) -> u64 {
        let (least, most) = (self.least.as_nanos() as u64, self.most.as_nanos() as u64);
        least + random % (most - least + 1)
    }
}

/// The members of the queue group, and what they do with what they are given.
#[derive(Clone, PartialEq, Debug)]
pub struct Members {
    /// Name of the group, with its options.
    pub group: String,
    /// Time a member takes for a message, before it answers.
    pub work: WorkTime,
    /// Of the messages, how many a member refuses by `-NAK`, and how many it never answers.
    pub nak_share: f64,
    pub silent_share: f64,
    /// Keys that messages have in turn; 0: none.
    pub keys: u32,
}

impl Members {
    pub fn takes_time(&self) -> bool {
        !self.work.most.is_zero()
    }

    /// Whether messages come again on purpose.
    pub fn fails(&self) -> bool {
        self.nak_share + self.silent_share > 0.0
    }

    /// The key of a publisher's message, by its sequence.
    pub fn key_of(&self, sequence: u32) -> Option<u32> {
        sequence.checked_rem(self.keys)
    }
}

#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    /// First token of all subjects.
    pub prefix: String,
    pub kind: Kind,
    pub dialect: Dialect,
    pub publishers: u32,
    pub subscribers: u32,
    /// Of the subscribers, the last so many never read.
    pub stalled: u32,
    pub subjects: u32,
    /// Share of subscribers that use a wildcard pattern.
    pub wildcard_share: f64,
    pub payload: Sizes,
    pub pacing: Pacing,
    /// Messages of a frame, of the native dialect; 1: no batches.
    pub batch: u32,
    /// Lanes of the subjects, in turn; empty: all are normal.
    pub lanes: Vec<Priority>,
    pub members: Members,
    /// Messages may be missing, but none of the most important lane.
    pub may_shed: bool,
    pub warm_up: Duration,
    pub duration: Duration,
    /// Stop after this many messages.
    pub count: Option<u64>,
    pub driver_cores: Vec<usize>,
}

/// What one connection does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    Publisher {
        number: u16,
        subjects: Vec<u32>,
    },
    Subscriber {
        subjects: Vec<u32>,
        wildcard: bool,
        /// A member of the queue group.
        member: bool,
        /// It subscribes, and never reads what it gets.
        stalled: bool,
    },
    Requester {
        number: u16,
        subject: u32,
    },
    Responder {
        subjects: Vec<u32>,
    },
    Churner {
        number: u16,
    },
}

/// Lanes by importance.
pub const LANES: [(&str, Priority); 5] = [
    ("critical", Priority::Critical),
    ("high", Priority::High),
    ("normal", Priority::Normal),
    ("low", Priority::Low),
    ("background", Priority::Background),
];

/// The queue group of the queue workload and of responders.
pub const GROUP: &str = "workers";

impl Workload {
    pub fn connections(&self) -> u32 {
        if self.has_receivers() { self.publishers + self.subscribers } else { self.publishers }
    }

    /// Whether there are connections that only receive.
    fn has_receivers(&self) -> bool {
        !matches!(self.kind, Kind::Churn | Kind::Sink)
    }

    /// The subject of a number. Its second token is the number: Redis channels are told apart by it.
    pub fn subject(&self, number: u32) -> String {
        format!("{}.{number}.m", self.prefix)
    }

    /// A pattern with a wildcard that matches exactly that subject.
    pub fn wildcard(&self, number: u32) -> String {
        format!("{}.{number}.*", self.prefix)
    }

    pub fn inbox(&self, requester: u32) -> String {
        format!("{}-inbox.{requester}", self.prefix)
    }

    /// The lane of a subject's messages.
    #[inline]
    pub fn lane(&self, subject: u32) -> Priority {
        match self.lanes.len() {
            0 => Priority::Normal,
            count => self.lanes[subject as usize % count],
        }
    }

    /// Roles of all connections. A publisher and the subscriber of its subject stand side by side, so
    /// that dealing them out in turn keeps drivers even.
    pub fn plan(&self) -> Vec<Role> {
        let mut roles = Vec::new();
        let rounds = self.publishers.max(self.subscribers);
        for index in 0..rounds {
            if index < self.subscribers && self.has_receivers() {
                roles.push(self.receiver(index));
            }
            if index < self.publishers {
                roles.push(self.sender(index));
            }
        }
        roles
    }

    fn sender(&self, index: u32) -> Role {
        let number = index as u16;
        match self.kind {
            Kind::Request => Role::Requester { number, subject: index % self.subjects },
            Kind::Churn => Role::Churner { number },
            _ => Role::Publisher { number, subjects: dealt(index, self.publishers, self.subjects) },
        }
    }

    fn receiver(&self, index: u32) -> Role {
        let wildcard = f64::from(index) < (self.wildcard_share * f64::from(self.subscribers)).round();
        let subjects = dealt(index, self.subscribers, self.subjects);
        match self.kind {
            Kind::Request => Role::Responder { subjects },
            Kind::Queue => {
                let subjects = (0..self.subjects).collect();
                Role::Subscriber { subjects, wildcard, member: true, stalled: false }
            }
            _ => {
                let stalled = index >= self.subscribers - self.stalled;
                Role::Subscriber { subjects, wildcard, member: false, stalled }
            }
        }
    }

    /// Deliveries a message on each subject causes.
    pub fn receivers(&self) -> Vec<u32> {
        match self.kind {
            Kind::Request | Kind::Queue | Kind::Churn | Kind::Sink => vec![1; self.subjects as usize],
            Kind::PubSub | Kind::FanOut => {
                let mut counts = vec![0; self.subjects as usize];
                // What the stalled are sent is not awaited.
                for index in 0..self.subscribers - self.stalled {
                    for subject in dealt(index, self.subscribers, self.subjects) {
                        counts[subject as usize] += 1;
                    }
                }
                counts
            }
        }
    }

    /// Publishers that share a subject have ranks `0..ranks`, by [`Workload::rank`].
    pub fn ranks(&self) -> u32 {
        self.publishers.div_ceil(self.subjects).max(1)
    }

    #[inline]
    pub fn rank(&self, publisher: u16) -> u32 {
        if self.publishers > self.subjects { u32::from(publisher) / self.subjects } else { 0 }
    }
}

/// Subjects of the `index`th of `count` holders: dealt out in turn, or shared if there are fewer.
fn dealt(index: u32, count: u32, subjects: u32) -> Vec<u32> {
    if subjects >= count {
        (index..subjects).step_by(count as usize).collect()
    } else {
        vec![index % subjects]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(publishers: u32, subscribers: u32, subjects: u32) -> Workload {
        Workload {
            name: "t".into(),
            prefix: "rb".into(),
            kind: Kind::PubSub,
            dialect: Dialect::Native,
            publishers,
            subscribers,
            stalled: 0,
            subjects,
            wildcard_share: 0.0,
            payload: Sizes::Fixed(16),
            pacing: Pacing::Closed { window: 1 },
            batch: 1,
            lanes: Vec::new(),
            members: Members {
                group: GROUP.to_owned(),
                work: WorkTime::default(),
                nak_share: 0.0,
                silent_share: 0.0,
                keys: 0,
            },
            may_shed: false,
            warm_up: Duration::ZERO,
            duration: Duration::ZERO,
            count: None,
            driver_cores: vec![0],
        }
    }

    #[test]
    fn every_subject_has_its_publishers_and_receivers() {
        for (publishers, subscribers, subjects) in [(1, 1, 1), (8, 8, 8), (3, 5, 7), (7, 2, 3), (1, 16, 1)] {
            let workload = workload(publishers, subscribers, subjects);
            let mut received = vec![0; subjects as usize];
            let mut published = vec![Vec::new(); subjects as usize];
            for role in workload.plan() {
                match role {
                    Role::Subscriber { subjects, .. } => {
                        subjects.iter().for_each(|&subject| received[subject as usize] += 1);
                    }
                    Role::Publisher { number, subjects } => {
                        subjects.iter().for_each(|&subject| published[subject as usize].push(number));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(received, workload.receivers());
            for publishers in published {
                let ranks: Vec<u32> = publishers.iter().map(|&number| workload.rank(number)).collect();
                assert!(ranks.iter().all(|&rank| rank < workload.ranks()), "{ranks:?}");
                let distinct: std::collections::HashSet<_> = ranks.iter().collect();
                assert_eq!(distinct.len(), ranks.len(), "ranks tell publishers of a subject apart");
            }
        }
    }

    #[test]
    fn payload_sizes_are_read_and_chosen() {
        assert_eq!("128".parse(), Ok(Sizes::Fixed(128)));
        assert_eq!("64..4096".parse(), Ok(Sizes::Uniform(64, 4096)));
        let weighted: Sizes = "16:90,4096:10".parse().expect("valid");
        let large = (0..100).filter(|&random| weighted.choose(random) == 4096).count();
        assert_eq!(large, 10);
        for bad in ["15", "x", "64..16", "16:0", "99999999999"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ramp_rises_and_stays() {
        let ramp = Ramp { start: 0.0, end: 100.0, over: Duration::from_secs(10) };
        assert_eq!((ramp.at(0.0), ramp.at(5.0), ramp.at(20.0)), (0.0, 50.0, 100.0));
    }
}
