//! CPU time, memory and activity, read from /proc.

use std::io;

/// Clock ticks a second in /proc/PID/stat: USER_HZ is 100 on every Linux that runs io_uring.
const TICKS_A_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

/// Interrupts and context switches of the whole machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Activity {
    pub interrupts: u64,
    pub context_switches: u64,
}

impl ProcessUsage {
    pub fn read(pid: u32) -> io::Result<ProcessUsage> {
        let usage = parse(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown /proc/PID/stat"))?;
        let precise = on_cpu_nanos(pid).map(|nanos| nanos as f64 / 1e9);
        Ok(ProcessUsage { cpu_seconds: precise.unwrap_or(usage.cpu_seconds), ..usage })
    }
}

/// Time its threads spent on a CPU, to the nanosecond, where the kernel keeps it (CONFIG_SCHED_INFO).
/// Threads that ended are not in it; the servers measured here keep theirs.
fn on_cpu_nanos(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = tasks.map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanos.sum::<Option<u64>>().filter(|&nanos| nanos > 0)
}

fn parse(stat: &str) -> Option<ProcessUsage> {
    // The name in parentheses may contain anything: fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let (user, system, pages) = (number(11)?, number(12)?, number(21)?);
    let cpu_seconds = (user + system) as f64 / TICKS_A_SECOND;
    Some(ProcessUsage { cpu_seconds, resident_bytes: pages * PAGE_BYTES })
}

impl Activity {
    /// Since boot.
    pub fn now() -> Activity {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Activity { interrupts: first("intr "), context_switches: first("ctxt ") }
    }

    pub fn since(&self, before: &Activity) -> Activity {
        Activity {
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            context_switches: self.context_switches.saturating_sub(before.context_switches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_blanks_and_parentheses_is_passed_over() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 100 1000 25 1 1";
        let usage = parse(stat).expect("a stat line");
        assert!((usage.cpu_seconds - 2.0).abs() < 1e-9);
        assert_eq!(usage.resident_bytes, 25 * 4096);
    }

    #[test]
    fn the_own_process_can_be_read() {
        let usage = ProcessUsage::read(std::process::id()).expect("own stat");
        assert!(usage.resident_bytes > 0);
    }
}
