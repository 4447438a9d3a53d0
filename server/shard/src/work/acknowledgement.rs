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
/// Bytes that are read of a payload, whose length its sender chooses.
const READ_BYTES_MAX: usize = 1024;
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
    pub fn counter(self) -> Counter {
        match self {
            Verb::Ack => Counter::AcknowledgementsAck,
            Verb::Nak(_) => Counter::AcknowledgementsNak,
            Verb::Progress => Counter::AcknowledgementsProgress,
            Verb::Term => Counter::AcknowledgementsTerm,
        }
    }
}

/// What a payload says, by its beginning, and what it adds for people, such as why the member failed the
/// message: bounded, and one line. Nothing at all is an acknowledgement.
pub fn read(payload: &[u8]) -> Option<(Verb, &str)> {
    let text = beginning(payload)?.trim();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let verb = match word {
        "" | "+ACK" | "+NXT" => Verb::Ack,
        "-NAK" => Verb::Nak(delay(rest)),
        "+WPI" => Verb::Progress,
        "+TERM" => Verb::Term,
        _ => return None,
    };
    let line = rest.lines().next().unwrap_or_default();
    Some((verb, line.char_indices().nth(WORDS_MAX).map_or(line, |(end, _)| &line[..end])))
}

/// The text that is read of a payload.
fn beginning(payload: &[u8]) -> Option<&str> {
    let read = &payload[..payload.len().min(READ_BYTES_MAX)];
    match std::str::from_utf8(read) {
        Ok(text) => Some(text),
        // The last letter may be cut in two.
        Err(error) if read.len() < payload.len() && error.error_len().is_none() => {
            std::str::from_utf8(&read[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
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
            assert_eq!(read(payload.as_bytes()).map(|(verb, _)| verb), verb, "{payload}");
        }
        assert_eq!(read(&[0xff]), None);
    }

    #[test]
    fn of_what_is_longer_the_beginning_is_read() {
        let delayed = |blanks: usize| format!("-NAK {{{}\"delay\": 5}}", " ".repeat(blanks));
        let read_of = |text: &str| read(text.as_bytes()).map(|(verb, _)| verb);
        assert_eq!(read_of(&delayed(1000)), Some(Verb::Nak(Some(5))));
        assert_eq!(read_of(&delayed(READ_BYTES_MAX)), Some(Verb::Nak(None)), "what is cut says nothing");
        for letters in READ_BYTES_MAX - 4..READ_BYTES_MAX + 4 {
            let text = format!("+TERM {}\u{20ac}\u{20ac}", "x".repeat(letters - 6));
            assert_eq!(read(text.as_bytes()), Some((Verb::Term, &text[6..6 + WORDS_MAX])), "{letters}");
            let odd = [text.as_bytes(), b"\xff"].concat();
            assert_eq!(read(&odd).is_some(), odd.len() > READ_BYTES_MAX, "{letters}");
        }
    }
}
