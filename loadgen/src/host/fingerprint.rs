//! What of a host explains a latency: kernel, processor, power, memory, network settings, limits.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Facts by name, in the words of the files they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub facts: BTreeMap<String, String>,
}

/// Settings that move latency or throughput.
const SYSCTLS: &[&str] = &[
    "kernel.io_uring_disabled",
    "kernel.nmi_watchdog",
    "kernel.numa_balancing",
    "kernel.sched_autogroup_enabled",
    "kernel.sched_rt_runtime_us",
    "kernel.timer_migration",
    "kernel.watchdog",
    "net.core.busy_poll",
    "net.core.busy_read",
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.rps_sock_flow_entries",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_autocorking",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_low_latency",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_wmem",
    "vm.compaction_proactiveness",
    "vm.max_map_count",
    "vm.nr_hugepages",
    "vm.stat_interval",
    "vm.swappiness",
    "vm.zone_reclaim_mode",
];

/// Boot parameters that move latency, by the beginning of their name; the others are the host's affair.
const BOOT_PARAMETERS: &[&str] = &[
    "clocksource",
    "cpuidle",
    "default_hugepagesz",
    "hugepages",
    "idle",
    "intel_idle",
    "intel_pstate",
    "iommu",
    "irqaffinity",
    "isolcpus",
    "maxcpus",
    "mitigations",
    "nmi_watchdog",
    "nohz",
    "nosmt",
    "nosoftlockup",
    "preempt",
    "processor.",
    "rcu",
    "skew_tick",
    "threadirqs",
    "transparent_hugepage",
    "tsc",
];

/// Files whose whole text is a fact.
const FILES: &[(&str, &str)] = &[
    ("kernel.release", "/proc/sys/kernel/osrelease"),
    ("kernel.version", "/proc/sys/kernel/version"),
    ("cpu.online", "/sys/devices/system/cpu/online"),
    ("cpu.isolated", "/sys/devices/system/cpu/isolated"),
    ("cpu.nohz_full", "/sys/devices/system/cpu/nohz_full"),
    ("cpu.smt", "/sys/devices/system/cpu/smt/control"),
    ("cpu.governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("cpu.energy_preference", "/sys/devices/system/cpu/cpu0/cpufreq/energy_performance_preference"),
    ("cpu.no_turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo"),
    ("cpu.boost", "/sys/devices/system/cpu/cpufreq/boost"),
    ("cpu.idle_driver", "/sys/devices/system/cpu/cpuidle/current_driver"),
    ("cpu.clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("memory.nodes", "/sys/devices/system/node/online"),
    ("memory.transparent_huge_pages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("hypervisor", "/sys/hypervisor/type"),
];

impl Fingerprint {
    /// Reads everything this host has; what it has not is left out.
    pub fn gather() -> Fingerprint {
        let mut facts = BTreeMap::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                facts.insert(name.to_owned(), value);
            }
        };
        for (name, path) in FILES {
            add(name, read(path));
        }
        add("kernel.boot_parameters", read("/proc/cmdline").map(|line| boot_parameters(&line)));
        for name in SYSCTLS {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            add(&format!("sysctl.{name}"), read(&path));
        }
        let cpu = read("/proc/cpuinfo").unwrap_or_default();
        add("cpu.model", field(&cpu, "model name"));
        add("cpu.microcode", field(&cpu, "microcode"));
        add(
            "cpu.hypervisor_flag",
            Some(field(&cpu, "flags").is_some_and(|flags| flags.contains(" hypervisor")).to_string()),
        );
        let memory = read("/proc/meminfo").unwrap_or_default();
        add("memory.total", field(&memory, "MemTotal"));
        add("memory.huge_pages_free", field(&memory, "HugePages_Free"));
        let limits = read("/proc/self/limits").unwrap_or_default();
        for (name, line) in
            [("limits.open_files", "Max open files"), ("limits.locked_memory", "Max locked memory")]
        {
            let values = limits.lines().find_map(|text| text.strip_prefix(line));
            add(name, values.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        add("cpu.mitigations", Some(mitigations()));
        add("interrupts.by_cpu", Some(interrupts_by_cpu()));
        add("cpu.idle_states", Some(idle_states()));
        add("tuning.journal", Some(tuning()));
        add("version.ringbolt-loadgen", Some(env!("CARGO_PKG_VERSION").to_owned()));
        Fingerprint { facts }
    }

    /// What differs: name, here, there. Counts that always move are left out.
    pub fn differences(&self, other: &Fingerprint) -> Vec<(String, String, String)> {
        let names =
            self.facts.keys().chain(other.facts.keys().filter(|name| !self.facts.contains_key(*name)));
        let value =
            |facts: &BTreeMap<String, String>, name: &str| facts.get(name).cloned().unwrap_or_default();
        names
            .filter(|name| *name != "interrupts.by_cpu")
            .map(|name| (name.clone(), value(&self.facts, name), value(&other.facts, name)))
            .filter(|(_, here, there)| here != there)
            .collect()
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().replace('\t', " "))
}

fn boot_parameters(line: &str) -> String {
    let known = |word: &&str| BOOT_PARAMETERS.iter().any(|start| word.starts_with(start));
    line.split_whitespace().take_while(|word| *word != "--").filter(known).collect::<Vec<_>>().join(" ")
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Vulnerabilities that cost a mitigation.
fn mitigations() -> String {
    let folder = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let mut found: Vec<String> = folder
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            let mitigated = text.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {mitigated}", entry.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    found.join("; ")
}

/// Interrupts each processor has served since boot.
fn interrupts_by_cpu() -> String {
    let text = std::fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let cpus = text.lines().next().map_or(0, |head| head.split_whitespace().count());
    let mut sums = vec![0u64; cpus];
    for line in text.lines().skip(1) {
        let counts = line.split_whitespace().skip(1);
        for (sum, count) in sums.iter_mut().zip(counts.map_while(|text| text.parse::<u64>().ok())) {
            *sum += count;
        }
    }
    sums.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn idle_states() -> String {
    let state =
        |number: u32, file: &str| read(&format!("/sys/devices/system/cpu/cpu0/cpuidle/state{number}/{file}"));
    (0..12)
        .map_while(|number| {
            let name = state(number, "name")?;
            let off = state(number, "disable").is_some_and(|text| text == "1");
            Some(if off { format!("{name} (off)") } else { name })
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether ringbolt-tune has applied something and not reverted it.
fn tuning() -> String {
    let folder = std::path::Path::new("/var/lib/ringbolt-tune");
    let journal = std::fs::read_dir(folder).into_iter().flatten().flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).ok()?;
        (name.contains("journal") && !text.is_empty()).then_some(text)
    });
    match journal {
        Some(text) => format!("present, {} lines", text.lines().count()),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_boot_parameters_those_that_move_latency_are_kept() {
        let line = "root=/dev/sda1 isolcpus=2-3 quiet nohz_full=2-3 secret=1 -- idle=init's";
        assert_eq!(boot_parameters(line), "isolcpus=2-3 nohz_full=2-3");
    }

    #[test]
    fn this_host_has_a_kernel_and_differs_from_a_changed_one_by_name() {
        let here = Fingerprint::gather();
        assert!(here.facts.contains_key("kernel.release") && here.facts.contains_key("cpu.online"));
        let mut there = here.clone();
        there.facts.insert("sysctl.vm.swappiness".into(), "changed".into());
        let differences = here.differences(&there);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].0, "sysctl.vm.swappiness");
    }
}
