//! The host a run was made on, and what its processes use.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Facts about a host, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub facts: BTreeMap<String, String>,
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

/// Interrupts and context switches of the whole machine since boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Activity {
    pub interrupts: u64,
    pub context_switches: u64,
}

impl Fingerprint {
    pub fn gather() -> Fingerprint {
        Fingerprint::default()
    }
}

impl ProcessUsage {
    /// From `/proc/PID/stat` (proc(5)): utime and stime in clock ticks of a hundredth of a second.
    pub fn read(pid: u32) -> io::Result<ProcessUsage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "an unknown /proc/PID/stat");
        // The name in parentheses may contain anything: count fields behind it.
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or_else(invalid)?.1.split_whitespace().collect();
        let number =
            |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).ok_or_else(invalid);
        let (user, system, pages) = (number(11)?, number(12)?, number(21)?);
        Ok(ProcessUsage { cpu_seconds: (user + system) as f64 / 100.0, resident_bytes: pages * 4096 })
    }
}

impl Activity {
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
