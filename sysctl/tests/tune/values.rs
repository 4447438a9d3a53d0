//! What is written, what is left alone, and what is said about it.

use crate::fake::{FakeHost, READ_ONLY_NUMBER};

#[test]
fn plan_shows_before_and_after_and_changes_nothing() {
    let host = FakeHost::plain().with_processor(4);
    let before = host.snapshot();
    let plan = host.run(&["plan", "latency"]).expect(0);
    assert!(plan.line("vm.swappiness").contains("60 → 1"));
    assert!(plan.line("cpu/cpu3/cpufreq/scaling_governor").contains("powersave → performance"));
    assert!(plan.line("kernel/mm/transparent_hugepage/enabled").contains("always → madvise"));
    host.is_as(&before);
    assert!(!host.exists("var"), "plan leaves no trace");
}

#[test]
fn apply_does_what_plan_showed() {
    let host = FakeHost::plain().with_processor(4);
    let plan = host.run(&["plan", "latency", "--json"]).expect(0).json();
    host.run(&["apply", "latency"]).expect(0);
    for item in plan["items"].as_array().expect("items") {
        let locator = item["locator"].as_str().expect("a locator").trim_start_matches('/');
        match item["status"].as_str() {
            Some("change" | "same") => assert_eq!(host.value(locator), item["after"], "{locator}"),
            other => assert!(matches!(other, Some("skip" | "opt-in")), "{locator}: {other:?}"),
        }
    }
}

#[test]
fn a_host_that_has_nothing_is_left_alone_and_told_so() {
    let host = FakeHost::empty();
    let answer = host.run(&["apply", "latency"]).expect(0);
    assert!(answer.text.contains("0 written, 0 were as wanted, 0 refused"));
    assert!(answer.line("vm.swappiness").contains("not on this host"));
    assert!(!host.exists("proc"), "nothing is created");
    host.run(&["verify", "latency"]).expect(0);
    assert!(host.run(&["revert"]).expect(0).text.contains("Nothing to revert"));
}

#[test]
fn caps_are_only_ever_raised() {
    let host = FakeHost::plain();
    host.put("proc/sys/net/core/rmem_max", "268435456");
    host.put("proc/sys/net/core/wmem_max", "18446744073709551615");
    host.put("proc/sys/net/ipv4/tcp_wmem", "8192\t16384\t4194304");
    host.run(&["apply", "throughput"]).expect(0);
    assert_eq!(host.value("proc/sys/net/core/rmem_max"), "268435456");
    assert_eq!(host.value("proc/sys/net/core/wmem_max"), "18446744073709551615");
    assert_eq!(host.value("proc/sys/net/ipv4/tcp_wmem"), "8192 16384 16777216");
    host.run(&["verify", "throughput"]).expect(0);
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value("proc/sys/net/ipv4/tcp_wmem"), "8192 16384 4194304");
}

#[test]
fn governor_preference_idle_limit_are_set_and_turbo_only_when_asked() {
    let host = FakeHost::plain().with_processor(12);
    let before = host.snapshot();
    host.run(&["apply", "latency"]).expect(0);
    for cpu in 0..12 {
        let directory = format!("sys/devices/system/cpu/cpu{cpu}");
        assert_eq!(host.value(&format!("{directory}/cpufreq/scaling_governor")), "performance");
        assert_eq!(host.value(&format!("{directory}/cpufreq/energy_performance_preference")), "performance");
        assert_eq!(host.value(&format!("{directory}/power/pm_qos_resume_latency_us")), "3");
    }
    assert_eq!(host.value("sys/devices/system/cpu/intel_pstate/no_turbo"), "0");
    host.run(&["apply", "latency", "--with", "no_turbo"]).expect(0);
    assert_eq!(host.value("sys/devices/system/cpu/intel_pstate/no_turbo"), "1");
    host.run(&["revert"]).expect(0);
    host.is_as(&before);
}

#[test]
fn a_governor_the_host_does_not_offer_is_skipped() {
    let host = FakeHost::plain().with_processor(1);
    host.put("sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors", "powersave schedutil");
    let answer = host.run(&["apply", "latency"]).expect(0);
    let line = answer.line("cpu/cpu0/cpufreq/scaling_governor");
    assert!(line.contains("this host offers only: powersave schedutil"), "{line}");
    assert_eq!(host.value("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "powersave");
}

fn huge_pages(node: usize) -> String {
    format!("sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages")
}

#[test]
fn huge_pages_are_asked_for_on_every_numa_node() {
    let host = FakeHost::plain();
    host.put(&huge_pages(0), "0");
    host.put(&huge_pages(1), "512");
    host.run(&["apply", "latency", "--with", "hugepages=128"]).expect(0);
    assert_eq!(host.value(&huge_pages(0)), "128");
    assert_eq!(host.value(&huge_pages(1)), "512", "what is there already stays");
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value(&huge_pages(0)), "0");
}

#[test]
fn huge_pages_that_could_not_be_had_are_counted() {
    let host = FakeHost::plain();
    host.put(&huge_pages(0), "0");
    host.link(&huge_pages(1), READ_ONLY_NUMBER);
    let answer = host.run(&["apply", "latency", "--with", "hugepages=100000"]).expect(1);
    let line = answer.line("node/node1/hugepages/hugepages-2048kB/nr_hugepages");
    assert!(line.contains("only 65536 pages could be had"), "{line}");
    host.run(&["verify", "latency"]).expect(1);
}

#[test]
fn a_refused_write_is_named_and_the_others_are_done() {
    let host = FakeHost::plain();
    host.link("proc/sys/vm/stat_interval", READ_ONLY_NUMBER);
    let answer = host.run(&["apply", "latency"]).expect(1);
    let line = answer.line("vm.stat_interval");
    assert!(line.contains("refused") && line.contains("Permission denied"), "{line}");
    assert_eq!(host.value("proc/sys/vm/swappiness"), "1");
    assert_eq!(host.value("proc/sys/kernel/timer_migration"), "0");
    let verify = host.run(&["verify", "latency"]).expect(1);
    assert!(verify.line("vm.stat_interval").contains("the kernel refused it at apply"));
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value("proc/sys/vm/swappiness"), "60");
}

#[test]
fn a_write_the_kernel_takes_without_effect_is_noticed() {
    let host = FakeHost::plain();
    // The name of a process takes 15 characters and drops the rest without a word.
    host.link("proc/sys/kernel/taken", "/proc/self/comm");
    let profile = host.profile("sysctl:kernel.taken set a-name-that-is-too-long");
    let answer = host.run(&["apply", &profile]).expect(1);
    let line = answer.line("kernel.taken");
    assert!(line.contains("took the write without an error, but reads a-name-that-is-"), "{line}");
}

#[test]
fn a_value_apart_only_in_spaces_or_mask_zeros_is_the_same() {
    let host = FakeHost::plain();
    host.put("sys/devices/virtual/workqueue/cpumask", "00000000,0000000c");
    host.put("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t4194304");
    let plan = host.run(&["plan", "latency", "--cores", "0-1"]).expect(0);
    assert!(plan.line("devices/virtual/workqueue/cpumask").trim_start().starts_with("same"));
    assert!(plan.line("net.ipv4.tcp_rmem").trim_start().starts_with("same"));
}

#[test]
fn show_prints_what_is_and_what_was() {
    let host = FakeHost::plain();
    assert!(host.run(&["show"]).expect(0).line("vm.swappiness").ends_with("60"));
    host.run(&["apply", "latency"]).expect(0);
    let show = host.run(&["show"]).expect(0);
    assert!(show.line("vm.swappiness").ends_with("1 (was 60)"));
    assert!(show.text.contains("Applied: latency;"));
    let json = host.run(&["show", "--json"]).expect(0).json();
    assert_eq!(json["applied"], "latency");
    assert_eq!(json["finished"], true);
    let items = json["items"].as_array().expect("items");
    let item = items.iter().find(|item| item["name"] == "vm.swappiness").expect("swappiness");
    assert_eq!((item["now"].as_str(), item["original"].as_str()), (Some("1"), Some("60")));
}
