//! From a client's bytes to commands, in place.
//!
//! A publish as clients write it is read by [`fast_publish`]; everything else, also every oddity, by
//! the plain way, which reads what nats-server reads.

use super::error::ParseError;
use crate::command::{Flags, Publish, SubjectRef};
use crate::decimal;
use crate::swar::first_blank;

/// A size has at most so many digits: 999 MB.
const SIZE_DIGITS_MAX: usize = 9;

/// What this receiver takes from one client.
#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    /// Longest arguments of an operation, and most blanks before them.
    pub line_bytes_max: usize,
    /// Longest payload, headers included.
    pub payload_bytes_max: usize,
    /// Whether the client announced headers.
    pub headers: bool,
}

/// What a client says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Command<'a> {
    Publish(Publish<'a>),
    /// The options as JSON; see [`super::Connect`].
    Connect(&'a [u8]),
    Subscribe {
        pattern: &'a [u8],
        group: Option<&'a [u8]>,
        sid: &'a [u8],
    },
    /// After that many messages since the subscription began; now, if `None`.
    Unsubscribe {
        sid: &'a [u8],
        deliveries_max: Option<u64>,
    },
    Ping,
    Pong,
    /// `+OK` or `INFO`, which mean nothing to a server.
    Ignored,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Parsed<'a> {
    /// Right so far, but the line has no end yet.
    IncompleteLine,
    /// The payload is not here yet: this many bytes from the start of the operation are needed.
    IncompletePayload {
        bytes_needed: usize,
    },
    Command {
        command: Command<'a>,
        consumed: usize,
    },
}

/// Parses the operation at the start of `input`.
#[inline]
pub fn parse<'a>(input: &'a [u8], limits: &ParseLimits) -> Result<Parsed<'a>, ParseError> {
    match fast_publish(input, limits) {
        Some((publish, consumed)) => Ok(Parsed::Command { command: Command::Publish(publish), consumed }),
        None => parse_any(input, limits),
    }
}

/// A whole `PUB` with single blanks and CRLF, within the limits, and its length. `None`: [`parse`] decides.
#[inline]
pub fn fast_publish<'a>(input: &'a [u8], limits: &ParseLimits) -> Option<(Publish<'a>, usize)> {
    let arguments = input.strip_prefix(b"PUB ")?;
    let subject_bytes = first_blank(arguments).filter(|&bytes| bytes > 0)?;
    let (subject, behind) = arguments.split_at(subject_bytes);
    let mut behind = behind.strip_prefix(b" ")?;
    let mut reply = None;
    if !behind.first()?.is_ascii_digit() {
        let reply_bytes = first_blank(behind).filter(|&bytes| bytes > 0)?;
        let (text, rest) = behind.split_at(reply_bytes);
        reply = Some(text);
        behind = rest.strip_prefix(b" ")?;
    }
    let (payload_bytes, digits) = leading_size(behind)?;
    let body = behind[digits..].strip_prefix(b"\r\n")?;
    let line_bytes = input.len() - body.len();
    if line_bytes > limits.line_bytes_max || payload_bytes > limits.payload_bytes_max {
        return None;
    }
    let (payload, end) = body.split_at_checked(payload_bytes)?;
    end.strip_prefix(b"\r\n")?;
    Some((plain_publish(subject, reply, 0, payload), line_bytes + payload_bytes + 2))
}

/// A number and its digits.
#[inline]
fn leading_size(text: &[u8]) -> Option<(usize, usize)> {
    let (mut size, mut digits) = (0, 0);
    for &byte in text.iter().take(SIZE_DIGITS_MAX) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        size = size * 10 + usize::from(digit);
        digits += 1;
    }
    (digits > 0).then_some((size, digits))
}

#[inline]
fn plain_publish<'a>(
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    header_bytes: u32,
    payload: &'a [u8],
) -> Publish<'a> {
    Publish {
        flags: Flags::default(),
        timestamp_nanos: 0,
        correlation_id: 0,
        subject: SubjectRef::Literal(subject),
        reply,
        header_bytes,
        payload,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Publish,
    HeaderPublish,
    Subscribe,
    Unsubscribe,
    Connect,
    Info,
    Error,
    Ping,
    Pong,
    Ok,
}

const VERBS: &[(&[u8], Verb)] = &[
    (b"PUB", Verb::Publish),
    (b"HPUB", Verb::HeaderPublish),
    (b"SUB", Verb::Subscribe),
    (b"UNSUB", Verb::Unsubscribe),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"-ERR", Verb::Error),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"+OK", Verb::Ok),
];

/// The verb in front and its length; `None` if it is not all there. A wrong beginning is an error as
/// soon as it is there: a peer that speaks another protocol may never end a line.
fn verb(input: &[u8]) -> Result<Option<(Verb, usize)>, ParseError> {
    for &(name, verb) in VERBS {
        let seen = name.len().min(input.len());
        if input[..seen].eq_ignore_ascii_case(&name[..seen]) {
            return Ok((seen == name.len()).then_some((verb, seen)));
        }
    }
    Err(ParseError::UnknownOperation)
}

#[cold]
#[inline(never)]
fn parse_any<'a>(input: &'a [u8], limits: &ParseLimits) -> Result<Parsed<'a>, ParseError> {
    let Some((verb, verb_bytes)) = verb(input)? else { return Ok(Parsed::IncompleteLine) };
    if matches!(verb, Verb::Ping | Verb::Pong | Verb::Ok) {
        return bare(verb, input, verb_bytes, limits);
    }
    let behind = &input[verb_bytes..];
    let Some(&first) = behind.first() else { return Ok(Parsed::IncompleteLine) };
    let stands_alone = matches!(verb, Verb::Connect | Verb::Info);
    if !is_blank(first) && !stands_alone {
        return Err(ParseError::UnknownOperation);
    }
    let blanks = behind.iter().take_while(|&&byte| is_blank(byte)).count();
    if blanks > limits.line_bytes_max {
        return Err(ParseError::LineTooLong);
    }
    let line = &behind[blanks..];
    // The first byte belongs to the arguments even if it is the end of the line; a return anywhere
    // in them takes their last byte away.
    let ends = |text: &[u8]| usize::from(text.iter().skip(1).any(|&byte| byte == b'\r'));
    let Some(end) = line.iter().skip(1).position(|&byte| byte == b'\n').map(|place| place + 1) else {
        let length = line.len() - ends(line);
        return if length > limits.line_bytes_max {
            Err(ParseError::LineTooLong)
        } else {
            Ok(Parsed::IncompleteLine)
        };
    };
    let arguments = &line[..end - ends(&line[..end])];
    if arguments.len() > limits.line_bytes_max {
        return Err(ParseError::LineTooLong);
    }
    let consumed = verb_bytes + blanks + end + 1;
    let command = match verb {
        Verb::Publish => return publish(arguments, false, input, consumed, limits),
        Verb::HeaderPublish => return publish(arguments, true, input, consumed, limits),
        Verb::Subscribe => subscribe(arguments)?,
        Verb::Unsubscribe => unsubscribe(arguments)?,
        Verb::Connect => Command::Connect(arguments),
        Verb::Error => return Err(ParseError::ClientError),
        Verb::Info => info(arguments)?,
        Verb::Ping | Verb::Pong | Verb::Ok => Command::Ignored,
    };
    Ok(Parsed::Command { command, consumed })
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// An operation without arguments: what stands behind it on its line is skipped, and is no longer than
/// arguments may be.
fn bare<'a>(
    verb: Verb,
    input: &'a [u8],
    verb_bytes: usize,
    limits: &ParseLimits,
) -> Result<Parsed<'a>, ParseError> {
    let behind = &input[verb_bytes..];
    let end = behind.iter().position(|&byte| byte == b'\n');
    let skipped = &behind[..end.unwrap_or(behind.len())];
    if skipped.len() - usize::from(skipped.contains(&b'\r')) > limits.line_bytes_max {
        return Err(ParseError::LineTooLong);
    }
    let Some(end) = end else { return Ok(Parsed::IncompleteLine) };
    let command = match verb {
        Verb::Ping => Command::Ping,
        Verb::Pong => Command::Pong,
        _ => Command::Ignored,
    };
    Ok(Parsed::Command { command, consumed: verb_bytes + end + 1 })
}

/// The words of a line, up to `N`; one more is an error.
fn words<const N: usize>(arguments: &[u8]) -> Result<([&[u8]; N], usize), ParseError> {
    let mut found = [&arguments[..0]; N];
    let mut count = 0;
    let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    for word in arguments.split(separates).filter(|word| !word.is_empty()) {
        *found.get_mut(count).ok_or(ParseError::Arguments)? = word;
        count += 1;
    }
    Ok((found, count))
}

fn size(word: &[u8]) -> Result<usize, ParseError> {
    decimal::parse(word, SIZE_DIGITS_MAX).map(|size| size as usize).ok_or(ParseError::Arguments)
}

fn publish<'a>(
    arguments: &'a [u8],
    with_headers: bool,
    input: &'a [u8],
    line_bytes: usize,
    limits: &ParseLimits,
) -> Result<Parsed<'a>, ParseError> {
    if with_headers && !limits.headers {
        return Err(ParseError::HeadersNotSupported);
    }
    let (words, count) = words::<4>(arguments)?;
    let least = if with_headers { 3 } else { 2 };
    let reply = match count.checked_sub(least) {
        Some(0) => None,
        Some(1) => Some(words[1]),
        _ => return Err(ParseError::Arguments),
    };
    let header_bytes = if with_headers { size(words[count - 2])? } else { 0 };
    let payload_bytes = size(words[count - 1])?;
    if header_bytes > payload_bytes {
        return Err(ParseError::Arguments);
    }
    if payload_bytes > limits.payload_bytes_max {
        return Err(ParseError::PayloadTooLarge);
    }
    let body = &input[line_bytes..];
    for (place, end) in [(payload_bytes, b'\r'), (payload_bytes + 1, b'\n')] {
        match body.get(place) {
            Some(&byte) if byte == end => {}
            Some(_) => return Err(ParseError::UnknownOperation),
            None => return Ok(Parsed::IncompletePayload { bytes_needed: line_bytes + payload_bytes + 2 }),
        }
    }
    let payload = &body[..payload_bytes];
    let command = Command::Publish(plain_publish(words[0], reply, header_bytes as u32, payload));
    Ok(Parsed::Command { command, consumed: line_bytes + payload_bytes + 2 })
}

/// What a client says of itself as a server is let be, but it must be JSON.
fn info(arguments: &[u8]) -> Result<Command<'_>, ParseError> {
    match serde_json::from_slice::<Option<serde_json::Map<String, serde_json::Value>>>(arguments) {
        Ok(_) => Ok(Command::Ignored),
        Err(_) => Err(ParseError::Arguments),
    }
}

fn subscribe(arguments: &[u8]) -> Result<Command<'_>, ParseError> {
    let (words, count) = words::<3>(arguments)?;
    match count {
        2 => Ok(Command::Subscribe { pattern: words[0], group: None, sid: words[1] }),
        3 => Ok(Command::Subscribe { pattern: words[0], group: Some(words[1]), sid: words[2] }),
        _ => Err(ParseError::Arguments),
    }
}

fn unsubscribe(arguments: &[u8]) -> Result<Command<'_>, ParseError> {
    let (words, count) = words::<2>(arguments)?;
    let deliveries_max = match count {
        1 => None,
        // What is no number means now, like 0.
        2 => size(words[1]).ok().filter(|&max| max > 0).map(|max| max as u64),
        _ => return Err(ParseError::Arguments),
    };
    Ok(Command::Unsubscribe { sid: words[0], deliveries_max })
}
