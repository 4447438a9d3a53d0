//! Faults that were mended, put back one by one: each must be found by the test that is named for it.
//!
//! A patch that no longer applies fails the first test here. With `RINGBOLT_FAULTS=1` the second builds the
//! server with each fault in turn and runs its finder, up to a minute each; `RINGBOLT_FAULTS=a,b` with those
//! of these names.

mod checks;
mod faults;
mod patch;

use faults::FAULTS;
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

fn read(name: &str) -> Patch {
    let path = root().join(PATCHES).join(name).with_extension("patch");
    Patch::parse(&std::fs::read_to_string(path).expect("a patch for every fault"))
}

#[test]
fn every_fault_can_be_put_back_and_has_its_row() {
    let document = std::fs::read_to_string(root().join("docs/TESTING.md")).expect("it is there");
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(root().join(PATCHES)).expect("a folder") {
        let path = entry.expect("an entry").path();
        names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    names.sort();
    let known: Vec<&str> = FAULTS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, known, "each patch has its row here, in order");
    for (name, package, target, test) in FAULTS {
        read(name).applied_to(&root()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let row = format!("| `{name}` | `{package}`, `{target}` | `{test}` |");
        assert!(document.contains(&row), "docs/TESTING.md lacks the row\n{row}");
    }
}

/// Runs one test of the tree, and returns what it printed. `seeds`: runs that are drawn, if not as many as
/// usual.
fn run(folder: &Path, (package, target, test): (&str, &str, &str), seeds: Option<&str>) -> String {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--package", package]);
        let target: &[&str] = if target == LIB { &["--lib"] } else { &["--test", target] };
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
    let faults: Vec<_> = FAULTS.iter().filter(|(name, ..)| asked == "1" || names.contains(name)).collect();
    assert!(asked == "1" || faults.len() == names.len(), "some of {asked} is no fault");
    // A copy of the tree, and what is built of it: a server with a fault is nobody else's.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let _ = std::fs::remove_dir_all(&folder);
    patch::copy_tree(&root(), &folder);
    let finders: BTreeSet<_> =
        faults.iter().map(|&&(_, package, target, test)| (package, target, test)).collect();
    for (package, target, test) in finders {
        let words = run(&folder, (package, target, test), None);
        assert!(words.contains(&format!("{test} ... ok")), "{test} fails without a fault:\n{words}");
    }
    let mut missed = Vec::new();
    for (name, package, target, test) in faults {
        let patch = read(name);
        let files = patch.applied_to(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let before = patch::write(&folder, &files);
        let words = run(&folder, (package, target, test), Some(SEEDS));
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
            missed.push(*name);
        }
        patch::write(&folder, &before);
    }
    std::fs::remove_dir_all(&folder).expect("the copy is ours");
    assert!(missed.is_empty(), "nobody finds {missed:?}");
}
