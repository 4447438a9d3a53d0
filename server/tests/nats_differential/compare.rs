//! What two servers answered, side by side, without what may differ.

use crate::play::Heard;
use crate::transcript::Transcript;
use std::fmt::Write;

/// The first difference, in words; `None` if there is none.
pub fn difference(
    transcript: &Transcript,
    theirs: &[Vec<Heard>],
    ours: &[Vec<Heard>],
    several_shards: bool,
) -> Option<String> {
    for (number, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        for (client, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
            let (left, right) = (comparable(theirs, several_shards), comparable(ours, several_shards));
            // nats-server closes with input unread, and TCP then may lose what it had said before.
            let cut_short = theirs.ended && ours.ended && right.starts_with(&left[..left.len() - 1]);
            if left == right || cut_short {
                continue;
            }
            let mut text = String::new();
            for step in &transcript.steps[..=number] {
                let bytes = shown(&step.writes.join(&b'|'));
                writeln!(text, "client {}: {bytes}", step.client).expect("a string takes everything");
            }
            return Some(format!(
                "{text}then client {client} heard\n  from nats-server {}\n  from ringbolt    {}",
                left.join(" "),
                right.join(" ")
            ));
        }
    }
    None
}

/// The frames as text, without what `docs/NATS.md` says may differ: when `INFO` and `PING` come, leading
/// zeros of sizes, how often a wrong subject of one publish is named, and whether it is when the publish is
/// wrong in other ways too, and which of a client's subscriptions gets a message first, or a 503. So messages
/// in a row are sorted by subscription, and keep their order within each.
fn comparable(heard: &Heard, several_shards: bool) -> Vec<String> {
    let frames = heard.frames.iter().filter(|frame| !frame.starts_with(b"INFO ") && *frame != b"PING\r\n");
    let mut frames: Vec<(Option<String>, String)> =
        frames.map(|frame| (order(frame), shown(&without_chance(&without_zeros(frame))))).collect();
    if several_shards {
        // An answer that waits for another shard is overtaken by messages.
        frames.sort_by_key(|(order, _)| order.is_some());
    }
    // `dedup_by` shows the later one first.
    frames.dedup_by(|later, earlier| {
        let named = earlier.1.contains("Invalid Publish Subject");
        let ends = named && later.1.contains("Unknown Protocol Operation");
        if ends {
            std::mem::swap(later, earlier);
        }
        ends || named && later == earlier
    });
    for run in frames.chunk_by_mut(|left, right| left.0.is_some() && right.0.is_some()) {
        run.sort_by(|left, right| left.0.cmp(&right.0));
    }
    let mut texts: Vec<String> = frames.into_iter().map(|(_, text)| text).collect();
    if heard.ended {
        texts.push("the end".to_owned());
    }
    texts
}

/// What messages in a row are sorted by.
fn order(frame: &[u8]) -> Option<String> {
    subscription(&without_chance(frame))
}

/// The id of the subscription a message is for.
fn subscription(frame: &[u8]) -> Option<String> {
    let mut words = frame.split(|&byte| byte == b' ');
    let is_message = words.next().is_some_and(|verb| verb == b"MSG" || verb == b"HMSG");
    let sid = words.nth(1).filter(|_| is_message)?;
    Some(String::from_utf8_lossy(sid).into_owned())
}

/// A 503 goes to any of the subscriptions that would take the reply.
fn without_chance(frame: &[u8]) -> Vec<u8> {
    const NO_RESPONDERS: &str = "NATS/1.0 503\r\nNats-Subject: ";
    let text = String::from_utf8_lossy(frame);
    match (subscription(frame), text.contains(NO_RESPONDERS)) {
        (Some(sid), true) => text.replacen(&format!(" {sid} "), " any ", 1).into_bytes(),
        _ => frame.to_vec(),
    }
}

/// A message whose sizes begin with no zeros.
fn without_zeros(frame: &[u8]) -> Vec<u8> {
    if subscription(frame).is_none() {
        return frame.to_vec();
    }
    let line_bytes = frame.iter().position(|&byte| byte == b'\n').unwrap_or(frame.len());
    let (line, rest) = frame.split_at(line_bytes);
    let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
    let sizes = if line.starts_with(b"HMSG") { 2 } else { 1 };
    let first_size = words.len() - sizes;
    let trimmed =
        words.iter().enumerate().map(|(place, word)| match word.iter().position(|&byte| byte != b'0') {
            Some(zeros) if place >= first_size => &word[zeros..],
            None if place >= first_size => b"0",
            _ => *word,
        });
    [&trimmed.collect::<Vec<_>>().join(&b' '), &b"\r"[..], rest].concat()
}

fn shown(bytes: &[u8]) -> String {
    let text = format!("{:?}", String::from_utf8_lossy(bytes));
    match text.char_indices().nth(400) {
        Some((place, _)) => format!("{}…", &text[..place]),
        None => text,
    }
}
