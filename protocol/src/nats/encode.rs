//! A server's answers and deliveries to bytes.

use super::Info;
use crate::decimal;
use crate::headers::one_line;

pub const CRLF: &[u8] = b"\r\n";
pub const OK: &[u8] = b"+OK\r\n";
pub const PING: &[u8] = b"PING\r\n";
pub const PONG: &[u8] = b"PONG\r\n";

/// The line in front of a delivery's payload.
#[derive(Clone, Copy, Debug)]
pub struct MessageLine<'a> {
    pub subject: &'a [u8],
    pub sid: &'a [u8],
    pub reply: Option<&'a [u8]>,
    /// 0: a message without headers.
    pub header_bytes: usize,
    /// Headers included.
    pub payload_bytes: usize,
}

/// Appends the line in front of a delivery; its payload and [`CRLF`] follow.
#[inline]
pub fn message_line(out: &mut Vec<u8>, line: &MessageLine<'_>) {
    out.extend_from_slice(if line.header_bytes > 0 { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(line.subject);
    out.push(b' ');
    out.extend_from_slice(line.sid);
    out.push(b' ');
    message_line_end(out, line.reply, line.header_bytes, line.payload_bytes);
}

/// Appends what follows the subscription's id in the line in front of a delivery.
#[inline]
pub fn message_line_end(out: &mut Vec<u8>, reply: Option<&[u8]>, header_bytes: usize, payload_bytes: usize) {
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    if header_bytes > 0 {
        decimal::put(out, header_bytes as u64);
        out.push(b' ');
    }
    decimal::put(out, payload_bytes as u64);
    out.extend_from_slice(CRLF);
}

/// Appends `-ERR '…'`. The message is one line, whatever is in it.
pub fn error(out: &mut Vec<u8>, message: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(one_line(message).as_bytes());
    out.extend_from_slice(b"'\r\n");
}

/// A client's text as an error repeats it: in quotes, with what cannot be seen spelled out, as Go does.
pub fn quoted(text: &[u8]) -> String {
    let mut quoted = String::from('"');
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => quoted.extend(['\\', letter]),
                '\x07' => quoted += "\\a",
                '\x08' => quoted += "\\b",
                '\t' => quoted += "\\t",
                '\n' => quoted += "\\n",
                '\x0b' => quoted += "\\v",
                '\x0c' => quoted += "\\f",
                '\r' => quoted += "\\r",
                '\0'..' ' | '\x7f' => quoted += &format!("\\x{:02x}", u32::from(letter)),
                _ if is_unseen(letter) => quoted += &format!("\\u{:04x}", u32::from(letter)),
                _ => quoted.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| quoted += &format!("\\x{byte:02x}"));
    }
    quoted + "\""
}

/// Blanks other than the usual one, controls, and marks that change how text is laid out.
fn is_unseen(letter: char) -> bool {
    letter != ' ' && (letter.is_control() || letter.is_whitespace())
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

pub fn info(out: &mut Vec<u8>, info: &Info<'_>) {
    out.extend_from_slice(b"INFO ");
    serde_json::to_writer(&mut *out, info).expect("plain values go into a vector");
    out.extend_from_slice(b" \r\n");
}
