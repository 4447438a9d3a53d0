//! What a member says of a message it was given, and where it says it.
//!
//! A delivery's reply subject is where its acknowledgement goes. Subject and words are those of JetStream
//! (NATS ADR-15 and the JetStream wire API), so that the `ack`, `nak`, `term` and `in_progress` of existing
//! NATS clients work.

use super::options::own_name;
use super::task::TaskId;
use crate::metrics::Counter;
use crate::reserved;
use ringbolt_protocol::decimal;

/// How the reply subject of a delivery begins.
pub const PREFIX: &str = "$JS.ACK.ringbolt.";
/// Tokens behind the prefix: group, deliveries, message, deliveries to the member, time, messages waiting.
const TOKENS: usize = 6;
/// Letters kept of what a member says.
const WORDS_MAX: usize = 200;
/// Digits of a message's number.
const DIGITS_MAX: usize = 19;

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
) -> Vec<u8> {
    let mut subject = Vec::with_capacity(PREFIX.len() + group.len() + 64);
    subject.extend_from_slice(PREFIX.as_bytes());
    put_token(own_name(group), &mut subject);
    for number in [u64::from(deliveries), task, task, timestamp_nanos, waiting as u64] {
        subject.push(b'.');
        decimal::put(&mut subject, number);
    }
    debug_assert_eq!(task_of(&subject), Some(task), "a reply subject leads back to its message");
    debug_assert!(reserved::refuses_reply(&subject), "nobody is asked to answer there");
    subject
}

/// A group's name as one token that is no wildcard.
fn put_token(name: &str, out: &mut Vec<u8>) {
    let odd =
        |letter: char| matches!(letter, '.' | '*' | '>') || letter.is_control() || letter.is_whitespace();
    if name.contains(odd) {
        out.extend_from_slice(name.replace(odd, "_").as_bytes());
    } else {
        out.extend_from_slice(name.as_bytes());
    }
}

/// The message that a reply subject is about.
pub fn task_of(subject: &[u8]) -> Option<TaskId> {
    let mut tokens = subject.strip_prefix(PREFIX.as_bytes())?.split(|&byte| byte == b'.');
    let number = tokens.nth(2)?;
    if tokens.count() != TOKENS - 3 {
        return None;
    }
    decimal::parse(number, DIGITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_subject_leads_back_to_its_message() {
        let subject = reply_subject("my.workers", 3, 12345, 7, 9);
        assert_eq!(subject, b"$JS.ACK.ringbolt.my_workers.3.12345.12345.7.9");
        assert_eq!(task_of(&subject), Some(12345));
        let odd = reply_subject("a\u{2003}\u{e9}.>*", 1, 1, 1, 1);
        assert_eq!(odd, "$JS.ACK.ringbolt.a_\u{e9}___.1.1.1.1.1".as_bytes());
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
