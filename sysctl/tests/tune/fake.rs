//! A host in a temporary directory, and the ways the tests run `ringbolt-tune` and read what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A file every user can read and nobody, root included, can write: the number 65536.
pub const READ_ONLY_NUMBER: &str = "/proc/sys/kernel/ngroups_max";
/// A file that root may open for writing and whose write answers EIO, as managed interrupts do.
pub const WRITE_ANSWERS_EIO: &str = "/proc/version";

pub fn sysctl_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// What a run of `ringbolt-tune` said and how it ended.
pub struct Answer {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

impl Answer {
    pub fn of(output: &Output) -> Answer {
        Answer {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code, showing everything that was said when it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Answer {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.text, self.errors);
        self
    }

    /// The line of the text that names `name`.
    #[track_caller]
    pub fn line(&self, name: &str) -> &str {
        let found = self.text.lines().find(|line| line.split_whitespace().any(|word| word == name));
        found.unwrap_or_else(|| panic!("no line names {name}:\n{}", self.text))
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}:\n{}", self.text))
    }
}

pub fn tune() -> Command {
    Command::new(sysctl_directory().join("ringbolt-tune"))
}

/// A host of the test's own making.
pub struct FakeHost {
    directory: TempDir,
}

impl FakeHost {
    /// A host that has nothing at all.
    pub fn empty() -> FakeHost {
        FakeHost { directory: TempDir::new().expect("a temporary directory") }
    }

    /// A plain host: the sysctl keys every kernel has, at their defaults.
    pub fn plain() -> FakeHost {
        let host = FakeHost::empty();
        for (key, value) in [
            ("net/core/somaxconn", "4096"),
            ("net/core/rmem_max", "212992"),
            ("net/core/wmem_max", "212992"),
            ("net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
            ("net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
            ("net/ipv4/tcp_max_syn_backlog", "512"),
            ("net/ipv4/tcp_notsent_lowat", "4294967295"),
            ("net/ipv4/tcp_slow_start_after_idle", "1"),
            ("vm/swappiness", "60"),
            ("vm/stat_interval", "1"),
            ("kernel/numa_balancing", "1"),
            ("kernel/nmi_watchdog", "1"),
            ("kernel/timer_migration", "1"),
            ("kernel/random/boot_id", "11111111-1111-1111-1111-111111111111"),
        ] {
            host.put(&format!("proc/sys/{key}"), value);
        }
        host.put("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
        host.put("sys/devices/system/cpu/online", "0-3");
        host
    }

    /// Adds the frequency and idle controls of a bare-metal host with `cpus` CPUs.
    pub fn with_processor(self, cpus: usize) -> FakeHost {
        self.put("sys/devices/system/cpu/online", &format!("0-{}", cpus - 1));
        for cpu in 0..cpus {
            let directory = format!("sys/devices/system/cpu/cpu{cpu}");
            self.put(&format!("{directory}/cpufreq/scaling_governor"), "powersave");
            self.put(&format!("{directory}/cpufreq/scaling_available_governors"), "performance powersave");
            let preference = format!("{directory}/cpufreq/energy_performance_");
            self.put(&format!("{preference}preference"), "balance_performance");
            self.put(
                &format!("{preference}available_preferences"),
                "default performance balance_performance",
            );
            self.put(&format!("{directory}/power/pm_qos_resume_latency_us"), "0");
        }
        self.put("sys/devices/system/cpu/intel_pstate/no_turbo", "0");
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file, making its directories.
    pub fn put(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("directories are made");
        let _ = fs::remove_file(&path);
        fs::write(path, format!("{content}\n")).expect("the file is written");
    }

    /// Puts a link to a file of the real host in place of a file.
    pub fn link(&self, path: &str, target: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("directories are made");
        let _ = fs::remove_file(&path);
        symlink(target, path).expect("the link is made");
    }

    #[track_caller]
    pub fn value(&self, path: &str) -> String {
        let text =
            fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path().join(path).exists()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tune();
        command.arg("--root").arg(self.path()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&self.command(arguments).output().expect("ringbolt-tune starts"))
    }

    /// Runs it so that it kills itself after the given number of writes.
    pub fn run_and_crash(&self, writes: usize, arguments: &[&str]) -> Answer {
        let mut command = self.command(arguments);
        command.env("RINGBOLT_TUNE_CRASH_AFTER", writes.to_string());
        Answer::of(&command.output().expect("ringbolt-tune starts"))
    }

    /// Every file below `proc` and `sys` with its value, to compare before with after.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut open = vec![self.path().join("proc"), self.path().join("sys")];
        let mut files = BTreeMap::new();
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().expect("a type").is_dir() {
                    open.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    let below = path.strip_prefix(self.path()).expect("a path of this host");
                    files.insert(below.to_owned(), chosen(&text));
                }
            }
        }
        files
    }

    /// Asserts that every value is as in `before`, showing only those that are not.
    #[track_caller]
    pub fn is_as(&self, before: &BTreeMap<PathBuf, String>) {
        let now = self.snapshot();
        let paths: BTreeSet<_> = now.keys().chain(before.keys()).collect();
        let differ = paths.into_iter().filter(|&path| now.get(path) != before.get(path));
        let differ: Vec<_> = differ.map(|path| (path, before.get(path), now.get(path))).collect();
        assert!(differ.is_empty(), "path, before, now: {differ:#?}");
    }

    /// Writes a profile of one row and returns its path.
    pub fn profile(&self, row: &str) -> String {
        let path = self.path().join("own.conf");
        let text = format!("#: why     a test\n#: risk    none\n#: source  this test\n{row}\n");
        fs::write(&path, text).expect("the profile is written");
        path.to_string_lossy().into_owned()
    }
}

/// The value in a file: of `always [madvise] never` the chosen word. A fake file then holds only that word.
fn chosen(text: &str) -> String {
    let bracketed = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    bracketed.map_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "), str::to_owned)
}
