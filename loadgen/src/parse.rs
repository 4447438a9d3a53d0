//! Values of flags, from text.

use crate::workload::{LANES, Ramp, WorkTime};
use ringbolt_protocol::command::Priority;
use std::time::Duration;

pub fn parse_lane(text: &str) -> Result<Priority, String> {
    let lane = LANES.iter().find(|(name, _)| *name == text.trim());
    lane.map(|&(_, priority)| priority)
        .ok_or_else(|| format!("'{text}' is no lane: write critical, high, normal, low or background"))
}

/// `8ms`, or `4ms..12ms`.
pub fn parse_work(text: &str) -> Result<WorkTime, String> {
    let (least, most) = match text.split_once("..") {
        Some((least, most)) => (parse_time(least)?, parse_time(most)?),
        None => (parse_time(text)?, parse_time(text)?),
    };
    let order = least <= most;
    order.then_some(WorkTime { least, most }).ok_or_else(|| format!("'{text}': the shorter time comes first"))
}

/// A part of something, from 0 to 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is not a share: write a number from 0 to 1"))
}

/// `0,1` or `0-3`.
pub fn parse_cores(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("'{text}' is not a list of cores: write 0,1 or 0-3");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if first > last || last > 4096 {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// One token of a subject in any of the protocols.
pub fn parse_prefix(text: &str) -> Result<String, String> {
    let token = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    token
        .then(|| text.to_owned())
        .ok_or_else(|| format!("'{text}' is not a token: letters and digits, at most 64"))
}

pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.trim_end_matches("/s") {
        text if text.ends_with(['k', 'K']) => (&text[..text.len() - 1], 1e3),
        text if text.ends_with(['m', 'M']) => (&text[..text.len() - 1], 1e6),
        text => (text, 1.0),
    };
    let rate: f64 = number.parse().map_err(|_| format!("'{text}' is not a rate: write 5000, 50k or 2.5M"))?;
    let rate = rate * factor;
    if (0.0..=1e9).contains(&rate) { Ok(rate) } else { Err(format!("'{text}' is out of bounds: 0 to 1000M")) }
}

pub fn parse_ramp(text: &str) -> Result<Ramp, String> {
    let wrong = || format!("'{text}' is not a ramp: write FROM..TO:TIME, like 0..100k:30s");
    let (rates, over) = text.split_once(':').ok_or_else(wrong)?;
    let (start, end) = rates.split_once("..").ok_or_else(wrong)?;
    Ok(Ramp { start: parse_rate(start)?, end: parse_rate(end)?, over: parse_time(over)? })
}

pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time: write 250us, 500ms, 10s or 2m");
    let place = text.find(|letter: char| letter.is_ascii_alphabetic() || letter == 'µ').ok_or_else(wrong)?;
    let number: f64 = text[..place].parse().map_err(|_| wrong())?;
    let seconds = match &text[place..] {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_ramps_and_times_are_read() {
        assert_eq!(parse_rate("50k"), Ok(50_000.0));
        assert_eq!(parse_rate("2.5M"), Ok(2_500_000.0));
        assert_eq!(parse_time("250us"), Ok(Duration::from_micros(250)));
        let ramp = parse_ramp("0..100k:30s").expect("valid");
        assert_eq!((ramp.start, ramp.end, ramp.over), (0.0, 100_000.0, Duration::from_secs(30)));
        let work = WorkTime { least: Duration::from_millis(4), most: Duration::from_millis(12) };
        assert_eq!(parse_work("4ms..12ms"), Ok(work));
        assert!(parse_work("12ms..4ms").is_err() && parse_share("1.1").is_err());
        assert!(parse_time("10").is_err() && parse_rate("fast").is_err() && parse_ramp("1..2").is_err());
    }
}
