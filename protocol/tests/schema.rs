//! The schema, the code generated from it, and the crate's own numbers agree.

use ringbolt_protocol::native::control::{CloseCode, RefusalCode, SlowConsumer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCHEMA: &str = include_str!("../schema/control.fbs");
const GENERATED: &str = include_str!("../src/native/generated/control.rs");
/// The version of the flatbuffers crate; generated code and crate must be of the same.
const FLATC_VERSION: &str = "flatc version 25.12.19";

/// One line for every enum, value, table and field, in order: the parts that decide about the wire.
type Shape = Vec<String>;

fn shape_of_schema() -> Shape {
    let text: String =
        SCHEMA.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut shape = Shape::new();
    let mut rest = text.as_str();
    while let Some((head, behind)) = rest.split_once('{') {
        let (body, behind) = behind.split_once('}').expect("a brace is closed");
        rest = behind;
        let declaration = head.rsplit(';').next().unwrap_or_default().trim();
        if let Some((name, number)) = declaration.strip_prefix("enum ").and_then(|it| it.split_once(':')) {
            shape.push(format!("enum {} {}", name.trim(), rust_type(number.trim())));
            for value in body.split(',').map(str::trim).filter(|value| !value.is_empty()) {
                shape.push(value.to_owned());
            }
        } else {
            let name = declaration.strip_prefix("table ").expect("there are enums and tables");
            shape.push(format!("table {name}"));
            let fields = body.split(';').map(str::trim).filter(|field| !field.is_empty());
            shape.extend(fields.enumerate().map(|(place, field)| field_of_schema(place, field)));
        }
    }
    shape
}

fn field_of_schema(place: usize, field: &str) -> String {
    let (name, what) = field.split_once(':').expect("a field is a name, a colon and a type");
    let required = what.contains("(required)");
    let end = what.find([' ', '=', '(']).unwrap_or(what.len());
    // The first field's offset lies behind the two sizes at the start of a FlatBuffers vtable.
    format!("{} {} at {} required {required}", name.trim(), rust_type(&what[..end]), 4 + 2 * place)
}

fn rust_type(name: &str) -> &str {
    match name {
        "ubyte" => "u8",
        "ushort" => "u16",
        "uint" => "u32",
        "ulong" => "u64",
        "string" => "::flatbuffers::ForwardsUOffset<&str>",
        enumeration => enumeration,
    }
}

fn shape_of_generated() -> Shape {
    let mut shape = Shape::new();
    let mut offsets: Vec<(&str, &str)> = Vec::new();
    for line in GENERATED.lines().map(str::trim) {
        if let Some((name, number)) = between(line, "pub struct ", ");").and_then(|it| it.split_once("(pub "))
        {
            shape.push(format!("enum {name} {number}"));
        } else if let Some(name) = between(line, "pub enum ", "Offset {}") {
            shape.push(format!("table {name}"));
            offsets.clear();
        } else if let Some(constant) = between(line, "pub const ", ";") {
            if let Some((name, number)) = constant.split_once(": ::flatbuffers::VOffsetT = ") {
                offsets.push((name, number));
            } else if let Some((name, number)) = constant.split_once(": Self = Self(") {
                shape.push(format!("{name} = {}", number.trim_end_matches(')')));
            }
        } else if let Some(field) = between(line, ".visit_field::<", ")?") {
            shape.push(field_of_generated(field, &offsets));
        }
    }
    shape
}

fn field_of_generated(field: &str, offsets: &[(&str, &str)]) -> String {
    let (kind, arguments) = field.split_once(">(").expect("a type and arguments");
    let mut arguments = arguments.split(", ");
    let mut next = || arguments.next().expect("name, offset, required");
    let name = next().trim_matches('"');
    let constant = next().trim_start_matches("Self::");
    let required = next();
    let (_, offset) = offsets.iter().find(|(name, _)| *name == constant).expect("a field has an offset");
    format!("{name} {kind} at {offset} required {required}")
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    text.strip_prefix(start)?.strip_suffix(end)
}

#[test]
fn schema_and_generated_code_have_the_same_tables_fields_and_numbers() {
    let schema = shape_of_schema();
    assert_eq!(schema, shape_of_generated());
    let count = |start: &str| schema.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("enum "), count("table ")), (3, 13), "the whole schema was read");
}

/// The crate's own enums repeat the schema's numbers, because they must be exhaustive.
#[test]
fn the_codes_of_the_crate_are_those_of_the_schema() {
    let mut enumeration = String::new();
    let mut values = 0;
    for line in shape_of_schema() {
        if line.starts_with("enum ") || line.starts_with("table ") {
            enumeration = line.split(' ').nth(1).expect("a name").to_owned();
            continue;
        }
        let Some((name, number)) = line.split_once(" = ") else { continue };
        let number: u16 = number.parse().expect("a number");
        let (here, back) = match enumeration.as_str() {
            "SlowConsumer" => {
                let value = SlowConsumer::from_number(number as u8);
                (format!("{value:?}"), value as u16)
            }
            "RefusalCode" => {
                let value = RefusalCode::from_number(number);
                (format!("{value:?}"), value as u16)
            }
            _ => {
                let value = CloseCode::from_number(number);
                (format!("{value:?}"), value as u16)
            }
        };
        assert_eq!((here.as_str(), back), (name, number), "{enumeration}");
        values += 1;
    }
    assert_eq!(values, 5 + 17 + 8);
}

/// Needs flatc of the right version, in PATH or named by RINGBOLT_FLATC; without it the structural
/// test above is what there is.
#[test]
fn generating_again_changes_nothing() {
    let Some(flatc) = flatc() else {
        eprintln!("not run: no {FLATC_VERSION} in PATH, and RINGBOLT_FLATC is not set");
        return;
    };
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schema-{}", std::process::id()));
    fs::create_dir_all(&out).expect("the build's temporary folder is writable");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/generate");
    let status = Command::new("sh").arg(script).arg(&out).env("RINGBOLT_FLATC", flatc).status();
    assert!(status.expect("sh runs").success());
    let again = fs::read_to_string(out.join("control.rs")).expect("flatc wrote it");
    fs::remove_dir_all(&out).expect("it was made above");
    assert!(again == GENERATED, "run protocol/schema/generate and commit what it writes");
}

fn flatc() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RINGBOLT_FLATC") {
        let flatc = PathBuf::from(named);
        assert!(is_right_version(&flatc), "RINGBOLT_FLATC must name a {FLATC_VERSION}");
        return Some(flatc);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("flatc")).find(|flatc| is_right_version(flatc))
}

fn is_right_version(flatc: &Path) -> bool {
    let output = Command::new(flatc).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == FLATC_VERSION)
}
