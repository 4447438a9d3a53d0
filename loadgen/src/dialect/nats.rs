//! The NATS client protocol, the client's side.

use super::messages::{Incoming, Message, Outgoing, Parsed, number};
use ringbolt_protocol::command::Priority;
use ringbolt_protocol::decimal;

/// A control line longer than this is not the protocol.
const LINE_BYTES_MAX: usize = 1 << 20;

pub(super) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"ringbolt-loadgen\",\
          \"lang\":\"rust\",\"version\":\"0.1.0\",\"protocol\":0,\"echo\":true,\"headers\":true,\
          \"no_responders\":true}\r\n",
    );
}

pub(super) fn subscribe(subscription: u32, pattern: &str, group: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(pattern.as_bytes());
    if let Some(group) = group {
        out.push(b' ');
        out.extend_from_slice(group.as_bytes());
    }
    out.push(b' ');
    decimal::put(out, u64::from(subscription));
    out.extend_from_slice(b"\r\n");
}

#[inline]
pub(super) fn publish_head(message: &Outgoing<'_>, out: &mut Vec<u8>) {
    let lane = header_of(message.priority);
    let keyed = message.key.map(|key| {
        let lines = lane.strip_suffix(b"\r\n").unwrap_or(b"NATS/1.0\r\n");
        [lines, format!("Key: {key}\r\n\r\n").as_bytes()].concat()
    });
    let block = keyed.as_deref().unwrap_or(lane);
    out.extend_from_slice(if block.is_empty() { b"PUB " } else { b"HPUB " });
    out.extend_from_slice(message.subject.as_bytes());
    out.push(b' ');
    if let Some(reply) = message.reply {
        out.extend_from_slice(reply.as_bytes());
        out.push(b' ');
    }
    if !block.is_empty() {
        decimal::put(out, block.len() as u64);
        out.push(b' ');
    }
    decimal::put(out, (block.len() + message.payload_bytes) as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(block);
}

/// The headers that put a message into its lane.
fn header_of(priority: Priority) -> &'static [u8] {
    match priority {
        Priority::Normal => b"",
        Priority::Critical => b"NATS/1.0\r\nRingbolt-Priority: critical\r\n\r\n",
        Priority::High => b"NATS/1.0\r\nRingbolt-Priority: high\r\n\r\n",
        Priority::Low => b"NATS/1.0\r\nRingbolt-Priority: low\r\n\r\n",
        Priority::Background => b"NATS/1.0\r\nRingbolt-Priority: background\r\n\r\n",
    }
}

#[inline]
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    // A line ends in its first few dozen bytes: a plain scan beats a general search.
    let Some(end) = input.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\n') else {
        return if input.len() < LINE_BYTES_MAX { Ok(None) } else { Err("a line without end".to_owned()) };
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let behind = end + 1;
    if let Some(arguments) = line.strip_prefix(b"MSG ") {
        return message(arguments, input, behind, false);
    }
    if let Some(arguments) = line.strip_prefix(b"HMSG ") {
        return message(arguments, input, behind, true);
    }
    let incoming = match line {
        b"PING" => Incoming::Ping,
        b"PONG" => Incoming::InForce,
        b"+OK" => Incoming::Other,
        _ if line.starts_with(b"INFO ") => Incoming::Other,
        _ if line.starts_with(b"-ERR") => Incoming::Closing(std::str::from_utf8(line).unwrap_or("-ERR")),
        _ => {
            return Err(format!(
                "not a NATS line: {:?}",
                String::from_utf8_lossy(&line[..line.len().min(40)])
            ));
        }
    };
    Ok(Some((incoming, behind)))
}

#[inline]
fn message<'a>(arguments: &'a [u8], input: &'a [u8], behind: usize, headers: bool) -> Parsed<'a> {
    let wrong = || format!("not a NATS message: {:?}", String::from_utf8_lossy(arguments));
    let mut words = [&arguments[..0]; 5];
    let mut count = 0;
    for word in arguments.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
        *words.get_mut(count).ok_or_else(wrong)? = word;
        count += 1;
    }
    let fixed = if headers { 4 } else { 3 };
    let reply = match count {
        _ if count == fixed => None,
        _ if count == fixed + 1 => Some(words[2]),
        _ => return Err(wrong()),
    };
    let subscription = number(words[1]).ok_or_else(wrong)? as u32;
    let total = number(words[count - 1]).ok_or_else(wrong)?;
    let Some(body) = input.get(behind..behind + total + 2) else { return Ok(None) };
    let head = if headers { number(words[count - 2]).ok_or_else(wrong)? } else { 0 };
    let payload = body.get(head..total).ok_or_else(wrong)?;
    let consumed = behind + total + 2;
    if headers && body.starts_with(b"NATS/1.0 503") {
        return Ok(Some((Incoming::Refused("503 no responders"), consumed)));
    }
    let message = Message { subscription, reply, correlation_id: 0, payload };
    Ok(Some((Incoming::Message(message), consumed)))
}
