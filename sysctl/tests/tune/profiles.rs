//! The files that ship: every row explained, every value the judged one, the scripts sound.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::fake::{Answer, FakeHost, sysctl_directory, tune};

const PROFILES: [&str; 3] = ["latency", "throughput", "development"];

/// The rows of a profile as (key, rule, value).
fn rows(profile: &str) -> Vec<(String, String, String)> {
    let path = sysctl_directory().join(format!("profiles/{profile}.conf"));
    let text = fs::read_to_string(path).expect("the profile ships");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (key, rule) = (words.next().expect("a key"), words.next().expect("a rule"));
            (key, rule, words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn explain(key: &str) -> String {
    Answer::of(&tune().args(["explain", key]).output().expect("it starts")).expect(0).text
}

#[test]
fn every_shipped_row_is_explained() {
    for profile in PROFILES {
        for (key, rule, value) in rows(profile) {
            let text = explain(&key);
            assert!(text.contains(&format!("profile  {profile}: {rule} {value}")), "{key}:\n{text}");
            for field in ["why", "risk", "source"] {
                assert!(text.contains(&format!("\n  {field:<8} ")), "{key} has no {field}:\n{text}");
            }
        }
    }
}

#[test]
fn the_judged_values_are_the_shipped_ones() {
    let latency = rows("latency");
    let value = |key: &str| {
        let found = latency.iter().find(|row| row.0 == key).unwrap_or_else(|| panic!("{key}"));
        (found.1.as_str(), found.2.as_str())
    };
    assert_eq!(value("sysctl:net.core.rmem_max"), ("raise-only", "16777216"));
    assert_eq!(value("sysctl:net.ipv4.tcp_rmem"), ("set", "4096 131072 4194304"));
    assert_eq!(value("sysctl:net.ipv4.tcp_notsent_lowat"), ("set", "131072"));
    assert_eq!(value("sysctl:kernel.numa_balancing"), ("set", "0"));
    assert_eq!(value("sysfs:kernel/mm/transparent_hugepage/enabled"), ("set", "madvise"));
    for profile in PROFILES {
        for (key, rule, _) in rows(profile) {
            let cap = ["_max", "somaxconn", "backlog"].iter().any(|end| key.ends_with(end));
            assert!(!cap || rule == "raise-only", "{profile}: {key} is a cap");
            assert!(
                !key.contains("congestion_control") && !key.contains("max_map_count"),
                "{profile}: {key}"
            );
        }
    }
}

#[test]
fn what_is_not_shipped_is_explained() {
    for (key, part) in [
        ("bbr", "PROBE_RTT"),
        ("thp-always", "khugepaged"),
        ("rmem_max", "134217728"),
        ("chrt", "ksoftirqd"),
        ("max_map_count", "lowers it"),
        ("busy_poll", "irq apply --busy-poll"),
        ("smp_affinity", "irqbalance"),
        ("limits", "LimitMEMLOCK"),
        ("cpu_dma_latency", "pm_qos_resume_latency_us"),
        ("isolcpus", "boot"),
        ("net/ipv4/tcp_low_latency", "4.14"),
    ] {
        let text = explain(key).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("not shipped") && text.contains(part), "{key}: {text}");
    }
}

#[test]
fn keys_are_found_by_path_short_name_and_part() {
    for key in ["sysctl:vm.swappiness", "vm.swappiness", "/proc/sys/vm/swappiness", "swappiness", "SWAPPI"] {
        assert!(explain(key).contains("sysctl:vm.swappiness\n"), "{key}");
    }
}

#[test]
fn a_broken_profile_is_refused_with_its_line() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    for (row, said) in [
        ("sysctl:vm.swappiness sett 1", "own.conf:4: the rule of sysctl:vm.swappiness is \"sett\""),
        ("vm.swappiness set 1", "own.conf:4: the key vm.swappiness has no known scheme"),
        ("sysctl:vm.swappiness set", "own.conf:4: sysctl:vm.swappiness has no value"),
        ("sysctl:vm.swappiness raise-only low", "own.conf:4: raise-only takes whole numbers"),
        ("sysfs:../etc/passwd set 1", "own.conf:4: the key sysfs:../etc/passwd may not contain two dots"),
        ("hugepages:big set 1", "own.conf:4: write a page size"),
        ("#: colour red", "own.conf:4: #: colour is unknown"),
        (
            "sysctl:vm.swappiness set 1\nsysctl:vm.stat_interval set 1",
            "own.conf:5: sysctl:vm.stat_interval has no line",
        ),
    ] {
        let profile = host.profile(row);
        let answer = host.run(&["apply", &profile]).expect(78);
        assert!(answer.errors.contains(said), "{row}: {}", answer.errors);
    }
    host.is_as(&before);
}

#[test]
fn the_guide_lists_every_value_as_it_ships() {
    let guide = fs::read_to_string(sysctl_directory().join("../docs/TUNING.md")).expect("docs/TUNING.md");
    let shipped = PROFILES.map(rows);
    let keys: BTreeSet<&String> = shipped.iter().flatten().map(|row| &row.0).collect();
    for key in keys {
        let cell = |rows: &Vec<(String, String, String)>| {
            let row = rows.iter().find(|row| row.0 == *key);
            row.map_or_else(String::new, |row| format!(" {} {}", row.1, row.2))
        };
        let cells = shipped.each_ref().map(cell);
        let line = format!("| `{key}` |{} |{} |{} |", cells[0], cells[1], cells[2]);
        assert!(guide.contains(&line), "docs/TUNING.md has no line\n{line}");
    }
    let rejected = fs::read_to_string(sysctl_directory().join("not-shipped.conf")).expect("not-shipped.conf");
    for key in rejected.lines().filter_map(|line| line.strip_prefix("not-shipped  ")) {
        assert!(guide.contains(&format!("`{key}`")), "docs/TUNING.md does not speak of {key}");
    }
}

#[test]
fn the_scripts_are_sound() {
    let directory = sysctl_directory();
    let mut scripts = vec![directory.join("ringbolt-tune")];
    for entry in fs::read_dir(directory.join("lib")).expect("lib") {
        scripts.push(entry.expect("an entry").path());
    }
    for script in &scripts {
        let syntax = Command::new("bash").arg("-n").arg(script).output().expect("bash starts");
        assert!(syntax.status.success(), "{}", String::from_utf8_lossy(&syntax.stderr));
        let text = fs::read_to_string(script).expect("a script");
        assert!(text.lines().count() <= 600, "{}", script.display());
        assert!(!text.contains("shellcheck disable"), "{} hides a warning", script.display());
    }
    match Command::new("shellcheck").args(["-x", "-a", "ringbolt-tune"]).current_dir(&directory).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout)),
        Err(_) => println!("skipped: shellcheck is not installed"),
    }
}
