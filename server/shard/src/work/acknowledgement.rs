//! What a member says of a message it was given, and where it says it.
//!
//! A delivery's reply subject is where its acknowledgement goes. Subject and words are those of JetStream
//! (NATS ADR-15 and the JetStream wire API), so that the `ack`, `nak`, `term` and `in_progress` of existing
//! NATS clients work.

use super::options::own_name;
use super::task::TaskId;
use crate::metrics::Counter;
use crate::reserved;
use std::fmt::Write;

/// How the reply subject of a delivery begins.
pub const PREFIX: &str = "$JS.ACK.ringbolt.";
/// Tokens behind the prefix: group, deliveries, message, deliveries to the member, time, messages waiting.
const TOKENS: usize = 6;
/// Letters kept of what a member says.
const WORDS_MAX: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Ack,
    /// Not done: again, at once or after so many nanoseconds.
    Nak(Option<u64>),
    /// Still at it: the time to acknowledge begins anew.
    Progress,
    /// Never again.
    Term,
}

impl Verb {
    /// What a payload says; nothing at all is an acknowledgement.
    pub fn parse(payload: &[u8]) -> Option<Verb> {
        let text = std::str::from_utf8(payload).ok()?.trim();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "" | "+ACK" | "+NXT" => Some(Verb::Ack),
            "-NAK" => Some(Verb::Nak(delay(rest))),
            "+WPI" => Some(Verb::Progress),
            "+TERM" => Some(Verb::Term),
            _ => None,
        }
    }

    pub fn counter(self) -> Counter {
        match self {
            Verb::Ack => Counter::AcknowledgementsAck,
            Verb::Nak(_) => Counter::AcknowledgementsNak,
            Verb::Progress => Counter::AcknowledgementsProgress,
            Verb::Term => Counter::AcknowledgementsTerm,
        }
    }
}

/// What a member adds to its verb, for people: why it failed the message. Bounded, and one line.
pub fn words(payload: &[u8]) -> &str {
    let text = std::str::from_utf8(payload).unwrap_or_default().trim();
    let words = text.split_once(' ').map_or("", |(_, words)| words);
    let line = words.lines().next().unwrap_or_default();
    line.char_indices().nth(WORDS_MAX).map_or(line, |(end, _)| &line[..end])
}

/// `{"load": percent}`, behind an acknowledgement.
pub fn load_in(words: &str) -> Option<u8> {
    if !words.starts_with('{') {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(words).ok()?;
    value.get("load")?.as_u64().map(|percent| percent.min(100) as u8)
}

/// `{"delay": nanoseconds}`.
fn delay(text: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("delay")?.as_u64()
}

/// The reply subject of a delivery.
pub fn reply_subject(
    group: &str,
    deliveries: u16,
    task: TaskId,
    timestamp_nanos: u64,
    waiting: usize,
) -> String {
    let mut subject = String::with_capacity(PREFIX.len() + group.len() + 64);
    subject.push_str(PREFIX);
    // A group's name is one token, and no wildcard.
    let odd =
        |letter: char| matches!(letter, '.' | '*' | '>') || letter.is_control() || letter.is_whitespace();
    subject.extend(own_name(group).chars().map(|letter| if odd(letter) { '_' } else { letter }));
    write!(subject, ".{deliveries}.{task}.{task}.{timestamp_nanos}.{waiting}").expect("a string grows");
    debug_assert_eq!(task_of(subject.as_bytes()), Some(task), "a reply subject leads back to its message");
    debug_assert!(reserved::refuses_reply(subject.as_bytes()), "nobody is asked to answer there");
    subject
}

/// The message that a reply subject is about.
pub fn task_of(subject: &[u8]) -> Option<TaskId> {
    let rest = std::str::from_utf8(subject.strip_prefix(PREFIX.as_bytes())?).ok()?;
    let tokens: Vec<&str> = rest.split('.').collect();
    (tokens.len() == TOKENS).then(|| tokens[2].parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_leads_back_to_its_message() {
        let subject = reply_subject("my.workers", 3, 12345, 7, 9);
        assert_eq!(subject, "$JS.ACK.ringbolt.my_workers.3.12345.12345.7.9");
        assert_eq!(task_of(subject.as_bytes()), Some(12345));
        for other in
            ["$JS.ACK.ringbolt.w.3.12345.12345.7", "$JS.ACK.other.w.1.2.3.4.5", "a", "$JS.ACK.ringbolt."]
        {
            assert_eq!(task_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_words_are_those_of_jetstream() {
        for (payload, verb) in [
            ("", Some(Verb::Ack)),
            ("+ACK", Some(Verb::Ack)),
            ("-NAK", Some(Verb::Nak(None))),
            ("-NAK {\"delay\": 5000}", Some(Verb::Nak(Some(5000)))),
            ("-NAK {\"delay\": \"soon\"}", Some(Verb::Nak(None))),
            ("+WPI", Some(Verb::Progress)),
            ("+TERM", Some(Verb::Term)),
            ("+TERM bad input", Some(Verb::Term)),
            ("hello", None),
        ] {
            assert_eq!(Verb::parse(payload.as_bytes()), verb, "{payload}");
        }
        assert_eq!(Verb::parse(&[0xff]), None);
    }
}
