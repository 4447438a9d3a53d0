//! The real `/proc` and `/sys` of this host. Every test here takes its turn, and reverts however it ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::fake::{Answer, is_root, tune};

static TURN: Mutex<()> = Mutex::new(());

/// This host, ours alone until dropped, with a journal of our own.
struct Host {
    state: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Host {
    /// None, and a word about it, where the tests may not change the host.
    fn take() -> Option<Host> {
        if !is_root() {
            println!("skipped: changing this host's settings needs root");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Host { state: TempDir::new().expect("a temporary directory"), _turn: turn })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tune();
        command.arg("--state").arg(self.state.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&self.command(arguments).output().expect("ringbolt-tune starts"))
    }

    /// Applies; a host in a container may refuse some values (exit code 1), which is not what is tested here.
    #[track_caller]
    fn apply(&self, profile: &str) -> Answer {
        let answer = self.run(&["apply", profile]);
        assert!(matches!(answer.code, Some(0 | 1)), "{}{}", answer.text, answer.errors);
        answer
    }

    fn journal(&self) -> PathBuf {
        self.state.path().join("journal")
    }

    fn profile(&self, row: &str) -> String {
        let path = self.state.path().join("own.conf");
        let text = format!("#: why     a test\n#: risk    none\n#: source  this test\n{row}\n");
        fs::write(&path, text).expect("the profile is written");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.command(&["revert", "--all"]).output();
    }
}

/// Every value the profiles can touch here, read by this test itself.
fn values() -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for profile in ["latency", "throughput", "development"] {
        let plan =
            Answer::of(&tune().args(["plan", profile, "--json"]).output().expect("it starts")).expect(0);
        for item in plan.json()["items"].as_array().expect("items") {
            let locator = item["locator"].as_str().expect("a locator");
            if let Ok(text) = fs::read_to_string(locator) {
                values.insert(locator.to_owned(), text);
            }
        }
    }
    values
}

#[test]
fn apply_verify_revert_leaves_every_value_as_it_was() {
    let Some(host) = Host::take() else { return };
    let before = values();
    for profile in ["latency", "throughput", "development"] {
        let applied = host.apply(profile);
        let verified = host.run(&["verify", profile]);
        assert_eq!(verified.code, applied.code, "{}\n{}", applied.text, verified.text);
        host.run(&["revert"]).expect(0);
        assert_eq!(values(), before, "{profile}");
        assert!(!host.journal().exists());
    }
}

#[test]
fn a_change_of_profile_and_a_second_apply_keep_the_first_old_values() {
    let Some(host) = Host::take() else { return };
    let before = values();
    for profile in ["latency", "latency", "throughput", "development", "latency"] {
        host.apply(profile);
    }
    host.run(&["revert"]).expect(0);
    assert_eq!(values(), before);
}

#[test]
fn killed_after_any_write_every_value_goes_back() {
    let Some(host) = Host::take() else { return };
    let before = values();
    for writes in 1.. {
        let mut apply = host.command(&["apply", "latency"]);
        let output = apply.env("RINGBOLT_TUNE_CRASH_AFTER", writes.to_string()).output().expect("it starts");
        let killed = output.status.code().is_none();
        let mut revert = host.command(&["revert"]);
        revert.env("RINGBOLT_TUNE_CRASH_AFTER", (writes / 2 + 1).to_string());
        revert.output().expect("it starts");
        host.run(&["revert"]).expect(0);
        assert_eq!(values(), before, "killed after write {writes}");
        if !killed {
            break;
        }
    }
}

#[test]
fn killed_by_someone_else_at_any_moment_every_value_goes_back() {
    let Some(host) = Host::take() else { return };
    let before = values();
    for round in 0..12 {
        let mut apply = host.command(&["apply", "latency"]);
        let mut child = apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(3 * round));
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("it is gone");
        host.run(&["revert"]).expect(0);
        assert_eq!(values(), before, "round {round}");
    }
}

#[test]
fn a_value_that_cannot_be_written_back_as_it_reads_goes_back_by_its_pair() {
    let Some(host) = Host::take() else { return };
    let pair = || ["bytes", "ratio"].map(|name| fs::read_to_string(format!("/proc/sys/vm/dirty_{name}")));
    let before = pair().map(|value| value.expect("readable"));
    for row in ["sysctl:vm.dirty_bytes set 268435456", "sysctl:vm.dirty_ratio set 33"] {
        host.apply(&host.profile(row));
        host.run(&["revert"]).expect(0);
        assert_eq!(pair().map(|value| value.expect("readable")), before, "{row}");
    }
}

/// A process of ours under a name no other has.
struct Sleeper(Child);

impl Sleeper {
    fn start(directory: &Path) -> Sleeper {
        let program = directory.join("tune-sleeper");
        fs::copy("/bin/sleep", &program).expect("sleep is copied");
        Sleeper(Command::new(program).arg("600").spawn().expect("it starts"))
    }

    /// Policy and nice value, fields 41 and 19 of its stat line.
    fn scheduling(&self) -> (String, String) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let rest = stat.rsplit(") ").next().expect("fields").split_whitespace().map(str::to_owned);
        let fields: Vec<_> = rest.collect();
        (fields[38].clone(), fields[16].clone())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_priority_of_a_running_process_is_changed_and_restored() {
    let Some(host) = Host::take() else { return };
    let sleeper = Sleeper::start(host.state.path());
    let before = sleeper.scheduling();
    for (value, policy, nice) in [("other:5", "0", "5"), ("batch:3", "3", "3")] {
        host.run(&["apply", &host.profile(&format!("process:tune-sleeper/scheduling set {value}"))])
            .expect(0);
        assert_eq!(sleeper.scheduling(), (policy.to_owned(), nice.to_owned()));
    }
    host.run(&["revert"]).expect(0);
    assert_eq!(sleeper.scheduling(), before);
    host.run(&["apply", &host.profile("process:tune-sleeper/scheduling set other:5")]).expect(0);
    drop(sleeper);
    assert!(host.run(&["revert"]).expect(0).text.contains("no longer on this host"));
}
