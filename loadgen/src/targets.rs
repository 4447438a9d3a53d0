//! Figures a run has to reach, and whether it did.

use crate::histogram::quantile;
use crate::output::micros;
use crate::parse::{parse_rate, parse_time};
use crate::result::{RunResult, TargetSeen};
use std::fmt;
use std::str::FromStr;

/// Messages that memory growth is stated for.
const GROWTH_MESSAGES: f64 = 100_000.0;
const MIB: f64 = 1_048_576.0;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Metric {
    /// The response time that this share of messages stays under, in nanoseconds.
    Response(f64),
    ResponseMost,
    /// Messages delivered a second.
    Rate,
    /// CPU time of the server a message, in nanoseconds.
    Cpu,
    /// Cores the server used.
    Cores,
    /// Bytes the server's resident memory grew by, for every 100 000 messages.
    Growth,
    /// Share of messages that came to another member than the one before of their key.
    Moved,
}

/// `p99<250us`, `max<5ms`, `rate>1M`, `cpu<2us`, `cores<0.6`, `growth<10MiB` or `moved<0.01`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Target {
    metric: Metric,
    bound: f64,
}

impl Target {
    /// The share of messages is 0.99.
    pub fn response_p99(nanos: u64) -> Target {
        Target { metric: Metric::Response(0.99), bound: nanos as f64 }
    }

    pub fn look(&self, run: &RunResult) -> TargetSeen {
        let seen = self.seen(run);
        let reached =
            |seen: f64| if self.metric == Metric::Rate { seen >= self.bound } else { seen <= self.bound };
        TargetSeen {
            asked: self.to_string(),
            seen: seen.map_or("not measured".to_owned(), |seen| self.metric.text(seen)),
            pass: seen.is_some_and(reached),
        }
    }

    fn seen(&self, run: &RunResult) -> Option<f64> {
        let response = || crate::result::decode(&run.latency.response).ok();
        let server = run.usage.server.as_ref();
        match self.metric {
            Metric::Response(share) => quantile(&response()?, share).map(|nanos| nanos as f64),
            Metric::ResponseMost => response().filter(|all| !all.is_empty()).map(|all| all.max() as f64),
            Metric::Rate => Some(run.rates.delivered_per_second),
            Metric::Cpu => server.map(|server| server.cpu_nanos_per_message),
            Metric::Cores => server.map(|server| server.cpu_seconds / run.rates.seconds),
            Metric::Growth => server.map(|server| {
                let messages = (run.rates.delivered_per_second * run.rates.seconds).max(1.0);
                server.resident_bytes_growth.max(0) as f64 * GROWTH_MESSAGES / messages
            }),
            Metric::Moved => {
                let members = run.members.as_ref().filter(|members| members.keys > 0)?;
                Some(members.moved as f64 / run.counts.delivered.max(1) as f64)
            }
        }
    }
}

impl Metric {
    fn text(self, value: f64) -> String {
        match self {
            Metric::Response(_) | Metric::ResponseMost => format!("{} µs", micros(value as u64)),
            Metric::Rate => format!("{} msg/s", crate::output::grouped(value)),
            Metric::Cpu => format!("{value:.0} ns"),
            Metric::Cores => format!("{value:.2}"),
            Metric::Growth => format!("{:.2} MiB", value / MIB),
            Metric::Moved => format!("{value:.4}"),
        }
    }

    fn name(self) -> String {
        match self {
            Metric::Response(share) => format!("response p{}", (share * 1e7).round() / 1e5),
            Metric::ResponseMost => "longest response".to_owned(),
            Metric::Rate => "delivered".to_owned(),
            Metric::Cpu => "server CPU a message".to_owned(),
            Metric::Cores => "server cores".to_owned(),
            Metric::Growth => "server memory growth per 100 000 messages".to_owned(),
            Metric::Moved => "share of messages whose key moved".to_owned(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.metric == Metric::Rate { "at least" } else { "at most" };
        write!(formatter, "{} {most} {}", self.metric.name(), self.metric.text(self.bound))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let wrong = || {
            format!(
                "'{text}' is not a target: write p99<250us, max<5ms, rate>1M, cpu<2us, cores<0.6, \
                 growth<10MiB or moved<0.01"
            )
        };
        let place = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, bound) = (text[..place].trim(), text[place + 1..].trim());
        let (metric, sign) = match name {
            "max" => (Metric::ResponseMost, '<'),
            "rate" => (Metric::Rate, '>'),
            "cpu" => (Metric::Cpu, '<'),
            "cores" => (Metric::Cores, '<'),
            "growth" => (Metric::Growth, '<'),
            "moved" => (Metric::Moved, '<'),
            _ => {
                let percent: f64 =
                    name.strip_prefix('p').and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
                let share = (0.0..100.0).contains(&percent).then_some(percent / 100.0);
                (Metric::Response(share.ok_or_else(wrong)?), '<')
            }
        };
        if !text[place..].starts_with(sign) {
            return Err(wrong());
        }
        let bound = match metric {
            Metric::Response(_) | Metric::ResponseMost => parse_time(bound)?.as_nanos() as f64,
            // Its unit is short enough that a time of no less than a nanosecond will do.
            Metric::Cpu => bound.strip_suffix("ns").map_or_else(
                || parse_time(bound).map(|time| time.as_nanos() as f64),
                |nanos| nanos.parse().map_err(|_| wrong()),
            )?,
            Metric::Rate => parse_rate(bound)?,
            Metric::Cores | Metric::Moved => bound.parse().map_err(|_| wrong())?,
            Metric::Growth => {
                let mebibytes =
                    bound.strip_suffix("MiB").and_then(|number| number.trim().parse::<f64>().ok());
                mebibytes.ok_or_else(wrong)? * MIB
            }
        };
        Ok(Target { metric, bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_and_said_in_words() {
        let said = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(said("p99<250us"), Ok("response p99 at most 250.0 µs".to_owned()));
        assert_eq!(said("p99.9 < 1ms"), Ok("response p99.9 at most 1000.0 µs".to_owned()));
        assert_eq!(said("max<5ms"), Ok("longest response at most 5000.0 µs".to_owned()));
        assert_eq!(said("rate>1M"), Ok("delivered at least 1 000 000 msg/s".to_owned()));
        assert_eq!(said("cpu<900ns"), Ok("server CPU a message at most 900 ns".to_owned()));
        assert_eq!(said("cpu<2us"), Ok("server CPU a message at most 2000 ns".to_owned()));
        assert_eq!(said("moved<0.01"), Ok("share of messages whose key moved at most 0.0100".to_owned()));
        assert_eq!(said("cores<0.6"), Ok("server cores at most 0.60".to_owned()));
        assert_eq!(
            said("growth<10MiB"),
            Ok("server memory growth per 100 000 messages at most 10.00 MiB".to_owned())
        );
        for wrong in ["p99", "p99>1ms", "rate<1M", "p100<1ms", "q<1", "growth<10", "cores<many", "cpu<fast"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
