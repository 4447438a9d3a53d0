//! What a queue group asks for: options behind its name.
//!
//! A NATS client can say nothing about a subscription but its subject and queue group, so the options
//! stand in the group's name: `workers;ack;wait=10s;max=5`. The name before the first `;` is the
//! group's. A name without `;ack` is a name and nothing else.

use super::balance::Balance;
use std::borrow::Cow;
use std::fmt;

/// How messages of a group are worked off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkOptions {
    /// Time a member has to acknowledge.
    pub wait_nanos: u64,
    /// Deliveries of one message, the first included.
    pub deliveries_max: u16,
    /// Deliveries that a member may have unacknowledged.
    pub in_flight_max: u32,
    /// Messages of a shard that wait for a member.
    pub pending_max: u32,
    /// Deliveries of a shard in flight that only critical messages may be.
    pub reserve: u32,
    /// Longest wait before the second delivery, and before any.
    pub backoff_nanos: (u64, u64),
    /// Members that must fail a message before it is taken for poison.
    pub poison_members: u8,
    pub balance: Balance,
    /// A member that fails what it is given is given less.
    pub breaker: bool,
}

impl Default for WorkOptions {
    fn default() -> WorkOptions {
        WorkOptions {
            wait_nanos: 30_000_000_000,
            deliveries_max: 5,
            in_flight_max: 64,
            pending_max: 65_536,
            reserve: 0,
            backoff_nanos: (100_000_000, 30_000_000_000),
            poison_members: 3,
            balance: Balance::Least,
            breaker: true,
        }
    }
}

const WAIT_NANOS_MAX: u64 = 24 * 3_600_000_000_000;
const PENDING_MAX: u32 = 1 << 20;

/// An option that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionError(String);

impl fmt::Display for OptionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What stands between a group's name and the header of its keys in the name it is routed by.
const KEYED: &str = ";ack;key=";

/// A group's own name: without the options behind it.
pub fn own_name(text: &str) -> &str {
    match text.split_once(';') {
        Some((name, "ack")) if !name.is_empty() => name,
        Some((name, rest)) if !name.is_empty() && rest.starts_with("ack;") => name,
        _ => text,
    }
}

/// The group's own name, and the one that it is routed by: members that name a key are a group of their own.
pub fn group_name(text: &str) -> (&str, Cow<'_, str>) {
    let own = own_name(text);
    let key = text[own.len()..].split(';').filter_map(|option| option.strip_prefix("key=")).next_back();
    (own, key.map_or(Cow::Borrowed(own), |header| Cow::Owned(format!("{own}{KEYED}{header}"))))
}

/// The header whose value says where a group's message goes, by the name the group is routed by.
pub fn key_header(routed_name: &str) -> Option<&str> {
    routed_name.split_once(KEYED).map(|(_, header)| header)
}

/// The name a group is routed by, and its options if it has some. Members that name a key are a group of
/// their own: every shard must know of the key to choose the shard by it.
pub fn parse_group(text: &str) -> Result<(Cow<'_, str>, Option<WorkOptions>), OptionError> {
    let name = own_name(text);
    if name.len() == text.len() {
        return Ok((Cow::Borrowed(text), None));
    }
    let parts = text[name.len()..].split(';').skip(2);
    let mut options = WorkOptions::default();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let understood = match key {
            "wait" => time(value).map(|nanos| options.wait_nanos = nanos),
            "max" => number(value, 1, u16::MAX.into()).map(|most| options.deliveries_max = most as u16),
            "inflight" => number(value, 1, PENDING_MAX).map(|most| options.in_flight_max = most),
            "pending" => number(value, 1, PENDING_MAX).map(|most| options.pending_max = most),
            "reserve" => number(value, 0, PENDING_MAX).map(|slots| options.reserve = slots),
            "poison" => number(value, 1, u8::MAX.into()).map(|most| options.poison_members = most as u8),
            "backoff" => value.split_once("..").and_then(|(least, most)| {
                let bounds = (time(least)?, time(most)?);
                (bounds.0 <= bounds.1).then(|| options.backoff_nanos = bounds)
            }),
            "balance" => balance(value).map(|balance| options.balance = balance),
            "breaker" => switch(value).map(|on| options.breaker = on),
            "key" if !value.is_empty() => {
                options.balance = Balance::Key(value.into());
                Some(())
            }
            _ => None,
        };
        if understood.is_none() {
            return Err(OptionError(format!(
                "'{part}' is no option of a queue group: write wait=TIME, max=N, inflight=N, pending=N, \
                 reserve=N, poison=N, backoff=TIME..TIME, balance=NAME, \
                 key=HEADER or breaker=off"
            )));
        }
    }
    let (_, name) = group_name(text);
    debug_assert_eq!(own_name(&name), own_name(text), "by whatever name it is routed, it is that group");
    debug_assert!(options.backoff_nanos.0 <= options.backoff_nanos.1, "the least is no more than the most");
    Ok((name, Some(options)))
}

fn balance(name: &str) -> Option<Balance> {
    match name {
        "least" => Some(Balance::Least),
        "round-robin" => Some(Balance::RoundRobin),
        "latency" => Some(Balance::Latency),
        "adaptive" => Some(Balance::Adaptive),
        _ => None,
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn time(text: &str) -> Option<u64> {
    let nanos = u64::try_from(humantime::parse_duration(text).ok()?.as_nanos()).ok()?;
    (1..=WAIT_NANOS_MAX).contains(&nanos).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_behind_the_name() {
        let options = WorkOptions::default();
        assert_eq!(parse_group("workers;ack"), Ok(("workers".into(), Some(options))));
        let options = WorkOptions {
            wait_nanos: 250_000_000,
            deliveries_max: 3,
            in_flight_max: 1,
            pending_max: 10,
            reserve: 3,
            backoff_nanos: (1_000_000, 2_000_000_000),
            poison_members: 2,
            balance: Balance::Adaptive,
            breaker: false,
        };
        let text = "w;ack;wait=250ms;max=3;inflight=1;pending=10;reserve=3;backoff=1ms..2s;poison=2;\
                    balance=adaptive;breaker=off";
        assert_eq!(parse_group(text), Ok(("w".into(), Some(options))));
        let (name, options) = parse_group("w;ack;wait=1s;key=User").expect("valid");
        assert_eq!(options.map(|options| options.balance), Some(Balance::Key("User".into())));
        assert_eq!((own_name(&name), key_header(&name)), ("w", Some("User")));
        assert_eq!((own_name("w;acknowledge"), key_header("w;ack")), ("w;acknowledge", None));
        for plain in ["workers", "a;b", "a;", ";ack", "", "a;acknowledge"] {
            assert_eq!(parse_group(plain), Ok((plain.into(), None)), "{plain}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, part) in [
            ("w;ack;wait=soon", "wait=soon"),
            ("w;ack;max=0", "max=0"),
            ("w;ack;inflight=2000000", "inflight=2000000"),
            ("w;ack;backoff=2s..1s", "backoff=2s..1s"),
            ("w;ack;colour=red", "colour=red"),
            ("w;ack;balance=fair", "balance=fair"),
            ("w;ack;key=", "key="),
            ("w;ack;", "''"),
        ] {
            let error = parse_group(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
