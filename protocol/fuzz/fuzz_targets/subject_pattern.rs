//! Any bytes as a pattern, a newline and a subject.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/checks/subject_pattern.rs"]
mod subject_pattern;

fuzz_target!(|input: &[u8]| {
    subject_pattern::check(input);
});
