//! Faults that were mended, put back one by one: each must be found by the test that is named for it.
//!
//! A patch that no longer applies fails the first test here. With `RINGBOLT_FAULTS=1` the second builds the
//! server with each fault in turn and runs its finder, up to a minute each; `RINGBOLT_FAULTS=a,b` with those
//! of these names.

mod checks;
mod patch;

use patch::Patch;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The target of the tests beside the code of a package.
const LIB: &str = "lib";

/// Faults that only some orders of events show are found within so many.
const SEEDS: &str = "10000";

const PATCHES: &str = "server/tests/fault_finders/patches";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server is in the workspace").to_owned()
}

/// A fault, by the name of its patch.
struct Fault {
    name: String,
    /// The package and target of the tests that find it, and the test: the first line of the patch says so.
    finder: [String; 3],
    patch: Patch,
}

/// All there are, by their names.
fn faults() -> Vec<Fault> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a readable patch");
        let (first, patch) = text.split_once('\n').expect("lines");
        let finder = first.strip_prefix("found by ").map(|words| words.split(' ').map(str::to_owned));
        let finder = finder.and_then(|words| words.collect::<Vec<_>>().try_into().ok());
        let finder = finder.unwrap_or_else(|| panic!("{name}: who finds it?"));
        Fault { name, finder, patch: Patch::parse(patch) }
    };
    let folder = std::fs::read_dir(root().join(PATCHES)).expect("a folder");
    let mut faults: Vec<Fault> = folder.map(read).collect();
    faults.sort_by(|one, other| one.name.cmp(&other.name));
    faults
}

#[test]
fn every_fault_can_be_put_back_and_has_its_row() {
    let page = root().join("docs/TESTING.md");
    let document = std::fs::read_to_string(&page).expect("it is there");
    let mut table = "| fault | tests of | found by |\n|---|---|---|\n".to_owned();
    for Fault { name, finder: [package, target, test], patch } in faults() {
        patch.applied_to(&root()).unwrap_or_else(|error| panic!("{name}: {error}"));
        table.push_str(&format!("| `{name}` | `{package}`, `{target}` | `{test}` |\n"));
    }
    if document.contains(&table) {
        return;
    }
    let begin = document.find("| fault |").expect("the table has a head");
    let end = begin + document[begin..].find("\n\n").expect("a table ends") + 1;
    let bless = std::env::var_os("RINGBOLT_BLESS").is_some();
    assert!(bless, "docs/TESTING.md is stale: run this test with RINGBOLT_BLESS=1");
    std::fs::write(page, [&document[..begin], &table, &document[end..]].concat()).expect("a writable page");
}

/// Runs one test of the tree, and returns what it printed. `seeds`: runs that are drawn, if not as many as
/// usual.
fn run(folder: &Path, [package, target, test]: &[String; 3], seeds: Option<&str>) -> String {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--package", package]);
        let target: &[&str] = if target == LIB { &["--lib"] } else { &["--test", target.as_str()] };
        command.args(target).args(arguments).current_dir(folder);
        command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-built"));
        if let Some(seeds) = seeds {
            command.env("RINGBOLT_SEEDS", seeds);
        }
        command.output().expect("cargo runs")
    };
    let built = cargo(&["--no-run"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let Output { stdout, stderr, .. } = cargo(&[test]);
    [stdout, stderr].iter().map(|bytes| String::from_utf8_lossy(bytes)).collect()
}

#[test]
fn every_fault_is_found() {
    let Ok(asked) = std::env::var("RINGBOLT_FAULTS") else {
        println!("not run: RINGBOLT_FAULTS=1 builds the server with each fault, which takes minutes");
        return;
    };
    let names: BTreeSet<&str> = asked.split(',').collect();
    let mut faults = faults();
    faults.retain(|fault| asked == "1" || names.contains(&*fault.name));
    assert!(asked == "1" || faults.len() == names.len(), "some of {asked} is no fault");
    // A copy of the tree, and what is built of it: a server with a fault is nobody else's.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let _ = std::fs::remove_dir_all(&folder);
    patch::copy_tree(&root(), &folder);
    let finders: BTreeSet<&[String; 3]> = faults.iter().map(|fault| &fault.finder).collect();
    for finder in finders {
        let (words, test) = (run(&folder, finder, None), &finder[2]);
        assert!(words.contains(&format!("{test} ... ok")), "{test} fails without a fault:\n{words}");
    }
    let mut missed = Vec::new();
    for Fault { name, finder, patch } in &faults {
        let files = patch.applied_to(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let before = patch::write(&folder, &files);
        let (words, test) = (run(&folder, finder, Some(SEEDS)), &finder[2]);
        // What a check must find, no other assert may find before it.
        let check = checks::CHECKS.iter().find(|(_, fault)| fault == name);
        let noticed = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).expect("a file of the copy");
            checks::panicked(&words, file, &text)
        };
        let found =
            words.contains(&format!("{test} ... FAILED")) && check.is_none_or(|(file, _)| noticed(file));
        println!("{name}: {}", if found { "found" } else { "missed" });
        if !found {
            missed.push(name);
        }
        patch::write(&folder, &before);
    }
    std::fs::remove_dir_all(&folder).expect("the copy is ours");
    assert!(missed.is_empty(), "nobody finds {missed:?}");
}
