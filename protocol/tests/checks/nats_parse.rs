//! What holds for the NATS parser whatever bytes it gets. The fuzz target and the property tests share it.

use ringbolt_protocol::command::{Publish, SubjectRef};
use ringbolt_protocol::nats::encode::{self, MessageLine};
use ringbolt_protocol::nats::{
    Command, Connect, ParseError, ParseLimits, Parsed, parse, peek_frame, scan_run,
};

pub const LIMITS: ParseLimits = ParseLimits { line_bytes_max: 512, payload_bytes_max: 2048, headers: true };

/// Parses a stream to its end or first error and checks every step. Returns the commands.
pub fn check(input: &[u8]) -> usize {
    let (mut rest, mut commands) = (input, 0);
    loop {
        let parsed = parse(rest, &LIMITS);
        check_case(rest, &parsed);
        match parsed {
            Ok(Parsed::Command { command, consumed }) => {
                assert!((1..=rest.len()).contains(&consumed));
                let (whole, behind) = rest.split_at(consumed);
                check_prefixes(whole);
                check_command(&command, whole);
                check_run(&command, whole, behind);
                commands += 1;
                rest = behind;
            }
            Ok(Parsed::IncompleteLine) => {
                // A verb, blanks and arguments, each bounded.
                assert!(!rest.contains(&b'\n') || rest.len() <= 3 * LIMITS.line_bytes_max);
                assert!(rest.len() <= 3 * LIMITS.line_bytes_max, "a line that never ends is an error");
                return commands;
            }
            Ok(Parsed::IncompletePayload { bytes_needed }) => {
                assert!(bytes_needed > rest.len(), "asks for what is there");
                let line_bytes = 3 * LIMITS.line_bytes_max;
                assert!(bytes_needed <= line_bytes + LIMITS.payload_bytes_max + 2);
                return commands;
            }
            Err(error) => {
                let longer = [rest, b"\r\nPING\r\n"].concat();
                assert_eq!(parse(&longer, &LIMITS), Err(error), "more bytes mend nothing");
                check_cuts(rest, error);
                return commands;
            }
        }
    }
}

/// The fast way and the plain way say the same: only the plain one knows small letters.
fn check_case(rest: &[u8], parsed: &Result<Parsed<'_>, ParseError>) {
    if let Some(behind) = rest.strip_prefix(b"PUB") {
        let plain = [b"pub", behind].concat();
        assert_eq!(format!("{:?}", parse(&plain, &LIMITS)), format!("{parsed:?}"));
    }
}

/// Whatever arrives of an operation first, the rest is waited for.
fn check_prefixes(whole: &[u8]) {
    for length in 0..whole.len() {
        let parsed = parse(&whole[..length], &LIMITS);
        let waits = matches!(parsed, Ok(Parsed::IncompleteLine | Parsed::IncompletePayload { .. }));
        assert!(waits, "{parsed:?} for {length} of {}", whole.len());
    }
}

/// Whatever arrives of a wrong operation first, the same is wrong with it, now or later.
fn check_cuts(wrong: &[u8], error: ParseError) {
    for length in 0..wrong.len() {
        match parse(&wrong[..length], &LIMITS) {
            Ok(Parsed::IncompleteLine | Parsed::IncompletePayload { .. }) => {}
            other => assert_eq!(other, Err(error), "{length} of {}", wrong.len()),
        }
    }
}

fn check_command(command: &Command<'_>, whole: &[u8]) {
    match command {
        Command::Publish(publish) => check_publish(publish, whole),
        Command::Connect(options) => drop(Connect::default().merge(options)),
        Command::Subscribe { pattern, group, sid } => {
            check_words(&[pattern, group.unwrap_or(b"g"), sid]);
        }
        Command::Unsubscribe { sid, deliveries_max } => {
            check_words(&[sid]);
            assert_ne!(*deliveries_max, Some(0));
        }
        Command::Ping | Command::Pong | Command::Ignored => {}
    }
}

/// The messages of a run are those the parser finds one by one, and end where it says.
fn check_run(command: &Command<'_>, whole: &[u8], behind: &[u8]) {
    let Command::Publish(Publish { subject: SubjectRef::Literal(subject), .. }) = command else { return };
    let head = [b"PUB ", *subject, b" "].concat();
    if !whole.starts_with(&head) {
        return;
    }
    let mut spans = Vec::new();
    let run_bytes = scan_run(behind, &head, &LIMITS, LIMITS.payload_bytes_max, 1 << 16, &mut spans);
    let mut rest = behind;
    for span in &spans {
        let Ok(Parsed::Command { command: Command::Publish(publish), consumed }) = parse(rest, &LIMITS)
        else {
            panic!("a run of something else");
        };
        assert_eq!((publish.subject, publish.reply), (SubjectRef::Literal(subject), None));
        assert_eq!(publish.payload, span.payload(behind));
        rest = &rest[consumed..];
        let as_written = &behind[span.start as usize..];
        assert!(as_written.starts_with(format!("{}\r\n", publish.payload.len()).as_bytes()));
    }
    assert_eq!(behind.len() - rest.len(), run_bytes);
}

fn check_words(words: &[&[u8]]) {
    for word in words {
        let blanks = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        assert!(!word.is_empty() && !word.iter().any(blanks));
    }
}

/// What was parsed is delivered in a form that walks as one message.
fn check_publish(publish: &Publish<'_>, whole: &[u8]) {
    let SubjectRef::Literal(subject) = publish.subject else { panic!("NATS has no numbers") };
    check_words(&[subject, publish.reply.unwrap_or(b"r")]);
    assert!(publish.header_bytes as usize <= publish.payload.len());
    assert!(publish.payload.len() <= LIMITS.payload_bytes_max);
    assert!(whole.ends_with(&[publish.payload, b"\r\n"].concat()));
    let line = MessageLine {
        subject,
        sid: b"1",
        reply: publish.reply,
        header_bytes: publish.header_bytes as usize,
        payload_bytes: publish.payload.len(),
    };
    let mut out = Vec::new();
    encode::message_line(&mut out, &line);
    out.extend_from_slice(publish.payload);
    out.extend_from_slice(encode::CRLF);
    assert_eq!(peek_frame(&out), Some((true, out.len())));
}
