//! Microbenchmarks of ringbolt's structures: `cargo bench --package ringbolt-benches`. `cargo test` runs each
//! of them once, with little to do.

use std::process::{Command, exit};

/// Whether `cargo bench` runs this program; otherwise `cargo test` does, to see that it still works.
pub fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// How much there is to do: `full` to measure, `little` to see that it works.
pub fn amount<T>(full: T, little: T) -> T {
    if measures() { full } else { little }
}

/// Flags of `cargo test` that criterion takes.
const FLAGS_TAKEN: &[&str] =
    &["--list", "--exact", "--ignored", "--include-ignored", "--nocapture", "--show-output", "--test"];

/// Starts this program again without the flags that only other test programs take, such as `--test-threads`:
/// criterion refuses them. Returns if there are none.
pub fn drop_foreign_flags() {
    let is_taken = |word: &String| !word.starts_with('-') || FLAGS_TAKEN.contains(&word.as_str());
    let (taken, foreign): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(is_taken);
    if measures() || foreign.is_empty() {
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let status = Command::new(own).args(taken).status().expect("it starts again");
    exit(status.code().unwrap_or(1));
}
