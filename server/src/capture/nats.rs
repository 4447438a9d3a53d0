//! Payloads and options of the NATS protocol: what clients send, and what they are sent.

use super::payloads::is_understood;
use super::secrets::Secrets;
use super::span::{Body, Span, empty, push};
use ringbolt_protocol::decimal;
use ringbolt_protocol::nats::{Command, ParseError, ParseLimits, Parsed, fast_publish, parse};

/// The most that a server takes, whatever its settings are.
const LIMITS: ParseLimits =
    ParseLimits { line_bytes_max: 32 << 10, payload_bytes_max: u32::MAX as usize, headers: true };
const CONNECT: &[u8] = b"CONNECT";
const CRLF: &[u8] = b"\r\n";
const SIZE_DIGITS_MAX: usize = 9;

/// What a client sends.
#[derive(Debug, Default)]
pub struct OperationFilter {
    /// The line that is not whole yet.
    line: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Line,
    Body(Body),
    /// After a payload, with so many bytes of its end seen.
    End(usize),
    /// What follows is no operation; nobody reads it.
    Broken,
}

impl OperationFilter {
    pub fn cut(&mut self, mut chunk: &[u8], secrets: &Secrets, spans: &mut Vec<Span>) {
        while !chunk.is_empty() {
            let taken = match &mut self.state {
                State::Line => self.line(chunk, secrets, spans),
                State::Body(body) => {
                    let taken = body.pass(chunk, spans);
                    if body.is_over() {
                        self.state = State::End(0);
                    }
                    taken
                }
                State::End(seen) => {
                    push(spans, Span::Kept(1));
                    self.state = match (chunk[0] == CRLF[*seen], *seen) {
                        (true, 0) => State::End(1),
                        (true, _) => State::Line,
                        (false, _) => State::Broken,
                    };
                    1
                }
                State::Broken => {
                    push(spans, Span::Omitted(chunk.len()));
                    return;
                }
            };
            chunk = &chunk[taken..];
        }
    }

    /// Takes a line or what is there of it, and the payload too if that is quick. Returns how much it was.
    fn line(&mut self, chunk: &[u8], secrets: &Secrets, spans: &mut Vec<Span>) -> usize {
        if self.line.is_empty()
            && let Some((publish, consumed)) = fast_publish(chunk, &LIMITS)
        {
            let omitted = if is_understood(subject_of(chunk)) { 0 } else { publish.payload.len() };
            push(spans, Span::Kept(consumed - omitted - CRLF.len()));
            push(spans, Span::Omitted(omitted));
            push(spans, Span::Kept(CRLF.len()));
            return consumed;
        }
        let before = self.line.len();
        let taken = chunk.iter().position(|&byte| byte == b'\n').map_or(chunk.len(), |place| place + 1);
        self.line.extend_from_slice(&chunk[..taken]);
        let mut options = None;
        let next = match parse(&self.line, &LIMITS) {
            Ok(Parsed::IncompleteLine) => None,
            Ok(Parsed::IncompletePayload { bytes_needed }) => {
                Some(State::Body(self.body(bytes_needed - self.line.len() - CRLF.len())))
            }
            Ok(Parsed::Command { command, .. }) => {
                if let Command::Connect(json) = command {
                    options = Some(with_options(&self.line, json, secrets));
                }
                Some(State::Line)
            }
            Err(error) => {
                self.line.truncate(wrong_start(&self.line, before, error));
                Some(State::Broken)
            }
        };
        // What a CONNECT says is shown once it is whole.
        let is_connect =
            self.line.get(..CONNECT.len()).is_some_and(|verb| verb.eq_ignore_ascii_case(CONNECT));
        let shown = if is_connect { CONNECT.len().clamp(before, self.line.len()) } else { self.line.len() };
        push(spans, Span::Kept(shown - before));
        push(spans, Span::Held(self.line.len() - shown));
        spans.extend(options.map(Span::Options));
        let taken = self.line.len() - before;
        if let Some(next) = next {
            empty(&mut self.line);
            self.state = match next {
                State::Body(body) if body.is_over() => State::End(0),
                next => next,
            };
        }
        taken
    }

    /// What follows a publish's line.
    fn body(&self, payload_bytes: usize) -> Body {
        if is_understood(subject_of(&self.line)) {
            return Body { kept: payload_bytes, omitted: 0 };
        }
        let has_headers = self.line[0].eq_ignore_ascii_case(&b'H');
        let kept = if has_headers { header_bytes(&self.line) } else { 0 };
        Body { kept, omitted: payload_bytes - kept }
    }
}

/// What stands behind the verb of a `CONNECT`, with other options.
fn with_options(line: &[u8], json: &[u8], secrets: &Secrets) -> Vec<u8> {
    let behind = &line[CONNECT.len()..];
    let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let mut shown = behind[..blanks].to_vec();
    shown.extend_from_slice(&secrets.hide_options(json));
    // A return anywhere in the line stands for its end.
    let has_return = behind.len() > blanks + json.len() + 1;
    shown.extend_from_slice(if has_return { CRLF } else { b"\n" });
    shown
}

/// How much of a line is needed to see that it is wrong; its first `right` bytes are not.
fn wrong_start(line: &[u8], mut right: usize, error: ParseError) -> usize {
    let mut wrong = line.len();
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        if parse(&line[..middle], &LIMITS) == Err(error) { wrong = middle } else { right = middle }
    }
    wrong
}

fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty())
}

fn subject_of(line: &[u8]) -> &[u8] {
    words(line).nth(1).unwrap_or_default()
}

/// The number before the last of a line that was checked.
fn header_bytes(line: &[u8]) -> usize {
    words(line).rev().nth(1).and_then(|word| decimal::parse(word, SIZE_DIGITS_MAX)).unwrap_or(0) as usize
}

/// What a client is sent.
#[derive(Debug, Default)]
pub struct AnswerFilter {
    line: Vec<u8>,
    /// What follows the line, its end included.
    body: Body,
}

impl AnswerFilter {
    pub fn cut(&mut self, mut chunk: &[u8], spans: &mut Vec<Span>) {
        while !chunk.is_empty() {
            if !self.body.is_over() {
                chunk = &chunk[self.body.pass(chunk, spans)..];
                continue;
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let (part, rest) = chunk.split_at(end.map_or(chunk.len(), |place| place + 1));
            push(spans, Span::Kept(part.len()));
            chunk = rest;
            if end.is_some() && self.line.is_empty() {
                self.body = body_of(part);
                continue;
            }
            self.line.extend_from_slice(part);
            if end.is_some() {
                self.body = body_of(&self.line);
                empty(&mut self.line);
            }
        }
    }
}

/// What follows a line of the server. The end of a payload is not kept: it is the same for all.
fn body_of(line: &[u8]) -> Body {
    let has_headers = line.starts_with(b"HMSG ");
    if !has_headers && !line.starts_with(b"MSG ") {
        return Body::default();
    }
    let size = words(line).next_back().and_then(|word| decimal::parse(word, SIZE_DIGITS_MAX)).unwrap_or(0);
    let kept = if has_headers { header_bytes(line) } else { 0 };
    Body { kept, omitted: size as usize - kept.min(size as usize) + CRLF.len() }
}
