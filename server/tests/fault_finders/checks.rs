//! The functions of the pure half that recount what is kept: for each a fault that it notices, so that none
//! checks nothing.

use super::{faults, root};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

/// Where the pure half is.
const SHARD: &str = "server/shard/src";

/// The files of each `check` that asserts something, and faults that it finds.
pub const CHECKS: &[(&str, &str)] = &[
    ("server/shard/src/accounts/mod.rs", "accounts-have-no-place-before-a-reload"),
    ("server/shard/src/bus.rs", "answers-held-are-not-counted"),
    ("server/shard/src/bus.rs", "numbers-of-a-closed-connection-stay-counted"),
    ("server/shard/src/bus.rs", "numbers-that-went-stay-pinned"),
    ("server/shard/src/delivery/beside.rs", "bytes-that-left-a-lane-stay-entered"),
    ("server/shard/src/delivery/holds.rs", "who-is-held-again-is-let-go-twice"),
    ("server/shard/src/delivery/mod.rs", "bytes-of-a-closed-outbox-stay-counted"),
    ("server/shard/src/delivery/mod.rs", "closed-publishers-stay-held-back"),
    ("server/shard/src/delivery/mod.rs", "ids-of-ended-subscriptions-stay-taken"),
    ("server/shard/src/delivery/outbox.rs", "bytes-of-expired-messages-stay-counted"),
    ("server/shard/src/delivery/receiver.rs", "connections-that-went-stay-counted"),
    ("server/shard/src/delivery/receiver.rs", "native-clients-that-went-stay-counted"),
    ("server/shard/src/delivery/timed.rs", "expired-messages-stay-waited-for"),
    ("server/shard/src/ledger.rs", "what-waits-of-who-went-stays-counted"),
    ("server/shard/src/limits.rs", "lanes-are-promised-more-than-there-is"),
    ("server/shard/src/mesh/batch.rs", "payloads-that-a-batch-shares-weigh-nothing"),
    ("server/shard/src/mesh/link.rs", "bytes-of-a-taken-batch-stay-counted"),
    ("server/shard/src/requests.rs", "requests-forgotten-stay-due"),
    ("server/shard/src/requests.rs", "subjects-of-forgotten-requests-stay-counted"),
    ("server/shard/src/router/entry.rs", "groups-without-members-stay"),
    ("server/shard/src/router/mod.rs", "memory-of-patterns-stays-counted"),
    ("server/shard/src/router/mod.rs", "patterns-that-nobody-wants-stay"),
    ("server/shard/src/router/subjects.rs", "numbers-are-given-from-a-full-table"),
    ("server/shard/src/router/subscribers.rs", "places-of-those-that-ended-are-not-counted"),
    ("server/shard/src/router/trie.rs", "nodes-that-lead-nowhere-are-lost"),
    ("server/shard/src/shard/mod.rs", "bytes-of-who-is-admitted-stay-counted"),
    ("server/shard/src/shard/mod.rs", "subjects-of-a-cut-client-stay-pinned"),
    ("server/shard/src/table.rs", "first-use-of-a-place-is-nobodys"),
    ("server/shard/src/wide.rs", "who-has-said-all-stays"),
    ("server/shard/src/work/check.rs", "bytes-of-a-finished-message-stay-counted"),
    ("server/shard/src/work/check.rs", "messages-of-a-finished-group-stay-counted"),
    ("server/shard/src/work/check.rs", "messages-taken-back-stay-in-flight"),
    ("server/shard/src/work/group.rs", "messages-taken-out-stay-waiting"),
    ("server/shard/src/work/letters.rs", "bytes-of-taken-letters-stay-counted"),
    ("server/shard/src/work/members.rs", "messages-let-go-stay-held"),
    ("server/shard/src/work/ring.rs", "places-go-with-one-of-several-subscriptions"),
    ("server/shard/src/work/wheel.rs", "timers-do-not-know-who-is-before-them"),
];

/// The lines of each `check` of a file that asserts something, tests aside, by the text of the file.
fn asserting_checks(text: &str) -> Vec<RangeInclusive<usize>> {
    let line_at = |place: usize| text[..place].matches('\n').count() + 1;
    let found = text.match_indices("fn check(&self").filter_map(|(place, _)| {
        let for_tests = text[..place].trim_end_matches(|letter| letter != '\n').trim_end();
        let indent = text[..place].rsplit('\n').next().map_or(0, |line| line.len() - line.trim_start().len());
        let end = text[place..].find(&format!("\n{}}}", " ".repeat(indent)));
        let end = place + end.unwrap_or(0);
        let body = &text[place..end];
        let asserts = body.contains("assert!(") || body.contains("assert_eq!(");
        (asserts && !for_tests.ends_with("#[cfg(test)]")).then(|| line_at(place)..=line_at(end))
    });
    found.collect()
}

/// Whether a `check` of that file and text panicked, by what a test printed.
pub fn panicked(words: &str, file: &str, text: &str) -> bool {
    let place = format!("panicked at {file}:");
    let mut lines = words.split(&place).skip(1).filter_map(|rest| rest.split(':').next()?.parse().ok());
    let checks = asserting_checks(text);
    lines.any(|line: usize| checks.iter().any(|check| check.contains(&line)))
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
        let text = std::fs::read_to_string(root().join(name)).expect("a readable source file");
        !asserting_checks(&text).is_empty()
    });
    let listed: BTreeSet<&str> = CHECKS.iter().map(|(file, _)| *file).collect();
    assert_eq!(listed, names.iter().map(String::as_str).collect(), "each check has its row in CHECKS");
    let faults = faults();
    for (file, fault) in CHECKS {
        assert!(faults.iter().any(|known| known.name == *fault), "{file}: there is no fault {fault}");
    }
}

#[test]
fn a_check_that_asserts_is_told_from_others() {
    let method = |body: &str| format!("impl A {{\n    pub fn check(&self) {{\n        {body}\n    }}\n}}\n");
    let asserts = method("assert_eq!(self.a, 1);");
    assert_eq!(asserting_checks(&asserts), [2..=3]);
    assert_eq!(asserting_checks(&asserts.replace("&self", "&self, a: u8")), [2..=3]);
    let forwards = method("self.a.check();") + "fn other() { assert!(a) }\n";
    assert_eq!(asserting_checks(&forwards), [], "the assert is another function's");
    let for_tests = method("assert!(self.a);").replace("    pub fn", "    #[cfg(test)]\n    fn");
    assert_eq!(asserting_checks(&for_tests), []);
    assert_eq!(asserting_checks("fn check(secret: &Secret) {\n    assert!(secret);\n}\n"), []);
    assert!(panicked("thread 'a' panicked at a.rs:3:9:\n", "a.rs", &asserts));
    for other in ["panicked at a.rs:4:9:\n", "panicked at b.rs:3:9:\n", "a.rs:3:9"] {
        assert!(!panicked(other, "a.rs", &asserts), "{other}");
    }
}
