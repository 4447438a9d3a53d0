//! Redis publish/subscribe, RESP2, the client's side.

use super::messages::{Incoming, Message, Outgoing, Parsed, number, number_of};
use ringbolt_protocol::decimal;

pub(super) fn subscribe(pattern: &str, out: &mut Vec<u8>) {
    let verb = if pattern.contains('*') { "PSUBSCRIBE" } else { "SUBSCRIBE" };
    command(&[verb.as_bytes(), pattern.as_bytes()], out);
}

/// A PING with an argument is answered in order, subscribed or not.
pub(super) fn barrier(out: &mut Vec<u8>) {
    command(&[b"PING", b"in-force"], out);
}

#[inline]
pub(super) fn publish_head(message: &Outgoing<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n$");
    decimal::put(out, message.subject.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(message.subject.as_bytes());
    out.extend_from_slice(b"\r\n$");
    decimal::put(out, message.payload_bytes as u64);
    out.extend_from_slice(b"\r\n");
}

fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'*');
    decimal::put(out, words.len() as u64);
    out.extend_from_slice(b"\r\n");
    for word in words {
        out.push(b'$');
        decimal::put(out, word.len() as u64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Longest array of a push: `pmessage` has four elements.
const ELEMENTS_MAX: usize = 4;

pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let Some((line, mut at)) = line(input) else { return Ok(None) };
    match line.first() {
        Some(b':' | b'+') => return Ok(Some((Incoming::Other, at))),
        Some(b'-') => {
            let text = std::str::from_utf8(line).unwrap_or("an error");
            return Ok(Some((Incoming::Refused(text), at)));
        }
        Some(b'$') => {
            // A bulk reply outside an array: the answer to the barrier of a plain connection.
            let Some((_, behind)) = bulk(input)? else { return Ok(None) };
            return Ok(Some((Incoming::InForce, behind)));
        }
        Some(b'*') => {}
        _ => return Err(format!("not RESP: {:?}", String::from_utf8_lossy(&line[..line.len().min(40)]))),
    }
    let count = number(&line[1..]).filter(|&count| (1..=ELEMENTS_MAX).contains(&count));
    let count = count.ok_or("an array of a length no push has")?;
    let mut words: [&[u8]; ELEMENTS_MAX] = [&[]; ELEMENTS_MAX];
    for word in &mut words[..count] {
        let Some((text, bytes)) = bulk(&input[at..])? else { return Ok(None) };
        *word = text;
        at += bytes;
    }
    let incoming = match (words[0], count) {
        (b"message", 3) => message(words[1], words[2])?,
        (b"pmessage", 4) => message(words[2], words[3])?,
        (b"pong", 2) => Incoming::InForce,
        _ => Incoming::Other,
    };
    Ok(Some((incoming, at)))
}

/// A channel is `rb.<number>.m`: its number is the subscription's.
fn message<'a>(channel: &'a [u8], payload: &'a [u8]) -> Result<Incoming<'a>, String> {
    let subject = number_of(channel, b'.')
        .ok_or_else(|| format!("unknown channel {:?}", String::from_utf8_lossy(channel)))?;
    let subscription = subject + 1;
    Ok(Incoming::Message(Message { subscription, reply: None, correlation_id: 0, payload }))
}

fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    Some((input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1))
}

/// A bulk string or an integer, as bytes.
fn bulk(input: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    let Some((head, at)) = line(input) else { return Ok(None) };
    match head.split_first() {
        Some((b':', rest)) => Ok(Some((rest, at))),
        Some((b'$', b"-1")) => Ok(Some((&[], at))),
        Some((b'$', length)) => {
            let length = number(length).ok_or("a bulk string of no length")?;
            let whole = input.get(at..at + length + 2);
            Ok(whole.map(|text| (&text[..length], at + length + 2)))
        }
        _ => Err("an array element that is neither bulk string nor integer".to_owned()),
    }
}
