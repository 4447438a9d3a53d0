//! Counting by callgrind, with a C library that does the same on every processor.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// glibc chooses how it copies and compares by what the processor can do, and callgrind counts each step of a
/// `rep movsb`: with this, what every x86-64 has is chosen.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-AVX512VL,\
     -AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-BMI2,-RTM";

/// Instructions of a whole run of this program with these arguments.
pub fn count(arguments: &[&str]) -> u64 {
    let text = run(&["--callgrind-out-file=/dev/null"], arguments).1;
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind counted nothing:\n{text}"))
}

/// The functions of the C library that copy, fill and compare in a run. Their names have what they need of
/// the processor.
pub fn memory_functions(arguments: &[&str]) -> String {
    let (profile, _) = run(&["--callgrind-out-file=/dev/stdout"], arguments);
    let calls = profile.lines().filter(|line| line.starts_with("fn=") || line.starts_with("cfn="));
    let names = calls.filter_map(|line| line.split_once(") ")).map(|(_, name)| name.trim());
    let found: BTreeSet<&str> = names.filter(|name| name.starts_with("__mem")).collect();
    found.into_iter().collect::<Vec<_>>().join(" ")
}

/// Instructions of a whole run by the source file that each came from, also where it was inlined.
pub fn count_by_file(arguments: &[&str]) -> BTreeMap<String, u64> {
    let (profile, _) = run(&["--callgrind-out-file=/dev/stdout"], arguments);
    let (mut names, mut counts) = (BTreeMap::new(), BTreeMap::new());
    let (mut file, mut is_call) = ("", false);
    for line in profile.lines() {
        match line.split_once('=') {
            // A name is written once, with a number that stands for it later.
            Some((word @ ("fl" | "fi" | "fe" | "cfl" | "cfi"), place)) => {
                let (number, name) = place.split_once(' ').unwrap_or((place, ""));
                let known = names.entry(number).or_insert(name);
                file = if word.starts_with('c') { file } else { known };
            }
            Some(("calls", _)) => is_call = true,
            // The line after a call has what the callee took, which is counted there.
            None if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) => {
                let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
                if !std::mem::take(&mut is_call) {
                    *counts.entry(file.to_owned()).or_default() += count.unwrap_or(0);
                }
            }
            _ => {}
        }
    }
    counts
}

/// What a run writes to its standard output, and to its standard error.
fn run(options: &[&str], arguments: &[&str]) -> (String, String) {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .args(options)
        .arg(own)
        .args(arguments)
        .env("GLIBC_TUNABLES", PLAIN_PROCESSOR)
        .output()
        .expect("valgrind is installed: apt-get install valgrind");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
