//! The rules of style and the table of layers, as a test: what breaks one is named with its place.

#[path = "tidy/asserts.rs"]
mod asserts;
#[path = "tidy/calls.rs"]
mod calls;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/seeds.rs"]
mod seeds;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/way.rs"]
mod way;

use modules::Modules;
use source::Source;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_LETTERS_MAX: usize = 110;

/// Files that a type may have methods in; with more, a circle of files only hides in it.
const METHOD_FILES_MAX: usize = 8;

/// Types that have methods in more files, by the file that defines each; the count may only fall.
const WIDE_TYPES: &[(&str, &str, usize)] = &[];

/// Where the modules of each of our crates are.
const CRATES: &[&str] =
    &["protocol/src/", "server/ring/src/", "server/shard/src/", "server/src/", "loadgen/src/"];

/// Written by a program, not by us.
const GENERATED: &str = "protocol/src/native/generated/";

/// Functions that may be longer, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("protocol/src/native/control.rs", "decode", "one arm for each control frame"),
    ("protocol/src/native/control.rs", "build", "one arm for each control frame"),
];

/// Modules of the server and those each may name, lowest first. Siblings never name each other.
const SERVER_LAYERS: &[(&str, &[&str])] = &[
    ("capture", &[]),
    ("config", &["capture"]),
    ("io", &["capture", "config"]),
    // It runs the loops of the edge over a platform of its own.
    ("sim", &["capture", "config", "io"]),
    ("cli", &["capture", "config", "io"]),
];

/// Our own packages and those each may depend on, tests aside.
const PACKAGE_LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("server/ring", &[]),
    ("server/shard", &["ringbolt-protocol"]),
    ("server", &["ringbolt-protocol", "ringbolt-ring", "ringbolt-shard"]),
    ("loadgen", &["ringbolt-protocol", "ringbolt-ring"]),
    ("benches", &[]),
    ("benches/instructions", &[]),
    ("sysctl", &[]),
];

/// Where a path may be named at all: folders, then what only they may name.
const CONFINED: &[(&[&str], &[&str])] = &[
    (&["server/src/io/"], &["glommio", "socket2", "prometheus_client", "rtrb", "signal_hook"]),
    // The settings ask it how long a path to a socket may be; the simulator speaks in its completions.
    (&["server/src/io/", "server/src/config/", "server/src/sim/edge/"], &["ringbolt_ring"]),
    (&["server/ring/"], &["io_uring"]),
];

/// Where flags are read; below they are plain values. A dialect is named in flags and in variants alike.
const FLAGS: &[&str] = &["server/src/cli/", "loadgen/src/cli/", "loadgen/src/dialect/mod.rs"];

/// What code that decides and does nothing may not name.
const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::io",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::hash::RandomState",
    "foldhash::fast::RandomState",
    "foldhash::quality::RandomState",
    "glommio",
    "io_uring",
    "libc",
    "tracing",
];
const PURE: &[&str] = &["protocol/src/", "server/shard/src/"];

const BANNED_MACROS: &[&str] = &["dbg!", "todo!", "unimplemented!"];
const PRINTING_MACROS: &[&str] = &["println!", "print!", "eprintln!", "eprint!"];
/// Programs talk to their user here, and tests may say why they were skipped.
const MAY_PRINT: &[&str] = &["server/src/cli/", "loadgen/src/", "benches/"];
/// Marks of unfinished work, in comments too.
const BANNED_MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Names that say nothing.
const BANNED_NAMES: &[&str] = &["foo", "baz", "tmp", "misc", "util", "utils", "helpers"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server is in the workspace").to_owned()
}

/// Every file of ours, from the root, sorted.
fn files() -> Vec<String> {
    fn walk(root: &Path, folder: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(root.join(folder)).expect("a readable folder") {
            let entry = entry.expect("a readable entry");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let foreign = matches!(name.as_str(), "target" | "report" | "corpus" | "artifacts")
                || (name.starts_with('.') && !documents::OUR_DOT_FOLDERS.contains(&name.as_str()));
            match entry.file_type().expect("a kind") {
                kind if kind.is_dir() && !foreign => walk(root, &path, found),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let names = files().into_iter().filter(|name| name.ends_with(".rs") && !name.starts_with(GENERATED));
    let sources: Vec<Source> = names.map(|name| Source::read(&root(), &name)).collect();
    assert!(sources.len() > 50, "the sources are where they were");
    sources
}

fn is_in(name: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| name.starts_with(folder))
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |source: &Source| !source.text.starts_with("//! ") || source.text.starts_with("//! \n");
    let found: Vec<String> = sources().into_iter().filter(silent).map(|source| source.name).collect();
    assert_none(&found);
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut found = Vec::new();
    for source in sources() {
        let name = &source.name;
        if source.line_count() > FILE_LINES_MAX {
            found.push(format!("{name}: {} lines", source.line_count()));
        }
        for function in source.functions() {
            let excused = LONG_FUNCTIONS.iter().any(|&(file, long, _)| file == name && long == function.name);
            if (function.lines > FUNCTION_LINES_MAX) != excused {
                found.push(format!(
                    "{name}:{}: {} has {} lines",
                    function.line, function.name, function.lines
                ));
            }
        }
        for (place, line) in source.text.lines().enumerate() {
            let letters = line.chars().count();
            if letters > LINE_LETTERS_MAX {
                found.push(format!("{name}:{}: {letters} letters", place + 1));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn modules_of_the_server_name_only_what_lies_below_them() {
    let mut found = Vec::new();
    for source in sources() {
        let Some(inside) = source.name.strip_prefix("server/src/") else { continue };
        let module = inside.split(['/', '.']).next().expect("a first part");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let allowed = SERVER_LAYERS.iter().find(|(name, _)| *name == module).map(|(_, below)| below);
        let Some(allowed) = allowed else {
            found.push(format!("{}: {module} has no row in SERVER_LAYERS", source.name));
            continue;
        };
        for (line, path) in source.paths() {
            let named = match path[0].as_str() {
                "crate" => path[1].as_str(),
                "super" if climbs_out(inside, &path) => "the root by super",
                _ => continue,
            };
            if named != module && !allowed.contains(&named) {
                found.push(format!("{}:{line}: {module} names {}", source.name, path.join("::")));
            }
        }
    }
    assert_none(&found);
}

/// Whether so many `super` leave the module of the file even from a test module inside it.
fn climbs_out(inside: &str, path: &[String]) -> bool {
    let depth = inside.trim_end_matches("/mod.rs").split('/').count();
    path.iter().take_while(|part| *part == "super").count() > depth
}

#[test]
fn packages_depend_only_on_what_lies_below_them() {
    let mut found = Vec::new();
    for (folder, allowed) in PACKAGE_LAYERS {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let table: toml::Table = manifest.parse().expect("TOML");
        let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
        for name in dependencies.into_iter().flat_map(toml::Table::keys) {
            if name.starts_with("ringbolt-") && !allowed.contains(&name.as_str()) {
                found.push(format!("{folder} depends on {name}"));
            }
        }
    }
    assert_none(&found);
}

/// One without would be compiled like the packages of others, slowly and without the lines of a panic.
#[test]
fn every_package_of_ours_has_its_profile_for_tests() {
    let manifest = |folder: &str| -> toml::Table {
        let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        text.parse().expect("TOML")
    };
    let profiles = &manifest("")["profile"]["dev"]["package"];
    let names = PACKAGE_LAYERS.iter().map(|(folder, _)| manifest(folder)["package"]["name"].clone());
    let missing = names.filter(|name| profiles.get(name.as_str().expect("a name")).is_none());
    assert_none(&missing.map(|name| format!("Cargo.toml: {name} has no profile")).collect::<Vec<_>>());
}

/// Tables of a manifest whose packages are ours to explain.
fn dependencies<'t>(manifest: &'t toml::Table, table: &str) -> impl Iterator<Item = &'t String> {
    manifest.get(table).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys)
}

/// The folder of the package a file belongs to; packages may lie inside others.
fn package_of(name: &str) -> &'static str {
    let inside = |folder: &&str| name.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
    let folders = PACKAGE_LAYERS.iter().map(|(folder, _)| *folder).filter(inside);
    folders.max_by_key(|folder| folder.len()).unwrap_or_default()
}

#[test]
fn every_dependency_is_used_and_its_reason_is_written_down() {
    let reasons =
        std::fs::read_to_string(root().join("docs/decisions/0001-dependencies.md")).expect("it is there");
    let explained = |name: &str| {
        reasons
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
            .any(|cell| cell.split(", ").any(|known| known == name))
    };
    let sources = sources();
    let mut found = Vec::new();
    for (folder, _) in PACKAGE_LAYERS {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let own: Vec<&Source> = sources.iter().filter(|source| package_of(&source.name) == *folder).collect();
        for (table, tests_too) in [("dependencies", false), ("dev-dependencies", true)] {
            for name in dependencies(&manifest, table) {
                let word = name.replace('-', "_");
                let is_used = |source: &&&Source| {
                    (tests_too || !is_test(&source.name)) && !source.lines_with(&word).is_empty()
                };
                if own.iter().find(is_used).is_none() {
                    found.push(format!("{folder}/Cargo.toml: {name} is not used"));
                }
                if !name.starts_with("ringbolt-") && !explained(name) {
                    found.push(format!("{folder}/Cargo.toml: {name} has no reason in 0001-dependencies.md"));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn events_are_plain_data() {
    let source = Source::read(&root(), "server/shard/src/event.rs");
    let mut found = Vec::new();
    for item in ["pub enum Event<", "pub struct Opening {"] {
        let (_, behind) = source.text.split_once(item).expect("it is there");
        let (body, _) = behind.split_once("\n}").expect("its end");
        // A reference to write to cannot be replayed, and a bare bool says nothing to who reads a record.
        let code = body.lines().filter(|line| !line.trim_start().starts_with("//"));
        let wrong = code.filter(|line| line.contains("mut ") || line.contains("bool"));
        found.extend(wrong.map(|line| format!("{}: {}", source.name, line.trim())));
    }
    assert_none(&found);
}

#[test]
fn the_load_generator_and_the_server_know_nothing_of_each_other() {
    let mut found = Vec::new();
    for source in sources() {
        let other = match source.name.as_str() {
            name if name.starts_with("loadgen/src/") => "ringbolt_server",
            name if name.starts_with("server/src/") => "ringbolt_loadgen",
            _ => continue,
        };
        found.extend(source.lines_with(other).into_iter().map(|line| format!("{}:{line}", source.name)));
    }
    assert_none(&found);
}

#[test]
fn what_decides_knows_no_socket_file_thread_or_clock() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| is_in(&source.name, PURE)) {
        for (line, path) in source.paths() {
            let whole = path.join("::");
            let is_impure = |banned: &&str| {
                whole.strip_prefix(*banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            if IMPURE.iter().any(is_impure) {
                found.push(format!("{}:{line}: {whole}", source.name));
            }
        }
        for word in ["Instant", "SystemTime", "thread_local"] {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}: {word}", source.name)));
        }
    }
    assert_none(&found);
}

#[test]
fn the_edge_alone_knows_the_runtime_and_the_ring() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.name.starts_with("server/")) {
        for (folders, packages) in CONFINED {
            let elsewhere = !is_in(&source.name, folders) && !is_test(&source.name);
            for (line, path) in source.paths().into_iter().filter(|_| elsewhere) {
                if packages.contains(&path[0].as_str()) {
                    found.push(format!("{}:{line}: {}", source.name, path.join("::")));
                }
            }
        }
    }
    assert_none(&found);
}

#[test]
fn flags_are_plain_values_below_the_command_line() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !is_in(&source.name, FLAGS)) {
        let paths = source.paths().into_iter().filter(|(_, path)| path[0] == "clap");
        found.extend(paths.map(|(line, path)| format!("{}:{line}: {}", source.name, path.join("::"))));
    }
    assert_none(&found);
}

#[test]
fn unsafe_code_lies_in_the_ring_alone() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.name.starts_with("server/ring/")) {
        for word in ["unsafe", "unsafe_code"] {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}", source.name)));
        }
    }
    found.retain(|place| !place.starts_with("protocol/src/native/mod.rs"));
    assert_none(&found);
}

#[test]
fn nothing_is_left_half_done() {
    let mut found = Vec::new();
    for source in sources() {
        for word in BANNED_MACROS.iter().chain(BANNED_NAMES) {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}: {word}", source.name)));
        }
        for (place, line) in source.text.lines().enumerate() {
            if BANNED_MARKS.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", source.name, place + 1, line.trim()));
            }
        }
        if is_in(&source.name, MAY_PRINT) || is_test(&source.name) {
            continue;
        }
        for word in PRINTING_MACROS {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}: {word}", source.name)));
        }
    }
    assert_none(&found);
}

#[test]
fn paths_and_links_in_documents_lead_somewhere() {
    let (root, files) = (root(), files());
    let mut found = Vec::new();
    for name in files.iter().filter(|name| !name.starts_with(GENERATED)) {
        let is_text = name.ends_with(".md") || name.ends_with(".rs") || name.ends_with(".toml");
        if is_text {
            let text = std::fs::read_to_string(root.join(name)).expect("UTF-8");
            found.extend(documents::broken(&root, name, &text));
        }
    }
    assert_none(&found);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let imports = CRATES.iter().flat_map(|folder| Modules::new(&sources, folder).imports()).collect();
    assert_none(&circles::complaints(&imports));
}

#[test]
fn methods_of_a_type_stand_in_few_files() {
    let sources = sources();
    let mut found = Vec::new();
    for folder in CRATES {
        for ((file, name), files) in Modules::new(&sources, folder).methods() {
            let known = WIDE_TYPES.iter().find(|(of, wide, _)| (*of, *wide) == (file, &name));
            let allowed = known.map_or(METHOD_FILES_MAX, |(_, _, allowed)| *allowed);
            if files.len() > allowed || (known.is_some() && files.len() < allowed) {
                found.push(format!("{file}: {name} has methods in {} files, not {allowed}", files.len()));
            }
        }
    }
    assert_none(&found);
}
