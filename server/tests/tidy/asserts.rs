//! How much of the pure half is asserted: what is only hoped for is found by users.

use super::modules::without_tests;
use super::source::{Source, tokens};
use super::sources;
use std::collections::BTreeSet;

/// A thousand lines of code have so many at least.
const ASSERTS_A_KLOC: f64 = 25.0;

const ASSERTS: &[&str] =
    &["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

/// Asserts, and lines with code, both without tests.
fn count(source: &Source) -> (usize, usize) {
    let tokens = without_tests(tokens(&source.code));
    let asserts = tokens.windows(2).filter(|pair| ASSERTS.contains(&pair[0].text) && pair[1].text == "!");
    let lines: BTreeSet<usize> = tokens.iter().map(|token| token.line).collect();
    (asserts.count(), lines.len())
}

#[test]
fn what_the_pure_half_relies_on_is_asserted() {
    let sources = sources();
    let ours = sources.iter().filter(|source| source.name.starts_with("server/shard/src/"));
    let (mut asserts, mut lines) = (0, 0);
    for source in ours {
        let (of_file, lines_of_file) = count(source);
        (asserts, lines) = (asserts + of_file, lines + lines_of_file);
    }
    let density = 1000.0 * asserts as f64 / lines as f64;
    assert!(density >= ASSERTS_A_KLOC, "{density:.1} asserts a thousand lines: {asserts} in {lines} lines");
}

#[test]
fn asserts_and_lines_of_code_are_counted_without_tests_and_comments() {
    let code =
        "//! What.\n\nfn f() {\n    // assert!(a)\n    assert!(a);\n    debug_assert_eq!(a, b, \"c\");\n}\n";
    let test = "#[cfg(test)]\nmod tests {\n    fn g() {\n        assert!(a);\n    }\n}\n";
    let text = format!("{code}{test}");
    assert_eq!(count(&Source::new("t.rs", text)), (2, 4));
}
