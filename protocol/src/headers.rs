//! The block of headers in front of a payload, the same bytes in both dialects: a line `NATS/1.0`,
//! lines of `Name: value`, an empty line, each ended by CRLF.
//!
//! The server relays a block as it is. It reads a few headers of its own, and writes them for a
//! receiver that has no other way to see them.

use crate::command::{Compression, Flags, Priority};
use crate::decimal;
use memchr::{memchr, memchr_iter};
use std::borrow::Cow;

/// How a block begins.
pub const VERSION_LINE: &[u8] = b"NATS/1.0\r\n";
const VERSION: &[u8] = b"NATS/1.0";
/// The lane of a message.
pub const PRIORITY: &str = "Ringbolt-Priority";
/// How a payload is compressed.
pub const COMPRESSION: &str = "Ringbolt-Compression";
/// The correlation id of a native message.
pub const CORRELATION_ID: &str = "Ringbolt-Correlation-Id";

/// The point in time (RFC 3339) from which on nobody wants the message.
pub const DEADLINE: &str = "Ringbolt-Deadline";
/// The publisher's id for a message, by which one published twice is known (a header of JetStream).
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// With [`CONFIRMING`], asks that the message be confirmed to its reply subject (a header of JetStream).
pub const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
pub const CONFIRMING: &[u8] = b"ringbolt";
/// With [`DEAD_LETTER`], asks that a message nobody wants become a dead letter.
pub const UNROUTABLE: &str = "Ringbolt-Unroutable";
pub const DEAD_LETTER: &[u8] = b"dead-letter";
/// How many replies a request wants; the reply behind the last of them says in [`GATHERED`] how many came.
pub const GATHER: &str = "Ringbolt-Gather";
pub const GATHERED: &str = "Ringbolt-Gathered";
/// How often a message was delivered, this time included; absent the first time.
pub const DELIVERIES: &str = "Ringbolt-Deliveries";
/// The reply subject a message was published with, where its own is for the acknowledgement.
pub const REPLY: &str = "Ringbolt-Reply";
/// Of a dead letter: the subject it had, why it is one, what kind of failure that is, when it was accepted
/// and last delivered (RFC 3339), and what the member said that failed it.
pub const SUBJECT: &str = "Ringbolt-Subject";
pub const REASON: &str = "Ringbolt-Reason";
pub const CLASS: &str = "Ringbolt-Class";
pub const ACCEPTED: &str = "Ringbolt-Accepted";
pub const DELIVERED: &str = "Ringbolt-Delivered";
pub const ERROR: &str = "Ringbolt-Error";

/// Headers that the server alone writes: what a client says in them is taken out.
const OWNED: [&str; 9] = [DELIVERIES, REPLY, SUBJECT, REASON, CLASS, ACCEPTED, DELIVERED, ERROR, GATHERED];
/// How each of them begins, before its first dash.
const OWNED_WORD: &[u8] = b"ringbolt";

const PRIORITIES: [(&str, Priority); 5] = [
    ("normal", Priority::Normal),
    ("critical", Priority::Critical),
    ("high", Priority::High),
    ("low", Priority::Low),
    ("background", Priority::Background),
];
const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];
const CORRELATION_DIGITS_MAX: usize = 19;

/// The value of the first header of that name, without the blanks around it. Names are compared as
/// they are written.
pub fn find<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = block.split(|&byte| byte == b'\n').skip(1);
    lines.find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        Some(value.trim_ascii())
    })
}

/// The block without the headers that the server alone writes, if it has some. They are known in capitals or
/// not, and behind whatever some reader takes for the end of a line.
pub fn without_owned(block: &[u8]) -> Option<Vec<u8>> {
    let begins_owned = |dash: usize| {
        let word = dash.checked_sub(OWNED_WORD.len()).map(|start| &block[start..dash]);
        word.is_some_and(|word| word.eq_ignore_ascii_case(OWNED_WORD))
    };
    if !memchr_iter(b'-', block).any(begins_owned) {
        return None;
    }
    let ends_line = |byte: &u8| matches!(byte, b'\n' | 0x0b..=0x0d | 0x1c..=0x1e);
    let mut kept = Vec::with_capacity(block.len());
    let (mut takes_out, mut cut) = (false, b'\n');
    for line in block.split_inclusive(ends_line) {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default().trim_ascii();
        let owned = OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned.as_bytes()));
        // A header goes with the lines that continue it, and with the whole of its end.
        let follows = matches!(line.first(), Some(b' ' | b'\t')) || line == b"\n" && cut == b'\r';
        takes_out = owned || takes_out && follows;
        if takes_out {
            cut = *line.last().unwrap_or(&b'\n');
        } else {
            kept.extend_from_slice(line);
        }
    }
    (kept.len() < block.len()).then_some(kept)
}

/// The headers of a block that mean something to the server, each as it stands there first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerHeaders<'a> {
    /// Lane and compression. What is not said, or wrongly, is as if it were not there; likewise below.
    pub flags: Flags,
    pub correlation_id: u64,
    pub deadline: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub expected_stream: Option<&'a [u8]>,
    pub unroutable: Option<&'a [u8]>,
    pub gather: Option<&'a [u8]>,
}

impl<'a> ServerHeaders<'a> {
    /// Reads a block once, whatever it holds.
    pub fn read(block: &'a [u8]) -> ServerHeaders<'a> {
        let mut said = ServerHeaders::default();
        let (mut priority, mut compression, mut correlation_id) = (None, None, None);
        let mut ends = memchr_iter(b'\n', block).peekable();
        while let Some(end) = ends.next() {
            let line = &block[end + 1..ends.peek().copied().unwrap_or(block.len())];
            // All of them begin with one of two letters.
            if !matches!(line.first(), Some(b'R' | b'N')) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let place = match std::str::from_utf8(name) {
                Ok(PRIORITY) => &mut priority,
                Ok(COMPRESSION) => &mut compression,
                Ok(CORRELATION_ID) => &mut correlation_id,
                Ok(DEADLINE) => &mut said.deadline,
                Ok(MESSAGE_ID) => &mut said.message_id,
                Ok(EXPECTED_STREAM) => &mut said.expected_stream,
                Ok(UNROUTABLE) => &mut said.unroutable,
                Ok(GATHER) => &mut said.gather,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        said.flags = Flags::new(
            priority.and_then(|text| choice(text, &PRIORITIES)).unwrap_or(Priority::Normal),
            compression.and_then(|text| choice(text, &COMPRESSIONS)).unwrap_or(Compression::None),
        );
        let digits = correlation_id.and_then(|text| decimal::parse(text, CORRELATION_DIGITS_MAX));
        said.correlation_id = digits.unwrap_or_default();
        said
    }
}

fn choice<T: Copy>(text: &[u8], choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(choice, _)| choice.as_bytes() == text).map(|&(_, value)| value)
}

/// Whether a message has anything to say in headers.
pub fn needed(flags: Flags, correlation_id: u64) -> bool {
    correlation_id != 0 || flags.without_layout_bits() != Flags::default()
}

/// Appends a block with the server's own headers in front of what `block` holds, which may be empty.
pub fn write(flags: Flags, correlation_id: u64, block: &[u8], out: &mut Vec<u8>) {
    let (first, lines) = first_line(block);
    out.extend_from_slice(first);
    let mut line = |name: &str, value: &str| {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    let priority = flags.priority();
    if let Some((name, _)) = PRIORITIES.iter().skip(1).find(|&&(_, other)| other == priority) {
        line(PRIORITY, name);
    }
    let compression = flags.compression();
    if let Some((name, _)) = COMPRESSIONS.iter().skip(1).find(|&&(_, other)| other == compression) {
        line(COMPRESSION, name);
    }
    if correlation_id != 0 {
        line(CORRELATION_ID, &correlation_id.to_string());
    }
    out.extend_from_slice(lines);
}

/// The first line of a block, which may hold a status, and what stands behind it. What is no block is as if
/// it were empty.
fn first_line(block: &[u8]) -> (&[u8], &[u8]) {
    let end = block.iter().position(|&byte| byte == b'\n').filter(|_| block.starts_with(VERSION));
    end.map_or((VERSION_LINE, b"\r\n"), |end| block.split_at(end + 1))
}

/// Appends a header. Its value may be anybody's words: they are one line.
pub fn put(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(one_line(&String::from_utf8_lossy(value)).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Text with a blank in the place of each control character, and of whatever else some reader takes for the
/// end of a line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let ends_line = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    if text.contains(ends_line) { Cow::Owned(text.replace(ends_line, " ")) } else { Cow::Borrowed(text) }
}

/// Appends a block with these headers in front of those of `block`, which may be empty; what `block` has
/// of the same names goes. One without a value is only taken out.
pub fn with(block: &[u8], lines: &[(&str, &[u8])], out: &mut Vec<u8>) {
    let (first, rest) = first_line(block);
    out.extend_from_slice(first);
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        put(name, value, out);
    }
    let replaced = |line: &[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        lines.iter().any(|(other, _)| other.as_bytes() == name)
    };
    rest.split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !replaced(line))
        .for_each(|line| out.extend(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_block_behind_it_kept() {
        let flags = Flags::new(Priority::Background, Compression::Zstd);
        let mut block = Vec::new();
        write(flags, 42, b"NATS/1.0\r\nTrace: a b\r\n\r\n", &mut block);
        assert_eq!(
            String::from_utf8_lossy(&block),
            "NATS/1.0\r\nRingbolt-Priority: background\r\nRingbolt-Compression: zstd\r\n\
             Ringbolt-Correlation-Id: 42\r\nTrace: a b\r\n\r\n"
        );
        let said = ServerHeaders::read(&block);
        assert_eq!((said.flags, said.correlation_id), (flags, 42));
        assert_eq!(find(&block, "Trace"), Some(&b"a b"[..]));
        assert_eq!(find(&block, "Tra"), None);
    }

    #[test]
    fn a_block_read_once_says_what_each_search_by_name_finds() {
        let lines = [
            "Nats-Msg-Id: one",
            "Nats-Msg-Id: two",
            "Nats-Msg-Ida: three",
            "nats-msg-id: four",
            " Ringbolt-Gather: 5",
            "Ringbolt-Gather:6 ",
            "Ringbolt-Deadline",
            "Ringbolt-Deadline: 7:8",
            "Ringbolt-Unroutable:dead-letter",
            "Nats-Expected-Stream: \tringbolt\t",
            "Nats",
            "R\u{e9}",
            "",
        ];
        // Every pair in both orders, with both ends of a line, whole and cut anywhere.
        for (first, second) in lines.iter().flat_map(|first| lines.iter().map(move |second| (first, second)))
        {
            for end in ["\r\n", "\n"] {
                let block = format!("NATS/1.0{end}{first}{end}{second}{end}{end}");
                for cut in 0..=block.len() {
                    let block = &block.as_bytes()[..cut];
                    let said = ServerHeaders::read(block);
                    let found = [DEADLINE, MESSAGE_ID, EXPECTED_STREAM, UNROUTABLE, GATHER]
                        .map(|name| find(block, name));
                    let read =
                        [said.deadline, said.message_id, said.expected_stream, said.unroutable, said.gather];
                    assert_eq!(read, found, "{}", String::from_utf8_lossy(block));
                }
            }
        }
    }

    #[test]
    fn what_only_the_server_writes_is_taken_out_however_it_is_hidden() {
        let block = |lines: &str| format!("NATS/1.0\r\n{lines}\r\n").into_bytes();
        for hidden in [
            "Ringbolt-Reply: a\r\n",
            "ringbolt-reply:a\r\n",
            "RINGBOLT-REPLY : a\r\n",
            " Ringbolt-Reply: a\r\n",
            "Ringbolt-Reply: a\r\n\tb\r\n c\r\n",
            "Ringbolt-Reply: a\rRingbolt-Error: b\r\n",
            "Ringbolt-Reply\r\n",
            "Ringbolt-Gathered: 1\nRingbolt-Deliveries: 1\n",
        ] {
            for (before, behind) in
                [("", ""), ("A: b\r\n", "C: d\r\n"), ("A: b\r\n", "Ringbolt-Gather: 2\r\n")]
            {
                let cleaned = without_owned(&block(&format!("{before}{hidden}{behind}")));
                assert_eq!(cleaned, Some(block(&format!("{before}{behind}"))), "{hidden:?}");
            }
        }
        let cleaned = without_owned(b"NATS/1.0\r\nA: b\rRingbolt-Reply: c\r\n\r\n");
        assert_eq!(cleaned.as_deref(), Some(&b"NATS/1.0\r\nA: b\r\r\n"[..]), "a bare return hides nothing");
        for own in ["", "A: Ringbolt-Reply: b\r\n", "Ringbolt-Deadline: x\r\n", "Ringbolt-Replying: b\r\n"] {
            assert_eq!(without_owned(&block(own)), None, "{own:?}");
        }
    }

    #[test]
    fn whatever_a_value_holds_it_is_one_line() {
        let mut lines = Vec::new();
        put(ERROR, b"a\rb\nc\x0bd\x0ce\0f\x7fg\xffh\ti", &mut lines);
        put(ERROR, "a\u{85}b\u{2028}c\u{2029}d\u{1c}\u{e9}".as_bytes(), &mut lines);
        assert_eq!(
            String::from_utf8_lossy(&lines),
            "Ringbolt-Error: a b c d e f g\u{fffd}h i\r\nRingbolt-Error: a b c d \u{e9}\r\n"
        );
    }

    #[test]
    fn a_status_and_whatever_ends_the_first_line_are_kept_with_the_headers_behind_them() {
        for (first, rest) in [
            ("NATS/1.0 100 Idle Heartbeat\r\n", "A: b\r\n\r\n"),
            ("NATS/1.0\n", "A: b\n\n"),
            ("NATS/1.0 \r\n", "\r\n"),
        ] {
            let (block, mut out) = (format!("{first}{rest}"), Vec::new());
            with(block.as_bytes(), &[(DELIVERIES, b"2")], &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("{first}Ringbolt-Deliveries: 2\r\n{rest}"));
            out.clear();
            write(Flags::default(), 7, block.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("{first}Ringbolt-Correlation-Id: 7\r\n{rest}"));
        }
        for none in [&b""[..], b"x", b"A: b\r\n\r\n"] {
            let mut out = Vec::new();
            with(none, &[(DELIVERIES, b"2")], &mut out);
            assert_eq!(out, b"NATS/1.0\r\nRingbolt-Deliveries: 2\r\n\r\n", "no headers");
        }
    }

    #[test]
    fn lines_stand_in_front_and_replace_their_like() {
        let mut block = Vec::new();
        with(b"NATS/1.0\r\nTrace: 7\r\nRingbolt-Deliveries: 1\r\n\r\n", &[(DELIVERIES, b"2")], &mut block);
        assert_eq!(block, b"NATS/1.0\r\nRingbolt-Deliveries: 2\r\nTrace: 7\r\n\r\n");
        block.clear();
        with(b"NATS/1.0\r\nRingbolt-Error: old\r\n\r\n", &[(ERROR, b"")], &mut block);
        assert_eq!(block, b"NATS/1.0\r\n\r\n");
        block.clear();
        with(b"", &[(REPLY, b"a"), (REASON, b"b")], &mut block);
        assert_eq!(block, b"NATS/1.0\r\nRingbolt-Reply: a\r\nRingbolt-Reason: b\r\n\r\n");
    }

    #[test]
    fn nonsense_in_a_block_means_nothing() {
        for block in ["", "NATS/1.0", "abcdef", "NATS/1.0\r\nRingbolt-Priority: soon\r\n\r\n", "\n\n:\n"] {
            assert_eq!(ServerHeaders::read(block.as_bytes()), ServerHeaders::default(), "{block}");
        }
        assert!(!needed(Flags(Flags::INTERNED | Flags::REPLY), 0));
        assert!(needed(Flags::new(Priority::High, Compression::None), 0) && needed(Flags::default(), 1));
    }
}
