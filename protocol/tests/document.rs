//! `docs/PROTOCOL.md` says what the code does: its hex, numbers, names and fields are compared.

mod vectors;

use ringbolt_protocol::limits;
use ringbolt_protocol::native::control::{CloseCode, RefusalCode, SlowConsumer};
use ringbolt_protocol::native::header::{FrameType, MAGIC, VERSION};
use ringbolt_protocol::varint;
use std::collections::HashSet;
use std::path::Path;

const DOCUMENT: &str = include_str!("../../docs/PROTOCOL.md");
const SCHEMA: &str = include_str!("../schema/control.fbs");

/// Name and bytes of every block marked as hex; what follows `#` on a line is a comment.
fn hex_blocks() -> Vec<(&'static str, Vec<u8>)> {
    let blocks = DOCUMENT.split("\n```hex ").skip(1);
    blocks
        .map(|block| {
            let (name, body) = block.split_once('\n').expect("a block has lines");
            let (body, _) = body.split_once("\n```").expect("a block ends");
            let hex: String = body.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
            (name, vectors::from_hex(&hex).unwrap_or_else(|| panic!("{name} is not hex")))
        })
        .collect()
}

/// The lines between a heading and the next one of any level.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    let start = format!("# {heading}");
    let mut lines = DOCUMENT.lines().skip_while(move |line| !line.ends_with(&start));
    assert!(lines.next().is_some(), "the document has a section '{heading}'");
    lines.take_while(|line| !line.starts_with('#'))
}

/// Cells of the rows of all tables in `lines`.
fn rows(lines: impl Iterator<Item = &'static str>) -> Vec<Vec<&'static str>> {
    lines
        .filter(|line| line.starts_with('|') && !line.starts_with("|--"))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect()
}

/// Number and name of the rows that begin with a number.
fn numbered(heading: &str) -> Vec<(u16, &'static str)> {
    let rows = rows(section(heading)).into_iter();
    rows.filter_map(|row| Some((row[0].parse().ok()?, row[1]))).collect()
}

#[test]
fn every_hex_example_is_a_golden_vector() {
    let vectors = vectors::all();
    let mut types_shown = HashSet::new();
    for (name, bytes) in hex_blocks() {
        let vector = vectors.iter().find(|(other, _)| other == name);
        let (_, golden) = vector.unwrap_or_else(|| panic!("{name} is a vector"));
        assert_eq!(&bytes, golden, "{name}");
        types_shown.insert(bytes[2]);
    }
    assert_eq!(types_shown.len(), 17, "an example of every frame type");
}

#[test]
fn frame_types_have_their_numbers() {
    let here: Vec<_> = (1..=17u8)
        .map(|number| (u16::from(number), format!("{:?}", FrameType::from_number(number)).to_uppercase()))
        .collect();
    let documented: Vec<_> = numbered("Transport and frames")
        .into_iter()
        .filter(|(number, name)| {
            *number > 0 && name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
        })
        .map(|(number, name)| (number, format!("SOME({})", name.replace('_', ""))))
        .collect();
    assert_eq!(documented, here);
    assert!(FrameType::from_number(18).is_none());
}

#[test]
fn codes_have_their_numbers() {
    let refusals = numbered("11 REFUSAL (server → client)");
    let refusals: Vec<_> =
        refusals.into_iter().filter(|(_, name)| name.starts_with(char::is_uppercase)).collect();
    assert_eq!(refusals.len(), 16);
    for (number, name) in refusals {
        assert_eq!(format!("{:?}", RefusalCode::from_number(number)), name);
    }
    let closes = numbered("14 CLOSE (both)");
    let closes: Vec<_> =
        closes.into_iter().filter(|(_, name)| name.starts_with(char::is_uppercase)).collect();
    assert_eq!(closes.len(), 7);
    for (number, name) in closes {
        assert_eq!(format!("{:?}", CloseCode::from_number(number)), name);
    }
    let policies = numbered("Slow consumers");
    assert_eq!(policies.len(), 5);
    for (number, name) in policies {
        assert_eq!(format!("{:?}", SlowConsumer::from_number(number as u8)), name);
    }
}

/// The order of the sections is that of the schema's tables, so the fields can be compared in a row.
#[test]
fn control_frames_have_the_fields_of_the_schema() {
    let documented: Vec<(&str, &str)> = rows(DOCUMENT.lines())
        .into_iter()
        .filter(|row| row.len() == 4 && row[0].parse::<u8>().is_ok())
        .filter(|row| {
            ["bool", "ubyte", "ushort", "uint", "ulong", "string"].contains(&row[2])
                || row[2].ends_with("Code")
                || row[2] == "SlowConsumer"
        })
        .map(|row| (row[1], row[2]))
        .collect();
    let (_, tables) = SCHEMA.split_once("table ").expect("the tables come last");
    let parts = tables.split(['{', ';', '}']).filter_map(|part| part.trim().split_once(':'));
    let schema: Vec<(&str, &str)> =
        parts.map(|(name, kind)| (name, kind.split([' ', '=']).next().unwrap_or_default())).collect();
    assert_eq!(documented, schema);
}

#[test]
fn varint_examples_are_right() {
    let rows = rows(section("Varints"));
    let examples: Vec<_> = rows.iter().filter_map(|row| Some((row[0].parse().ok()?, row[1]))).collect();
    assert_eq!(examples.len(), 5);
    for (value, hex) in examples {
        let mut bytes = Vec::new();
        varint::encode(value, &mut bytes);
        assert_eq!(Some(bytes), vectors::from_hex(hex), "{value}");
    }
}

#[test]
fn pattern_examples_are_right() {
    use ringbolt_protocol::subject::{Pattern, Subject};
    let subject = |text: &'static str| {
        let text = text.trim_start_matches("the one subject ").trim_matches('`');
        Subject::new(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let rows = rows(section("Subjects and patterns"));
    assert_eq!(rows.len(), 7);
    for row in &rows[1..] {
        let pattern = Pattern::new(row[0].as_bytes()).expect("a pattern");
        if row[1] != "every subject" {
            assert!(row[1].split(", ").all(|text| pattern.matches(&subject(text))), "{row:?}");
        }
        let others = row.get(2).copied().unwrap_or_default();
        let mut others = others.split(", ").filter(|text| !text.is_empty());
        assert!(others.all(|text| !pattern.matches(&subject(text))), "{row:?}");
    }
}

#[test]
fn limits_are_those_of_the_code() {
    for sentence in [
        format!("A header of {} bytes", limits::HEADER_BYTES),
        format!("magic | 0x{MAGIC:X}"),
        format!("version | {VERSION}"),
        format!("no server allows more than {}", limits::FRAME_BODY_BYTES_CEILING),
        format!("of any other frame {}.", limits::CONTROL_BODY_BYTES_MAX),
        format!("body of a control frame | {} bytes", limits::CONTROL_BODY_BYTES_MAX),
        format!("It has 1 to {} bytes", limits::VARINT_BYTES_MAX),
        format!("1 to {} bytes of UTF-8: 1 to {} tokens", limits::SUBJECT_BYTES_MAX, limits::TOKENS_MAX),
        format!("{} bytes, {} tokens", limits::SUBJECT_BYTES_MAX, limits::TOKENS_MAX),
        format!("name of a queue group | {} bytes", limits::QUEUE_GROUP_BYTES_MAX),
        format!("queue group, 1 to {} bytes", limits::QUEUE_GROUP_BYTES_MAX),
        format!("`payload_bytes_max`, {} by default", limits::PAYLOAD_BYTES_MAX_DEFAULT),
    ] {
        let (document, sentence) = (DOCUMENT.to_lowercase(), sentence.to_lowercase());
        assert!(document.contains(&sentence), "the document says: {sentence}");
    }
}

#[test]
fn links_lead_somewhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let anchors: HashSet<String> =
        DOCUMENT.lines().filter(|line| line.starts_with('#')).map(anchor_of_heading).collect();
    let mut links = 0;
    for link in DOCUMENT.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        match link.strip_prefix('#') {
            Some(anchor) => assert!(anchors.contains(anchor), "no heading for #{anchor}"),
            None if link.starts_with("https://") => {}
            None => {
                let file = link.split('#').next().unwrap_or_default();
                assert!(folder.join(file).exists(), "no file {link}");
            }
        }
        links += 1;
    }
    assert!(links > 5);
}

fn anchor_of_heading(line: &str) -> String {
    let heading = line.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|&letter| letter.is_alphanumeric() || letter == ' ' || letter == '-');
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}
