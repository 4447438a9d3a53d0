//! The way back: originals are kept, whatever was killed, changed or refused in between.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::fake::{FakeHost, READ_ONLY_NUMBER};

const JOURNAL: &str = "var/lib/ringbolt-tune/journal";

#[test]
fn revert_after_apply_leaves_every_value_as_it_was() {
    for profile in ["latency", "throughput", "development"] {
        let host = FakeHost::plain().with_processor(4);
        let before = host.snapshot();
        host.run(&["apply", profile]).expect(0);
        assert_ne!(host.snapshot(), before);
        host.run(&["verify", profile]).expect(0);
        host.run(&["revert"]).expect(0);
        host.is_as(&before);
        assert!(!host.exists(JOURNAL));
        assert!(host.run(&["revert"]).expect(0).text.contains("Nothing to revert"));
    }
}

#[test]
fn a_second_apply_keeps_the_first_old_values() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    host.run(&["apply", "latency"]).expect(0);
    let again = host.run(&["apply", "latency"]).expect(0);
    assert!(again.text.contains("latency: 0 written"));
    host.put("proc/sys/vm/swappiness", "30");
    assert!(host.run(&["apply", "latency"]).expect(0).line("vm.swappiness").contains("30 → 1"));
    host.run(&["revert"]).expect(0);
    host.is_as(&before);
}

#[test]
fn killed_after_any_write_of_apply_the_way_back_is_known() {
    let mut writes = 1;
    loop {
        let host = FakeHost::plain().with_processor(2);
        let before = host.snapshot();
        if host.run_and_crash(writes, &["apply", "latency"]).code.is_some() {
            break;
        }
        assert!(host.run(&["show"]).expect(0).text.contains("did not come to its end"));
        host.run(&["revert"]).expect(0);
        host.is_as(&before);
        writes += 1;
    }
    assert!(writes > 15, "the profile writes more than {writes} values here");
}

#[test]
fn killed_after_any_write_of_revert_it_goes_on() {
    let mut writes = 1;
    loop {
        let host = FakeHost::plain().with_processor(2);
        let before = host.snapshot();
        host.run(&["apply", "latency"]).expect(0);
        if host.run_and_crash(writes, &["revert"]).code.is_some() {
            break;
        }
        let answer = host.run(&["revert"]).expect(0);
        assert!(!answer.text.contains("drift"), "{}", answer.text);
        host.is_as(&before);
        writes += 1;
    }
    assert!(writes > 15);
}

#[test]
fn apply_after_a_killed_apply_or_revert_keeps_the_first_old_values() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    host.run_and_crash(3, &["apply", "latency"]);
    host.run_and_crash(5, &["apply", "throughput"]);
    host.run(&["apply", "latency"]).expect(0);
    host.run_and_crash(4, &["revert"]);
    host.run(&["apply", "throughput"]).expect(0);
    host.run(&["verify", "throughput"]).expect(0);
    host.run(&["revert"]).expect(0);
    host.is_as(&before);
}

#[test]
fn another_profile_is_applied_as_if_the_first_had_been_reverted() {
    let direct = FakeHost::plain().with_processor(2);
    direct.run(&["apply", "throughput"]).expect(0);
    let layered = FakeHost::plain().with_processor(2);
    let before = layered.snapshot();
    layered.run(&["apply", "latency"]).expect(0);
    let plan = layered.run(&["plan", "throughput"]).expect(0);
    assert!(plan.line("vm.stat_interval").contains("back to 1"));
    layered.run(&["apply", "throughput"]).expect(0);
    layered.is_as(&direct.snapshot());
    layered.run(&["revert"]).expect(0);
    layered.is_as(&before);
}

#[test]
fn old_values_are_on_disk_before_the_first_write() {
    let host = FakeHost::plain();
    host.run_and_crash(1, &["apply", "latency"]);
    let journal = fs::read_to_string(host.path().join(JOURNAL)).expect("a journal");
    for (path, original) in [("vm/swappiness", "60"), ("kernel/timer_migration", "1")] {
        let line = journal.lines().find(|line| line.contains(&format!("\t/proc/sys/{path}\t")));
        assert_eq!(line.and_then(|line| line.split('\t').nth(4)), Some(original), "{journal}");
    }
    host.run(&["revert"]).expect(0);
}

#[test]
fn without_a_place_for_the_old_values_nothing_is_written() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    // A directory where the journal's next version should be written.
    fs::create_dir_all(host.path().join("var/lib/ringbolt-tune/journal.next")).expect("a directory");
    let answer = host.run(&["apply", "latency"]).expect(78);
    assert!(answer.errors.contains("cannot save the old values"));
    host.is_as(&before);
}

#[test]
fn drift_is_named_and_restored() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    host.run(&["apply", "latency"]).expect(0);
    host.put("proc/sys/vm/swappiness", "33");
    let verify = host.run(&["verify", "latency"]).expect(1);
    assert!(verify.line("vm.swappiness").contains("changed by someone else since apply, which left 1"));
    let revert = host.run(&["revert"]).expect(0);
    assert!(revert.line("vm.swappiness").contains("changed by someone else since apply to 33"));
    host.is_as(&before);
}

#[test]
fn drift_is_left_when_asked() {
    let host = FakeHost::plain();
    host.run(&["apply", "latency"]).expect(0);
    host.put("proc/sys/vm/swappiness", "33");
    let revert = host.run(&["revert", "--keep-drift"]).expect(0);
    assert!(revert.line("vm.swappiness").contains("left at 33"));
    assert_eq!(host.value("proc/sys/vm/swappiness"), "33");
    assert_eq!(host.value("proc/sys/vm/stat_interval"), "1");
    assert!(!host.exists(JOURNAL));
}

#[test]
fn what_cannot_be_restored_is_named_and_stays_in_the_journal() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    host.run(&["apply", "latency"]).expect(0);
    host.link("proc/sys/vm/swappiness", READ_ONLY_NUMBER);
    let revert = host.run(&["revert"]).expect(1);
    let line = revert.line("vm.swappiness");
    assert!(revert.text.contains("1 not restored"), "{}", revert.text);
    assert!(line.contains("changed by someone else") || line.contains("stays in the journal"), "{line}");
    assert_eq!(host.value("proc/sys/vm/stat_interval"), "1", "the others went back");
    host.put("proc/sys/vm/swappiness", "1");
    host.run(&["revert"]).expect(0);
    host.is_as(&before);
}

#[test]
fn what_has_left_the_host_needs_no_restoring() {
    let host = FakeHost::plain().with_processor(2);
    host.run(&["apply", "latency"]).expect(0);
    fs::remove_dir_all(host.path().join("sys/devices/system/cpu/cpu1")).expect("the CPU is pulled");
    let revert = host.run(&["revert"]).expect(0);
    let line = revert.line("cpu/cpu1/power/pm_qos_resume_latency_us");
    assert!(line.contains("no longer on this host"), "{line}");
    assert!(!host.exists(JOURNAL));
}

#[test]
fn a_journal_of_an_earlier_boot_restores_nothing() {
    let host = FakeHost::plain();
    host.run(&["apply", "latency"]).expect(0);
    host.put("proc/sys/kernel/random/boot_id", "22222222-2222-2222-2222-222222222222");
    host.put("proc/sys/vm/swappiness", "55");
    let revert = host.run(&["revert"]).expect(0);
    assert!(revert.text.contains("earlier boot"));
    assert_eq!(host.value("proc/sys/vm/swappiness"), "55");
    host.run(&["apply", "latency"]).expect(0);
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value("proc/sys/vm/swappiness"), "55");
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_kept() {
    let host = FakeHost::plain();
    host.put(JOURNAL, "something else");
    let before = host.snapshot();
    for arguments in [&["apply", "latency"][..], &["revert"]] {
        assert!(host.run(arguments).expect(78).errors.contains("no journal of this version"));
    }
    host.is_as(&before);
    assert_eq!(host.value(JOURNAL), "something else");
}

#[test]
fn only_one_works_at_a_time() {
    let host = FakeHost::plain();
    host.run(&["apply", "latency"]).expect(0);
    let lock = host.path().join("var/lib/ringbolt-tune/lock");
    let mut holder = Command::new("flock")
        .arg(lock)
        .args(["sh", "-c", "echo held; read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock starts");
    let mut said = [0; 5];
    holder.stdout.as_mut().expect("its output").read_exact(&mut said).expect("it holds the lock");
    for arguments in [&["apply", "throughput"][..], &["revert"]] {
        let mut command = host.command(arguments);
        command.env("RINGBOLT_TUNE_LOCK_SECONDS", "0");
        let output = command.output().expect("ringbolt-tune starts");
        assert_eq!(output.status.code(), Some(75));
    }
    host.run(&["verify", "latency"]).expect(0);
    drop(holder.stdin.take());
    holder.wait().expect("flock ends");
    host.run(&["revert"]).expect(0);
}
