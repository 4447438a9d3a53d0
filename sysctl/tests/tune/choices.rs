//! Options, conflicts and wrong usage.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::fake::{Answer, FakeHost, is_root, sysctl_directory, tune};

#[test]
fn rows_can_be_added_changed_and_left_out() {
    let host = FakeHost::plain();
    host.put("proc/sys/net/core/netdev_max_backlog", "1000");
    let choices = ["--with", "netdev_max_backlog", "--with", "thp=never", "--without", "vm.swappiness"];
    let mut arguments = vec!["apply", "latency"];
    arguments.extend(choices);
    host.run(&arguments).expect(0);
    assert_eq!(host.value("proc/sys/net/core/netdev_max_backlog"), "5000");
    assert_eq!(host.value("sys/kernel/mm/transparent_hugepage/enabled"), "never");
    assert_eq!(host.value("proc/sys/vm/swappiness"), "60");
    host.run(&["verify", "latency"]).expect(0);
    let other = host.run(&["verify", "latency", "--with", "thp=madvise"]).expect(1);
    assert!(other.line("kernel/mm/transparent_hugepage/enabled").contains("never, wanted madvise"));
    host.run(&["apply", "latency"]).expect(0);
    assert_eq!(host.value("proc/sys/net/core/netdev_max_backlog"), "1000", "no longer asked for");
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value("sys/kernel/mm/transparent_hugepage/enabled"), "always");
}

#[test]
fn housekeeping_gets_the_cores_the_server_does_not() {
    let host = FakeHost::plain();
    host.put("sys/devices/system/cpu/online", "0-39");
    host.put("sys/devices/virtual/workqueue/cpumask", "ff,ffffffff");
    let without = host.run(&["plan", "latency"]).expect(0);
    assert!(without.line("sysfs:devices/virtual/workqueue/cpumask").contains("needs --cores"));
    host.run(&["apply", "latency", "--cores", "2-33"]).expect(0);
    assert_eq!(host.value("sys/devices/virtual/workqueue/cpumask"), "fc,00000003");
    host.run(&["verify", "latency"]).expect(0);
    host.run(&["revert"]).expect(0);
    assert_eq!(host.value("sys/devices/virtual/workqueue/cpumask"), "ff,ffffffff");
    let all = host.run(&["plan", "latency", "--cores", "0-39"]).expect(0);
    assert!(all.line("sysfs:devices/virtual/workqueue/cpumask").contains("none is left for the kernel"));
}

#[test]
fn tuned_irqbalance_and_sysctl_files_are_named() {
    let host = FakeHost::plain();
    host.run(&["apply", "latency"]).expect(0);
    host.put("etc/tuned/active_profile", "virtual-guest");
    host.put("proc/17/comm", "tuned");
    host.put("proc/23/comm", "irqbalance");
    host.put("etc/sysctl.conf", "# a comment\nvm.swappiness=10\nnet.ipv4.ip_forward=1");
    host.put("etc/sysctl.d/10-a.conf", "-kernel/timer_migration = 1\nnet.core.rmem_max = 33554432");
    host.put("usr/lib/sysctl.d/10-a.conf", "vm.stat_interval = 7");
    host.put("usr/lib/sysctl.d/20-b.conf", "net.core.wmem_max = 1048576");
    let verify = host.run(&["verify", "latency"]).expect(0);
    for part in [
        "tuned: TuneD is running with the profile \"virtual-guest\"",
        "irqbalance: irqbalance is running",
        "/etc/sysctl.conf:2 sets vm.swappiness = 10 where the profile wants 1",
        "/etc/sysctl.d/10-a.conf:1 sets kernel/timer_migration = 1 where the profile wants 0",
        "/usr/lib/sysctl.d/20-b.conf:1 sets net.core.wmem_max = 1048576",
    ] {
        assert!(verify.text.contains(part), "{part}:\n{}", verify.text);
    }
    assert!(!verify.text.contains("rmem_max"), "a higher cap is no conflict");
    assert!(!verify.text.contains("stat_interval"), "a file of the same name in /etc hides it");
    assert_eq!(verify.text.matches("conflict  ").count(), 5);
    host.run(&["verify", "latency", "--strict"]).expect(1);
    let json = host.run(&["verify", "latency", "--json"]).expect(0).json();
    assert_eq!(json["conflicts"].as_array().map(Vec::len), Some(5));
    assert!(host.run(&["plan", "latency"]).expect(0).text.contains("conflict  tuned"));
}

#[test]
fn wrong_usage_is_answered_with_one_sentence() {
    let host = FakeHost::plain();
    let before = host.snapshot();
    for (arguments, said) in [
        (&["aply", "latency"][..], "there is no command aply"),
        (&["apply"], "write: ringbolt-tune apply PROFILE"),
        (&["apply", "fast"], "choose one of development latency throughput"),
        (&["apply", "latency", "--whith", "thp"], "there is no option --whith"),
        (&["apply", "latency", "--with"], "--with needs a value"),
        (&["apply", "latency", "--with", "nothing"], "has no row nothing"),
        (&["apply", "latency", "--with", "somaxconn=many"], "takes whole numbers"),
        (&["apply", "latency", "--cores", "3-1"], "no list of cores"),
        (&["apply", "latency", "--cores", "0,9"], "core 9, which is not online"),
        (&["apply", "latency", "--with", "priority=high"], "other:NICE"),
        (&["irq", "plan", "--cores", "0"], "needs --nic"),
        (&["irq", "apply", "--nic", "eth0"], "needs --cores"),
        (&["irq", "apply", "--nic", "../x", "--cores", "0"], "no network card"),
        (&["irq", "look", "--nic", "eth0"], "plan, apply or revert"),
        (&["explain", "no-such-key"], "nothing is known of"),
        (&["apply", "latency", "--state", "/proc/none"], "cannot write to the state directory"),
    ] {
        let answer = host.run(arguments);
        assert!(matches!(answer.code, Some(2 | 78)), "{arguments:?}: {:?}", answer.code);
        assert!(answer.errors.contains(said), "{arguments:?}: {}", answer.errors);
    }
    host.is_as(&before);
}

#[test]
fn every_command_answers_help() {
    for command in ["", "show", "plan", "apply", "revert", "verify", "explain", "irq"] {
        let mut run = tune();
        if !command.is_empty() {
            run.arg(command);
        }
        let answer = Answer::of(&run.arg("--help").output().expect("it starts")).expect(0);
        assert!(answer.text.contains(&format!("ringbolt-tune {command}")), "{}", answer.text);
    }
    Answer::of(&tune().output().expect("it starts")).expect(2);
}

#[test]
fn without_root_changing_commands_are_refused_politely() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let copied =
        Command::new("cp").arg("-r").arg(sysctl_directory()).arg(directory.path().join("sysctl")).status();
    assert!(copied.expect("cp starts").success());
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("the copy is readable by everyone");
    for arguments in [&["apply", "latency"][..], &["revert"], &["irq", "revert", "--nic", "lo"]] {
        let mut command = Command::new(directory.path().join("sysctl/ringbolt-tune"));
        command.args(arguments).current_dir("/");
        if is_root() {
            command.uid(65534).gid(65534);
        }
        let answer = Answer::of(&command.output().expect("it starts")).expect(77);
        assert!(answer.errors.contains("needs root: run it with sudo"), "{}", answer.errors);
    }
}
