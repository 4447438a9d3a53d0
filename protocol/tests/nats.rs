//! The NATS parser: what each line means, cut anywhere, and what ends a connection.

#[path = "checks/nats_parse.rs"]
mod nats_parse;

use nats_parse::LIMITS;
use proptest::prelude::*;
use ringbolt_protocol::nats::encode::{self, MessageLine};
use ringbolt_protocol::nats::{Info, ParseError, ParseLimits, Parsed, parse, peek_frame};

/// Operations in every spelling that nats-server takes, and what they mean.
const OPERATIONS: &[(&str, &str)] = &[
    ("PING\r\n", "Ping"),
    ("ping\n", "Ping"),
    ("PING and more\r\n", "Ping"),
    ("PoNg\r\n", "Pong"),
    ("+OK\r\n", "Ignored"),
    ("INFO {}\r\n", "Ignored"),
    ("info{\"a\":1}\n", "Ignored"),
    ("CONNECT{}\r\n", "Connect {}"),
    ("CONNECT {\"verbose\":false}\r\n", "Connect {\"verbose\":false}"),
    ("connect\t {}\r\n", "Connect {}"),
    ("PUB a 0\r\n\r\n", "Publish a - 0 ''"),
    ("PUB a.b 5\r\nhello\r\n", "Publish a.b - 0 'hello'"),
    ("PUB a.b 005\r\nhello\r\n", "Publish a.b - 0 'hello'"),
    ("PUB a.b inbox.1 5\r\nhello\r\n", "Publish a.b inbox.1 0 'hello'"),
    ("PUB a.b 7 5\r\nhello\r\n", "Publish a.b 7 0 'hello'"),
    ("pub \t a.b \t inbox.1   5 \r\nhello\r\n", "Publish a.b inbox.1 0 'hello'"),
    ("PUB a 5\nhello\r\n", "Publish a - 0 'hello'"),
    ("PUB a 4\r\n\r\n\r\n\r\n", "Publish a - 0 '\r\n\r\n'"),
    ("PUB a..b.> 1\r\nx\r\n", "Publish a..b.> - 0 'x'"),
    ("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "Publish a - 12 'NATS/1.0\r\n\r\nhi'"),
    ("hpub a r 12 12\r\nNATS/1.0\r\n\r\n\r\n", "Publish a r 12 'NATS/1.0\r\n\r\n'"),
    ("HPUB a 0 2\r\nhi\r\n", "Publish a - 0 'hi'"),
    ("SUB a.* 1\r\n", "Subscribe a.* - 1"),
    ("SUB a.>\tworkers  abc\r\n", "Subscribe a.> workers abc"),
    ("SUB \na 1\r\n", "Subscribe a - 1"),
    ("UNSUB 1\r\n", "Unsubscribe 1 None"),
    ("UNSUB 1 5\r\n", "Unsubscribe 1 Some(5)"),
    ("UNSUB 1 0\r\n", "Unsubscribe 1 None"),
    ("UNSUB 1 -5\r\n", "Unsubscribe 1 None"),
    ("UNSUB 1 x\r\n", "Unsubscribe 1 None"),
];

/// Beginnings that end a connection, each as short as it can be told.
const ERRORS: &[(&str, ParseError)] = &[
    ("X", ParseError::UnknownOperation),
    ("\r", ParseError::UnknownOperation),
    ("PX", ParseError::UnknownOperation),
    ("G", ParseError::UnknownOperation),
    ("PUBX", ParseError::UnknownOperation),
    ("PUB\r", ParseError::UnknownOperation),
    ("SUB\r", ParseError::UnknownOperation),
    ("UNSUB\n", ParseError::UnknownOperation),
    ("INFO x\r\n", ParseError::Arguments),
    ("INFO\r\n", ParseError::Arguments),
    ("PUB a 1\r\nxx", ParseError::UnknownOperation),
    ("PUB a 1\r\nx\n", ParseError::UnknownOperation),
    ("PUB a 1\r\nx\rx", ParseError::UnknownOperation),
    ("PUB a\r\n", ParseError::Arguments),
    ("PUB a x\r\n", ParseError::Arguments),
    ("PUB a -1\r\n", ParseError::Arguments),
    ("PUB a b c 1\r\n", ParseError::Arguments),
    ("PUB a 1234567890\r\n", ParseError::Arguments),
    ("PUB a 18446744073709551617\r\n", ParseError::Arguments),
    ("PUB \r\n", ParseError::Arguments),
    ("HPUB a 5\r\n", ParseError::Arguments),
    ("HPUB a 6 5\r\n", ParseError::Arguments),
    ("SUB a\r\n", ParseError::Arguments),
    ("SUB a b c d\r\n", ParseError::Arguments),
    ("SUB \r\n", ParseError::Arguments),
    ("UNSUB 1 2 3\r\n", ParseError::Arguments),
    ("PUB a 2049\r\n", ParseError::PayloadTooLarge),
    ("PUB a 999999999\r\n", ParseError::PayloadTooLarge),
    ("HPUB a 12 2049\r\n", ParseError::PayloadTooLarge),
    ("-ERR 'no'\r\n", ParseError::ClientError),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn describe(command: &ringbolt_protocol::nats::Command<'_>) -> String {
    use ringbolt_protocol::command::SubjectRef;
    use ringbolt_protocol::nats::Command;
    match command {
        Command::Publish(publish) => {
            let SubjectRef::Literal(subject) = publish.subject else { panic!("NATS has no numbers") };
            let reply = publish.reply.map_or("-".to_owned(), text);
            format!("Publish {} {reply} {} '{}'", text(subject), publish.header_bytes, text(publish.payload))
        }
        Command::Connect(options) => format!("Connect {}", text(options)),
        Command::Subscribe { pattern, group, sid } => {
            format!("Subscribe {} {} {}", text(pattern), group.map_or("-".to_owned(), text), text(sid))
        }
        Command::Unsubscribe { sid, deliveries_max } => {
            format!("Unsubscribe {} {deliveries_max:?}", text(sid))
        }
        other => format!("{other:?}"),
    }
}

/// The whole commands in front of `input`, and how far they reach.
fn commands(input: &[u8], found: &mut Vec<String>) -> usize {
    let mut at = 0;
    while let Parsed::Command { command, consumed } = parse(&input[at..], &LIMITS).expect("valid") {
        found.push(describe(&command));
        at += consumed;
    }
    at
}

#[test]
fn operations_mean_what_nats_server_takes_them_for() {
    for (line, meaning) in OPERATIONS {
        let mut found = Vec::new();
        assert_eq!(commands(line.as_bytes(), &mut found), line.len(), "{line:?}");
        assert_eq!(found, [*meaning], "{line:?}");
    }
}

#[test]
fn a_stream_cut_at_every_byte_yields_the_same_commands() {
    let stream: String = OPERATIONS.iter().map(|(line, _)| *line).collect();
    let stream = stream.as_bytes();
    let meanings: Vec<&str> = OPERATIONS.iter().map(|(_, meaning)| *meaning).collect();
    for cut in 0..=stream.len() {
        let mut found = Vec::new();
        let first = commands(&stream[..cut], &mut found);
        assert_eq!(first + commands(&stream[first..], &mut found), stream.len(), "cut at {cut}");
        assert_eq!(found, meanings, "cut at {cut}");
    }
}

#[test]
fn what_cannot_be_is_an_error_as_soon_as_it_is_there() {
    for (input, error) in ERRORS {
        let input = input.as_bytes();
        assert_eq!(parse(input, &LIMITS), Err(*error), "{}", text(input));
        let before = parse(&input[..input.len() - 1], &LIMITS);
        assert!(before.is_ok(), "{}: {before:?}", text(input));
    }
}

#[test]
fn a_line_is_bounded_even_without_an_end() {
    let limits = ParseLimits { line_bytes_max: 16, ..LIMITS };
    for verb in ["PUB ", "SUB ", "CONNECT ", "PING", "INFO "] {
        let fits = format!("{verb}{}", "x".repeat(16));
        assert_eq!(parse(fits.as_bytes(), &limits), Ok(Parsed::IncompleteLine), "{verb}");
        for end in ["", "\r\n"] {
            let long = format!("{verb}{}{end}", "x".repeat(18));
            assert_eq!(parse(long.as_bytes(), &limits), Err(ParseError::LineTooLong), "{long}");
        }
    }
    let blanks = format!("SUB {}", " ".repeat(40));
    assert_eq!(parse(blanks.as_bytes(), &limits), Err(ParseError::LineTooLong));
}

/// What a stream yields that arrives in two pieces: each operation, and the error that ends it.
fn outcome(stream: &[u8], cut: usize) -> (Vec<String>, Option<ParseError>) {
    let (mut at, mut found) = (0, Vec::new());
    for end in [cut, stream.len()] {
        loop {
            match parse(&stream[at..end], &LIMITS) {
                Ok(Parsed::Command { command, consumed }) => {
                    found.push(describe(&command));
                    at += consumed;
                }
                Ok(_) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

#[test]
fn a_line_of_any_length_means_the_same_wherever_it_is_cut() {
    let most = LIMITS.line_bytes_max;
    let lengths = (most - 12..most + 4).chain([2 * most, 10 * most]);
    for (length, (line, _)) in lengths.flat_map(|length| OPERATIONS.iter().map(move |line| (length, line))) {
        let (verb, rest) =
            line.split_at(line.bytes().position(|byte| b" \t\r\n{".contains(&byte)).unwrap_or(0));
        let (arguments, end) = rest.split_at(rest.find(['\r', '\n']).unwrap_or(0));
        for filler in [" ", "\t", "x", "{", "\r"] {
            let long = filler.repeat(length);
            for stream in [
                format!("{verb}{long}{arguments}{end}PING\r\n"),
                format!("{verb}{arguments}{long}{end}PING\r\n"),
                format!("{verb} {arguments}{long} {end}PING\r\n"),
            ] {
                let stream = stream.as_bytes();
                let whole = outcome(stream, stream.len());
                let cuts =
                    (0..stream.len()).step_by(97).chain(most - 16..most + 48).chain([length, length + 9]);
                for cut in cuts.filter(|&cut| cut < stream.len()) {
                    assert_eq!(
                        outcome(stream, cut),
                        whole,
                        "{line:?} with {length} of {filler:?} cut at {cut}"
                    );
                }
            }
        }
    }
}

#[test]
fn headers_need_to_be_announced() {
    let limits = ParseLimits { headers: false, ..LIMITS };
    assert_eq!(parse(b"HPUB a 12 12\r\n", &limits), Err(ParseError::HeadersNotSupported));
}

#[test]
fn answers_have_the_bytes_clients_expect() {
    let mut out = Vec::new();
    let line = MessageLine { subject: b"a.b", sid: b"9", reply: None, header_bytes: 0, payload_bytes: 5 };
    encode::message_line(&mut out, &line);
    encode::message_line(&mut out, &MessageLine { reply: Some(b"r"), header_bytes: 12, ..line });
    encode::error(&mut out, "Stale Connection");
    assert_eq!(text(&out), "MSG a.b 9 5\r\nHMSG a.b 9 r 12 5\r\n-ERR 'Stale Connection'\r\n");
    let info = Info { server_id: "ID", proto: 1, max_payload: 7, ..Info::default() };
    let mut out = Vec::new();
    encode::info(&mut out, &info);
    let out = text(&out);
    assert!(out.starts_with("INFO {\"server_id\":\"ID\",") && out.ends_with("} \r\n"), "{out}");
    assert!(!out.contains("nonce") && !out.contains("tls_required") && out.contains("\"max_payload\":7"));
}

#[test]
fn an_error_is_one_line_and_quotes_what_it_repeats() {
    let mut out = Vec::new();
    encode::error(&mut out, "a\r\nPING\r\n");
    assert_eq!(text(&out), "-ERR 'a  PING  '\r\n");
    for (words, quoted) in [
        (&b"a.b"[..], "\"a.b\""),
        (b"\"\\'", "\"\\\"\\\\'\""),
        (b"\x07\x08\t\n\x0b\x0c\r\0\x7f\xff", "\"\\a\\b\\t\\n\\v\\f\\r\\x00\\x7f\\xff\""),
        ("é\u{85}\u{a0}\u{2028}\u{200b}".as_bytes(), "\"é\\u0085\\u00a0\\u2028\\u200b\""),
    ] {
        assert_eq!(encode::quoted(words), quoted);
    }
}

#[test]
fn an_outbox_of_answers_and_messages_can_be_walked() {
    let mut out = b"+OK\r\nMSG a 1 2\r\nhi\r\n".to_vec();
    let frames = [(false, 5), (true, 15), (true, 30), (false, 6)];
    out.extend_from_slice(b"HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n");
    out.extend_from_slice(b"PING\r\n");
    let mut at = 0;
    // The second message lacks its last two bytes, as one with a shared payload does.
    for (place, &(is_message, bytes)) in frames.iter().take(3).enumerate() {
        let expected = if place == 2 { 18 + 12 + 2 } else { bytes };
        assert_eq!(peek_frame(&out[at..]), Some((is_message, expected)));
        at += bytes;
    }
    assert_eq!(peek_frame(&out[at..]), Some((false, 6)));
    assert_eq!(peek_frame(b"MSG a 1 2"), None);
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a.b".to_owned()),
        Just("5".to_owned()),
        Just("0".to_owned()),
        Just("12".to_owned()),
        "[a-c.*>]{1,12}",
        "[!-~]{1,20}",
        (500usize..530).prop_map(|bytes| "x".repeat(bytes)),
    ]
}

fn operation() -> impl Strategy<Value = String> {
    let verb = proptest::sample::select(vec![
        "PUB", "pub", "HPUB", "SUB", "UNSUB", "CONNECT", "PING", "PONG", "INFO", "+OK", "-ERR", "PU",
    ]);
    let end = proptest::sample::select(vec!["\r\n", "\n", "\r\nhello\r\n", "\r\n\r\n", ""]);
    let blank = prop_oneof![
        8 => proptest::sample::select(vec![" ", "  ", "\t", "\r"]).prop_map(str::to_owned),
        1 => (500usize..530).prop_map(|bytes| " ".repeat(bytes)),
    ];
    (verb, proptest::collection::vec((blank, word()), 0..5), end).prop_map(|(verb, words, end)| {
        let words: String = words.into_iter().flat_map(|(blank, word)| [blank, word]).collect();
        format!("{verb}{words}{end}")
    })
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_harm(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        nats_parse::check(&input);
    }

    #[test]
    fn any_operations_are_parsed_alike_in_capitals_and_cut(
        operations in proptest::collection::vec(operation(), 1..8),
    ) {
        nats_parse::check(operations.concat().as_bytes());
    }
}
