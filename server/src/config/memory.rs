//! How much memory there is to take, if nothing is said: what the cgroup allows, or what the machine has.

use std::path::{Path, PathBuf};

/// Three quarters of the cgroup's limit, as the rest is for what is not counted here: the kernel's part of
/// sockets, receive buffers, the program. Half of the machine's memory where no limit is set.
pub(super) fn default_bytes() -> usize {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| limit(&read(&path)?));
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text)).unwrap_or(1 << 30);
    share(limits.min(), machine)
}

fn share(limit: Option<usize>, machine: usize) -> usize {
    match limit.filter(|&limit| limit < machine) {
        Some(limit) => limit / 4 * 3,
        None => machine / 2,
    }
}

/// Where the limits of a process's cgroup and of those above it stand, by what `/proc/self/cgroup` says
/// (cgroups(7)): `0::/path` of version 2, `4:memory:/path` of version 1.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (root, name) = match fields.next() {
            Some("") => ("/sys/fs/cgroup", "memory.max"),
            Some(controllers) if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(root).join(fields.next().unwrap_or_default().trim_start_matches('/'));
        // In a container the path may be another's view: the root is its own group then.
        let above = own.ancestors().take_while(|folder| folder.starts_with(root));
        files.extend(above.map(|folder| folder.join(name)));
    }
    files
}

/// `max`, or what is as good as none, is no limit.
fn limit(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_all_groups_above_are_looked_at() {
        let text =
            |groups| limit_files(groups).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            text("0::/system.slice/ringbolt.service\n"),
            [
                "/sys/fs/cgroup/system.slice/ringbolt.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            text("4:cpu,memory:/a\n3:cpuset:/b\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert_eq!(text("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert!(text("nonsense\n\n").is_empty());
    }

    #[test]
    fn a_limit_leaves_a_quarter_and_a_machine_half() {
        assert_eq!((limit("max\n"), limit("419430400\n")), (None, Some(400 << 20)));
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(total("MemTotal: many kB"), None);
        assert_eq!(share(Some(400 << 20), 8 << 30), 300 << 20);
        // Version 1 says 2^63 less a page where there is none.
        assert_eq!(share(Some(9_223_372_036_854_771_712), 8 << 30), 4 << 30);
        assert_eq!(share(None, 8 << 30), 4 << 30);
        assert!(default_bytes() > 1 << 20);
    }
}
