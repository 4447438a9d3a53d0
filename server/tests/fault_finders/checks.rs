//! The functions of the pure half that recount what is kept: for each a fault that it notices, so that none
//! checks nothing.

use super::{FAULTS, root};
use std::collections::BTreeSet;
use std::path::Path;

/// Where the pure half is.
const SHARD: &str = "server/shard/src";

/// The files of each `check` that asserts something, and faults that it finds.
pub const CHECKS: &[(&str, &str)] = &[
    ("server/shard/src/delivery/mod.rs", "bytes-of-a-closed-outbox-stay-counted"),
    ("server/shard/src/delivery/mod.rs", "closed-publishers-stay-held-back"),
    ("server/shard/src/delivery/mod.rs", "ids-of-ended-subscriptions-stay-taken"),
    ("server/shard/src/delivery/outbox.rs", "bytes-of-dropped-messages-stay-counted"),
    ("server/shard/src/delivery/receiver.rs", "connections-that-went-stay-counted"),
    ("server/shard/src/delivery/receiver.rs", "native-clients-that-went-stay-counted"),
    ("server/shard/src/mesh/link.rs", "bytes-of-a-taken-batch-stay-counted"),
    ("server/shard/src/requests.rs", "requests-forgotten-stay-due"),
    ("server/shard/src/requests.rs", "subjects-of-forgotten-requests-stay-counted"),
    ("server/shard/src/shard/mod.rs", "bytes-of-a-newcomer-that-went-stay-counted"),
    ("server/shard/src/shard/mod.rs", "bytes-of-who-is-admitted-stay-counted"),
    ("server/shard/src/shard/mod.rs", "numbers-of-a-closed-connection-stay-counted"),
    ("server/shard/src/shard/mod.rs", "subjects-of-a-cut-client-stay-pinned"),
    ("server/shard/src/work/group.rs", "messages-let-go-stay-held"),
    ("server/shard/src/work/mod.rs", "bytes-of-a-finished-message-stay-counted"),
    ("server/shard/src/work/mod.rs", "messages-of-a-finished-group-stay-counted"),
];

/// Whether the text of a file defines a `check` of its own that asserts something, tests aside.
fn asserts_in_check(text: &str) -> bool {
    text.match_indices("fn check(&self)").any(|(place, _)| {
        let for_tests = text[..place].trim_end_matches(|letter| letter != '\n').trim_end();
        let indent = text[..place].rsplit('\n').next().map_or(0, |line| line.len() - line.trim_start().len());
        let end = text[place..].find(&format!("\n{}}}", " ".repeat(indent)));
        let body = &text[place..place + end.unwrap_or(0)];
        !for_tests.ends_with("#[cfg(test)]") && (body.contains("assert!(") || body.contains("assert_eq!("))
    })
}

/// Files below a folder, from the root.
fn files(folder: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root().join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files(&path, found);
        } else if Path::new(&path).extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_check_has_a_fault_that_it_finds() {
    let mut names = Vec::new();
    files(SHARD, &mut names);
    names.retain(|name| {
        asserts_in_check(&std::fs::read_to_string(root().join(name)).expect("a readable source file"))
    });
    let listed: BTreeSet<&str> = CHECKS.iter().map(|(file, _)| *file).collect();
    assert_eq!(listed, names.iter().map(String::as_str).collect(), "each check has its row in CHECKS");
    for (file, fault) in CHECKS {
        assert!(FAULTS.iter().any(|(name, ..)| name == fault), "{file}: there is no fault {fault}");
    }
}

#[test]
fn a_check_that_asserts_is_told_from_others() {
    let method = |body: &str| format!("impl A {{\n    pub fn check(&self) {{\n        {body}\n    }}\n}}\n");
    assert!(asserts_in_check(&method("assert_eq!(self.a, 1);")));
    let forwards = method("self.a.check();") + "fn other() { assert!(a) }\n";
    assert!(!asserts_in_check(&forwards), "the assert is another function's");
    let for_tests = method("assert!(self.a);").replace("    pub fn", "    #[cfg(test)]\n    fn");
    assert!(!asserts_in_check(&for_tests));
    assert!(!asserts_in_check("fn check(secret: &Secret) {\n    assert!(secret);\n}\n"));
}
