//! Whether this host can run the server, asked before anything starts: each obstacle is one sentence
//! with its cure.

use crate::config::Config;
use crate::io::listener;
use ringbolt_ring::{BufferRingConfig, Ring, RingConfig};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The oldest kernel with every ring feature the server is built on (`DEFER_TASKRUN`: 6.1).
const KERNEL_MIN: (u32, u32) = (6, 1);
/// glommio locks this much for its rings (docs/decisions/0002).
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Descriptors beside connections, which are direct and need none.
const DESCRIPTORS_A_SHARD: u64 = 16;
const DESCRIPTORS_BASE: u64 = 64;
/// A killed server's listeners go when the kernel has taken its rings down, some time after its end.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(1);

/// What the check looks at; a plain value, so that tests can describe other hosts.
#[derive(Clone, Debug)]
pub struct HostFacts {
    pub kernel: String,
    /// `/proc/sys/kernel/io_uring_disabled`; absent on kernels that cannot disable it.
    pub io_uring_disabled: Option<u32>,
    /// The error number of making a ring, if it failed.
    pub ring_error: Option<i32>,
    /// Soft limit; `u64::MAX` is unlimited.
    pub memlock_bytes: u64,
    /// Hard limit, to which the server raises its soft one; `u64::MAX` is unlimited.
    pub open_files_max: u64,
    pub cores_allowed: Vec<usize>,
    /// Whether sysfs names the cores; glommio asks it when it pins a thread.
    pub has_sysfs: bool,
    pub unbindable: Vec<Unbindable>,
}

/// An address that cannot be bound: its setting, itself, the kind of the error and its text.
pub type Unbindable = (&'static str, String, io::ErrorKind, String);

impl HostFacts {
    /// Looks at this host, and tries the addresses of `config`.
    pub fn gather(config: &Config) -> HostFacts {
        let give_up_at = Instant::now() + RELEASE_TIME_MAX;
        let mut unbindable = try_addresses(config);
        let in_use = |(_, _, kind, _): &Unbindable| *kind == io::ErrorKind::AddrInUse;
        while unbindable.iter().any(in_use) && Instant::now() < give_up_at {
            std::thread::sleep(RELEASE_TIME_MAX / 50);
            unbindable = try_addresses(config);
        }
        HostFacts {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            io_uring_disabled: read("/proc/sys/kernel/io_uring_disabled").and_then(|text| text.parse().ok()),
            ring_error: probe_ring().err().map(|error| error.raw_os_error().unwrap_or(0)),
            memlock_bytes: limit("Max locked memory", Column::Soft),
            open_files_max: limit("Max open files", Column::Hard),
            cores_allowed: crate::config::allowed_cores(),
            has_sysfs: Path::new("/sys/devices/system/cpu/online").exists(),
            unbindable,
        }
    }
}

/// Every obstacle, in words.
pub fn obstacles(facts: &HostFacts, config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    if kernel_version(&facts.kernel).is_none_or(|version| version < KERNEL_MIN) {
        let (major, minor) = KERNEL_MIN;
        found.push(format!(
            "the kernel is {}, and {major}.{minor} is the oldest that works: boot a newer one",
            facts.kernel
        ));
    } else if let Some(obstacle) = ring_obstacle(facts) {
        found.push(obstacle);
    }
    if facts.memlock_bytes < MEMLOCK_BYTES_MIN {
        let (have, want) = (facts.memlock_bytes >> 10, MEMLOCK_BYTES_MIN >> 10);
        found.push(format!(
            "only {have} KiB of memory may be locked, and {want} KiB are needed: raise it with \
             `ulimit -l {want}` or LimitMEMLOCK= in the service file"
        ));
    }
    let descriptors = DESCRIPTORS_BASE + DESCRIPTORS_A_SHARD * config.cores.len() as u64;
    if facts.open_files_max < descriptors {
        found.push(format!(
            "only {} files may be open, and {descriptors} are needed: raise the hard limit with \
             `ulimit -Hn 65536` as root or LimitNOFILE= in the service file",
            facts.open_files_max
        ));
    }
    let missing: Vec<usize> =
        config.cores.iter().copied().filter(|core| !facts.cores_allowed.contains(core)).collect();
    if !missing.is_empty() {
        found.push(format!(
            "core {} does not exist or is not allowed to this process: choose among {} with --cores",
            join(&missing),
            join(&facts.cores_allowed)
        ));
    }
    if !facts.has_sysfs {
        found.push(
            "/sys/devices/system/cpu is not there, which tells the cores: mount sysfs with \
             `mount -t sysfs sysfs /sys`"
                .to_owned(),
        );
    }
    for (key, address, kind, error) in &facts.unbindable {
        let cure = match kind {
            io::ErrorKind::AddrInUse => "stop what listens there",
            io::ErrorKind::AlreadyExists => "move it away",
            io::ErrorKind::NotFound => "create it",
            io::ErrorKind::AddrNotAvailable => "give this host that address",
            io::ErrorKind::PermissionDenied => "grant CAP_NET_BIND_SERVICE, which ports below 1024 need",
            _ => "see whether the host has that kind of address",
        };
        found.push(format!(
            "{address} cannot be listened on ({error}): {cure}, or choose another with --{key}"
        ));
    }
    found
}

fn join(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn ring_obstacle(facts: &HostFacts) -> Option<String> {
    match (facts.io_uring_disabled, facts.ring_error) {
        (_, None) => None,
        (Some(2), Some(_)) => Some(
            "io_uring is disabled by sysctl kernel.io_uring_disabled=2: set it to 0 with \
             `sysctl -w kernel.io_uring_disabled=0`"
                .to_owned(),
        ),
        (Some(1), Some(libc::EPERM)) => Some(
            "io_uring is limited to a group by sysctl kernel.io_uring_disabled=1: join the group in \
             kernel.io_uring_group, or set kernel.io_uring_disabled to 0"
                .to_owned(),
        ),
        (_, Some(libc::EPERM | libc::EACCES)) => Some(
            "io_uring is forbidden here, probably by a container's seccomp profile: allow io_uring_setup, \
             io_uring_enter and io_uring_register"
                .to_owned(),
        ),
        (_, Some(libc::ENOSYS)) => {
            Some("this kernel was built without io_uring: use one with CONFIG_IO_URING=y".to_owned())
        }
        (_, Some(libc::ENOMEM)) => Some(
            "io_uring could not get memory: raise the locked-memory limit with `ulimit -l` or \
             LimitMEMLOCK="
                .to_owned(),
        ),
        (_, Some(number)) => {
            let error = io::Error::from_raw_os_error(number);
            Some(format!("io_uring does not work ({error}): see whether the kernel or a sandbox forbids it"))
        }
    }
}

/// What keeps a Unix socket from being bound at `path`. A file that is no socket is somebody's data:
/// connecting to it is refused like to a socket nobody listens on, but it must not be replaced.
fn try_addresses(config: &Config) -> Vec<Unbindable> {
    let addresses = [("native", config.native), ("nats", config.nats), ("admin", config.admin)];
    let inet = addresses.into_iter().filter_map(|(key, address)| {
        let address = address?;
        let error = listener::try_bind(address).err()?;
        Some((key, address.to_string(), error.kind(), error.to_string()))
    });
    let unix = config.native_unix.iter().filter_map(|path| {
        let (kind, error) = unix_obstacle(path)?;
        Some(("native-unix", path.display().to_string(), kind, error.to_owned()))
    });
    inet.chain(unix).collect()
}

fn unix_obstacle(path: &Path) -> Option<(io::ErrorKind, &'static str)> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => {
            Some((io::ErrorKind::AlreadyExists, "a file that is no socket stands there"))
        }
        Ok(_) if !listener::is_abandoned(path) => {
            Some((io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Err(_) if directory.is_some_and(|directory| !directory.is_dir()) => {
            Some((io::ErrorKind::NotFound, "its directory does not exist"))
        }
        _ => None,
    }
}

fn probe_ring() -> io::Result<()> {
    let buffers = BufferRingConfig { buffer_bytes: 4096, buffers: 2, huge_pages: false };
    Ring::new(RingConfig { entries: 8, completion_entries: 16, slots: 8, buffers }).map(drop)
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Where a line of `/proc/self/limits` holds what.
#[derive(Clone, Copy)]
enum Column {
    Soft = 0,
    Hard = 1,
}

/// A limit from `/proc/self/limits` (proc(5)); unlimited if it is not told.
fn limit(name: &str, column: Column) -> u64 {
    let text = read("/proc/self/limits").unwrap_or_default();
    limit_in(&text, name, column).unwrap_or(u64::MAX)
}

fn limit_in(text: &str, name: &str, column: Column) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(column as usize)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn good() -> HostFacts {
        HostFacts {
            kernel: "6.1.0-13-amd64".to_owned(),
            io_uring_disabled: Some(0),
            ring_error: None,
            memlock_bytes: 8 << 20,
            open_files_max: 1024,
            cores_allowed: vec![0, 1],
            has_sysfs: true,
            unbindable: Vec::new(),
        }
    }

    fn config(cores: &str) -> Config {
        let mut sources = Sources::defaults();
        sources.add_toml(&format!("cores = \"{cores}\""), std::path::Path::new("t")).expect("valid");
        Config::from_sources(&sources).expect("valid")
    }

    #[test]
    fn a_good_host_has_no_obstacles() {
        assert_eq!(obstacles(&good(), &config("0,1")), Vec::<String>::new());
    }

    #[test]
    fn each_obstacle_is_one_sentence_with_its_cure() {
        let unbindable = |kind: io::ErrorKind| HostFacts {
            unbindable: vec![("native", "127.0.0.1:7700".to_owned(), kind, kind.to_string())],
            ..good()
        };
        let cases: [(HostFacts, &str); 12] = [
            (HostFacts { kernel: "5.15.0".into(), ..good() }, "boot a newer one"),
            (
                HostFacts { io_uring_disabled: Some(2), ring_error: Some(libc::EPERM), ..good() },
                "kernel.io_uring_disabled=2: set it to 0",
            ),
            (
                HostFacts { io_uring_disabled: Some(1), ring_error: Some(libc::EPERM), ..good() },
                "kernel.io_uring_group",
            ),
            (HostFacts { ring_error: Some(libc::EPERM), ..good() }, "seccomp"),
            (HostFacts { ring_error: Some(libc::ENOSYS), ..good() }, "CONFIG_IO_URING"),
            (HostFacts { memlock_bytes: 64 << 10, ..good() }, "ulimit -l 512"),
            (HostFacts { has_sysfs: false, ..good() }, "mount sysfs"),
            (HostFacts { open_files_max: 32, ..good() }, "ulimit -Hn"),
            (HostFacts { cores_allowed: vec![0], ..good() }, "core 1 does not exist"),
            (
                unbindable(io::ErrorKind::AddrInUse),
                "stop what listens there, or choose another with --native",
            ),
            (unbindable(io::ErrorKind::PermissionDenied), "CAP_NET_BIND_SERVICE"),
            (unbindable(io::ErrorKind::AddrNotAvailable), "give this host that address"),
        ];
        for (facts, cure) in cases {
            let found = obstacles(&facts, &config("0,1"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(cure), "{found:?}");
        }
    }

    #[test]
    fn several_obstacles_are_all_named() {
        let facts = HostFacts { memlock_bytes: 0, open_files_max: 3, cores_allowed: vec![7], ..good() };
        assert_eq!(obstacles(&facts, &config("0,1")).len(), 3);
    }

    #[test]
    fn limits_and_kernels_are_read_as_the_kernel_writes_them() {
        let limits = "Max open files            1024                 524288               files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(limit_in(limits, "Max open files", Column::Soft), Some(1024));
        assert_eq!(limit_in(limits, "Max open files", Column::Hard), Some(524_288));
        assert_eq!(limit_in(limits, "Max locked memory", Column::Soft), None);
        for (release, version) in
            [("6.18.44-fc", Some((6, 18))), ("6.1", Some((6, 1))), ("6", None), ("", None), ("x.y", None)]
        {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn a_unix_socket_replaces_nothing_but_an_abandoned_socket() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| unix_obstacle(&directory.path().join(name)).map(|(kind, _)| kind);
        assert_eq!(at("new"), None);
        assert_eq!(at("missing/new"), Some(io::ErrorKind::NotFound));
        std::fs::write(directory.path().join("data"), "precious").expect("writes");
        assert_eq!(at("data"), Some(io::ErrorKind::AlreadyExists));
        let listener =
            std::os::unix::net::UnixListener::bind(directory.path().join("socket")).expect("binds");
        assert_eq!(at("socket"), Some(io::ErrorKind::AddrInUse));
        drop(listener);
        assert_eq!(at("socket"), None, "abandoned");
    }
}
