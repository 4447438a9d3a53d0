//! MQTT 3.1.1 at quality of service 0, the client's side. A subject's dots become the slashes of a topic.

use super::messages::{Incoming, Message, Outgoing, Parsed, number_of};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
const CLEAN_SESSION: u8 = 2;
/// A remaining length takes at most so many bytes (section 2.2.3).
const LENGTH_BYTES_MAX: usize = 4;

pub(super) fn greet(out: &mut Vec<u8>) {
    let mut body = Vec::new();
    put_text(b"MQTT", &mut body);
    // Level 4 is 3.1.1; no keep-alive; the server makes up a client identifier.
    body.extend_from_slice(&[4, CLEAN_SESSION, 0, 0]);
    put_text(b"", &mut body);
    put_packet(CONNECT, &body, out);
}

pub(super) fn subscribe(pattern: &str, out: &mut Vec<u8>) {
    let filter = pattern.replace('.', "/").replace('*', "+");
    let mut body = vec![0, 1];
    put_text(filter.as_bytes(), &mut body);
    body.push(0);
    put_packet(SUBSCRIBE, &body, out);
}

/// Packets are answered in order.
pub(super) fn barrier(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PINGREQ, 0]);
}

#[inline]
pub(super) fn publish_head(message: &Outgoing<'_>, out: &mut Vec<u8>) {
    out.push(PUBLISH);
    put_length(2 + message.subject.len() + message.payload_bytes, out);
    out.extend_from_slice(&(message.subject.len() as u16).to_be_bytes());
    out.extend(message.subject.bytes().map(|byte| if byte == b'.' { b'/' } else { byte }));
}

#[inline]
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let Some((&kind, rest)) = input.split_first() else { return Ok(None) };
    let known = matches!(kind & 0xf0, CONNACK | PUBLISH | SUBACK | PINGRESP);
    if !known {
        return Err(format!("not an MQTT packet of a server: {kind:#04x}"));
    }
    let Some((length, length_bytes)) = take_length(rest)? else { return Ok(None) };
    let consumed = 1 + length_bytes + length;
    let Some(body) = input.get(1 + length_bytes..consumed) else { return Ok(None) };
    let incoming = match kind & 0xf0 {
        PUBLISH => message(body)?,
        PINGRESP => Incoming::InForce,
        CONNACK if body.get(1) != Some(&0) => Incoming::Closing("the connection was refused"),
        _ => Incoming::Other,
    };
    Ok(Some((incoming, consumed)))
}

#[inline]
fn message(body: &[u8]) -> Result<Incoming<'_>, String> {
    let wrong = || "not an MQTT message".to_owned();
    let (length, rest) = body.split_first_chunk::<2>().ok_or_else(wrong)?;
    let (topic, payload) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(wrong)?;
    let subject = number_of(topic, b'/').ok_or_else(wrong)?;
    Ok(Incoming::Message(Message { subscription: subject + 1, reply: None, correlation_id: 0, payload }))
}

fn put_packet(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    put_length(body.len(), out);
    out.extend_from_slice(body);
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// A remaining length and the bytes it takes.
fn take_length(input: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut length = 0;
    for (place, &byte) in input.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(Some((length, place + 1)));
        }
    }
    if input.len() < LENGTH_BYTES_MAX { Ok(None) } else { Err("not an MQTT length".to_owned()) }
}
