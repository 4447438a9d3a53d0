//! The counts kept, and what they depend on besides the code: only those that were made alike are compared.

use crate::callgrind;
use crate::cases::CASES;
use std::collections::BTreeMap;
use std::process::Command;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.toml");
const BEGINNING: &str = "\
     # Instructions a delivery, and what the counts depend on besides the code; written by\n\
     # `cargo bench --package ringbolt-instructions -- --bless`.\n\n";

/// Names and values, in the order of their names.
pub type Conditions = BTreeMap<String, String>;
pub type Counts = BTreeMap<String, f64>;

/// What was written once.
pub struct Baseline {
    pub conditions: Conditions,
    pub counts: Counts,
}

impl Baseline {
    pub fn read() -> Baseline {
        let text = std::fs::read_to_string(FILE).expect("a readable baseline");
        let mut tables: toml::Table = text.parse().expect("a baseline as it was written");
        let mut table = |name: &str| {
            let table = tables.remove(name).unwrap_or_else(|| panic!("{FILE} has no {name}"));
            table.as_table().expect("a table").clone().into_iter()
        };
        let text = |value: toml::Value| value.as_str().expect("text").to_owned();
        let conditions = table("conditions").map(|(name, value)| (name, text(value))).collect();
        let number = |value: toml::Value| value.as_float().expect("a number");
        let counts = table("counts").map(|(name, value)| (name, number(value))).collect();
        Baseline { conditions, counts }
    }

    pub fn write(&self) {
        let table = |name, values: toml::Table| toml::to_string(&BTreeMap::from([(name, values)]));
        let conditions = self.conditions.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let counts = self.counts.iter().map(|(name, &count)| (name.clone(), count.into()));
        let conditions = table("conditions", conditions.collect()).expect("a table");
        let counts = table("counts", counts.collect()).expect("a table");
        std::fs::write(FILE, format!("{BEGINNING}{conditions}\n{counts}")).expect("a writable baseline");
    }

    /// Conditions that are others than those of `now`, with both.
    pub fn differences(&self, now: &Conditions) -> Vec<String> {
        let names =
            self.conditions.keys().chain(now.keys().filter(|name| !self.conditions.contains_key(*name)));
        let value = |of: &Conditions, name: &String| of.get(name).cloned().unwrap_or_default();
        let both = names.map(|name| (name, value(&self.conditions, name), value(now, name)));
        both.filter(|(_, was, is)| was != is)
            .map(|(name, was, is)| format!("{name} is {is:?}, the baseline's {was:?}"))
            .collect()
    }
}

/// Those of this program, here.
pub fn conditions() -> Conditions {
    let features = ["sse4.2", "avx", "avx2", "avx512f", "bmi2"];
    let compiled_for = [
        cfg!(target_feature = "sse4.2"),
        cfg!(target_feature = "avx"),
        cfg!(target_feature = "avx2"),
        cfg!(target_feature = "avx512f"),
        cfg!(target_feature = "bmi2"),
    ];
    let features = features.iter().zip(compiled_for).filter(|(_, has)| *has).map(|(name, _)| *name);
    let target = [std::env::consts::ARCH, std::env::consts::OS].into_iter().chain(features);
    let (first, _) = CASES[0];
    let conditions = [
        ("compiler", output_of("rustc", &["--version"])),
        ("library", output_of("getconf", &["GNU_LIBC_VERSION"])),
        ("memory_functions", callgrind::memory_functions(&["--run", first, "1"])),
        ("target", target.collect::<Vec<_>>().join(" ")),
        ("valgrind", output_of("valgrind", &["--version"])),
    ];
    conditions.map(|(name, value)| (name.to_owned(), value)).into()
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
