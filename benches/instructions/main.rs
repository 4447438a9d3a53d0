//! Instructions a message takes through the pure shard, counted by callgrind: the same on every run, so a
//! regression of a percent shows, whatever else the machine does.
//!
//! Each case runs twice with different counts; the difference leaves out starting, connecting and warming.
//! A package of its own, so that nothing else is built for it.
//! The allocator is the C library's: mimalloc, which the server has, draws addresses at random.
//!
//! ```text
//! cargo bench --package ringbolt-instructions              # print
//! cargo bench --package ringbolt-instructions -- --check   # compare with instructions.toml
//! cargo bench --package ringbolt-instructions -- --bless   # write it anew
//! cargo bench --package ringbolt-instructions -- --files 'nats request, 64 B'   # a case by source file
//! ```

mod baseline;
mod callgrind;
mod cases;
#[path = "../benches/core/mod.rs"]
mod core;

use baseline::{Baseline, Counts};
use cases::{CASES, Case};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// More than this above the baseline is a regression. As much below it, the baseline is to be written anew:
/// what was gained could be lost again unnoticed.
const TOLERANCE: f64 = 0.01;
/// Deliveries between the two runs of a case, at least, and the rounds it is warmed up.
const DELIVERIES: u64 = 10_000;
const WARM_UP_ROUNDS: u64 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, rounds] = &arguments[..]
        && run == "--run"
    {
        Case::named(name).run(rounds.parse().expect("a count"));
        return ExitCode::SUCCESS;
    }
    if !ringbolt_benches::measures() {
        try_each();
        return ExitCode::SUCCESS;
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(place) = arguments.iter().position(|argument| argument == "--files") {
        print_files(arguments.get(place + 1).expect("--files takes the name of a case"));
        return ExitCode::SUCCESS;
    }
    let conditions = baseline::conditions();
    if has("--bless") {
        let (counts, _) = count_all(None);
        Baseline { conditions, counts }.write();
        return ExitCode::SUCCESS;
    }
    let known = Baseline::read();
    let differences = known.differences(&conditions);
    let (_, apart) = count_all(differences.is_empty().then_some(&known));
    differences.iter().for_each(|difference| println!("not compared with the baseline: {difference}"));
    if has("--check") && apart > 0 {
        println!("{apart} cases are not within {:.0} % of the baseline", 100.0 * TOLERANCE);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// That each case still does what it is to be counted for.
fn try_each() {
    for &(name, make) in CASES {
        let mut case = make();
        let before = case.counted();
        case.run(WARM_UP_ROUNDS);
        assert_eq!(case.counted() - before, WARM_UP_ROUNDS * case.messages, "{name}");
    }
}

/// Counts and prints every case; returns how many are not as the baseline has them, too.
fn count_all(baseline: Option<&Baseline>) -> (Counts, u32) {
    let (mut counts, mut apart) = (Counts::new(), 0);
    println!("{:<48} {:>14} {:>10} {:>8}", "instructions a delivery", "now", "baseline", "");
    for &(name, make) in CASES {
        let each = count(name, make().messages);
        let before = baseline.and_then(|baseline| baseline.counts.get(name)).copied();
        let change = before.map(|before| each / before - 1.0);
        let verdict = match change {
            Some(change) if change > TOLERANCE => "worse",
            Some(change) if change < -TOLERANCE => "better",
            None if baseline.is_some() => "new",
            _ => "",
        };
        apart += u32::from(!verdict.is_empty());
        println!(
            "{name:<48} {each:>14.1} {:>10} {:>8} {verdict}",
            before.map_or("-".to_owned(), |before| format!("{before:.1}")),
            change.map_or("-".to_owned(), |change| format!("{:+.1} %", 100.0 * change)),
        );
        counts.insert(name.to_owned(), (each * 10.0).round() / 10.0);
    }
    (counts, apart)
}

/// Prints which of our source files the instructions of a case come from, the most first.
fn print_files(name: &str) {
    let messages = Case::named(name).messages;
    let rounds = DELIVERIES.div_ceil(messages).max(WARM_UP_ROUNDS);
    let run = |rounds: u64| callgrind::count_by_file(&["--run", name, &rounds.to_string()]);
    let (few, many) = (run(WARM_UP_ROUNDS), run(WARM_UP_ROUNDS + rounds));
    let mut by_file: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, &count) in &many {
        let ours = ["server/shard/src/", "protocol/src/"].iter().find_map(|folder| path.find(folder));
        let file = ours.map_or("others", |start| &path[start..]);
        let before = few.get(path).copied().unwrap_or(0);
        *by_file.entry(file).or_default() += count - before.min(count);
    }
    let mut files: Vec<_> = by_file.into_iter().filter(|&(_, count)| count > 0).collect();
    files.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let all: u64 = files.iter().map(|(_, count)| count).sum();
    for (file, count) in files {
        let (each, share) = (count as f64 / (rounds * messages) as f64, 100.0 * count as f64 / all as f64);
        println!("{each:>10.1} {share:>5.1} % {file}");
    }
}

/// Instructions a message of the case, warmed up.
fn count(name: &str, messages: u64) -> f64 {
    let rounds = DELIVERIES.div_ceil(messages).max(WARM_UP_ROUNDS);
    let run = |rounds: u64| callgrind::count(&["--run", name, &rounds.to_string()]);
    let (few, many) = (run(WARM_UP_ROUNDS), run(WARM_UP_ROUNDS + rounds));
    (many - few) as f64 / (rounds * messages) as f64
}
