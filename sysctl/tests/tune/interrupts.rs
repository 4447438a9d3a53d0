//! `irq`: interrupts, RPS, RFS and XPS of cards with many queues, with one, and with managed interrupts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::fake::{Answer, FakeHost, WRITE_ANSWERS_EIO, is_root};

/// A card on PCI with `queues` queues, whose interrupts begin at 97 with one for events.
fn multi_queue_host(cpus: usize, queues: usize) -> FakeHost {
    let host = FakeHost::plain();
    host.put("sys/devices/system/cpu/online", &format!("0-{}", cpus - 1));
    host.put("proc/sys/net/core/rps_sock_flow_entries", "0");
    let mut interrupts = String::from("           CPU0       CPU1\n 8: 1 0 IO-APIC 8-edge rtc0\n");
    for index in 0..=queues {
        let irq = 97 + index;
        let name = match index {
            0 => "mlx5_async0@pci:0000:3b:00.0".to_owned(),
            _ => format!("mlx5_comp{}@pci:0000:3b:00.0", index - 1),
        };
        interrupts += &format!(" {irq}: 12 0 IR-PCI-MSIX-0000:3b:00.0 {index}-edge      {name}\n");
        host.put(&format!("proc/irq/{irq}/smp_affinity_list"), "0-3");
        host.put(&format!("sys/devices/pci0000/0000:3b:00.0/msi_irqs/{irq}"), "msix");
    }
    interrupts += "120: 3 0 IR-PCI-MSIX-0000:af:00.0 0-edge      mlx5_comp0@pci:0000:af:00.0";
    host.put("proc/interrupts", &interrupts);
    host.put("proc/irq/120/smp_affinity_list", "0-3");
    queue_files(&host, queues);
    symlink("../../../devices/pci0000/0000:3b:00.0", host.path().join("sys/class/net/eth2/device"))
        .expect("a link");
    host
}

fn queue_files(host: &FakeHost, queues: usize) {
    for queue in 0..queues {
        host.put(&format!("sys/class/net/eth2/queues/rx-{queue}/rps_cpus"), "0");
        host.put(&format!("sys/class/net/eth2/queues/rx-{queue}/rps_flow_cnt"), "0");
        host.put(&format!("sys/class/net/eth2/queues/tx-{queue}/xps_cpus"), "0");
    }
    host.put("sys/class/net/eth2/napi_defer_hard_irqs", "0");
    host.put("sys/class/net/eth2/gro_flush_timeout", "0");
}

fn affinity(host: &FakeHost, irq: usize) -> String {
    host.value(&format!("proc/irq/{irq}/smp_affinity_list"))
}

#[test]
fn queue_interrupts_go_round_the_cores() {
    let host = multi_queue_host(8, 6);
    let before = host.snapshot();
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "2-4,7"]).expect(0);
    let cores: Vec<_> = (98..104).map(|irq| affinity(&host, irq)).collect();
    assert_eq!(cores, ["2", "3", "4", "7", "2", "3"], "98, 99, 100: by number, not by name");
    assert_eq!(affinity(&host, 97), "0-3", "the interrupt for events stays");
    assert_eq!(affinity(&host, 120), "0-3", "another card's interrupt stays");
    host.run(&["irq", "revert", "--nic", "eth2"]).expect(0);
    host.is_as(&before);
}

#[test]
fn with_enough_queues_packets_are_not_spread_again() {
    let host = multi_queue_host(8, 6);
    host.put("sys/class/net/eth2/queues/rx-1/rps_cpus", "ff");
    let plan = host.run(&["irq", "plan", "--nic", "eth2", "--cores", "0-3"]).expect(0);
    assert!(plan.text.contains("eth2 has 6 queues for 4 cores: \"ethtool -L eth2 combined 4\""));
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "0-3"]).expect(0);
    assert_eq!(host.value("sys/class/net/eth2/queues/rx-1/rps_cpus"), "0");
    assert_eq!(host.value("proc/sys/net/core/rps_sock_flow_entries"), "0");
    assert_eq!(host.value("sys/class/net/eth2/queues/tx-2/xps_cpus"), "4");
    assert_eq!(host.value("sys/class/net/eth2/queues/tx-5/xps_cpus"), "2", "more queues than cores: shared");
}

#[test]
fn with_few_queues_the_kernel_spreads_packets_and_masks_have_commas() {
    let host = multi_queue_host(48, 4);
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "30-37"]).expect(0);
    assert_eq!(host.value("sys/class/net/eth2/queues/rx-0/rps_cpus"), "3f,c0000000");
    assert_eq!(host.value("sys/class/net/eth2/queues/rx-3/rps_flow_cnt"), "8192");
    assert_eq!(host.value("proc/sys/net/core/rps_sock_flow_entries"), "32768");
    assert_eq!(host.value("sys/class/net/eth2/queues/tx-1/xps_cpus"), "8,80000000");
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "30-37", "--rps", "off"]).expect(0);
    assert_eq!(host.value("sys/class/net/eth2/queues/rx-0/rps_cpus"), "0");
    assert_eq!(host.value("proc/sys/net/core/rps_sock_flow_entries"), "0", "no longer asked for");
}

#[test]
fn a_virtio_card_finds_its_interrupts_at_the_pci_function_above() {
    let host = FakeHost::plain();
    host.put("proc/sys/net/core/rps_sock_flow_entries", "65536");
    let device = "sys/devices/pci0000/0000:00:03.0";
    let mut interrupts = String::from("     CPU0 CPU1\n");
    for (irq, name) in [(37, "virtio2-config"), (38, "virtio2-input.0"), (39, "virtio2-output.0")] {
        interrupts += &format!(" {irq}: 5 0 PCI-MSIX-0000:00:03.0 0-edge      {name}\n");
        host.put(&format!("{device}/msi_irqs/{irq}"), "msix");
        host.put(&format!("proc/irq/{irq}/smp_affinity_list"), "0-1");
    }
    host.put("proc/interrupts", interrupts.trim_end());
    host.put(&format!("{device}/virtio2/status"), "0x0f");
    queue_files(&host, 1);
    symlink("../../../devices/pci0000/0000:00:03.0/virtio2", host.path().join("sys/class/net/eth2/device"))
        .expect("a link");
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "1,2"]).expect(0);
    assert_eq!([37, 38, 39].map(|irq| affinity(&host, irq)), ["0-1", "1", "1"], "one queue, one core");
    assert_eq!(host.value("sys/class/net/eth2/queues/rx-0/rps_cpus"), "6");
    assert_eq!(host.value("proc/sys/net/core/rps_sock_flow_entries"), "65536", "never lowered");
    assert_eq!(host.value("sys/class/net/eth2/queues/tx-0/xps_cpus"), "0", "one queue needs no choice");
}

#[test]
fn managed_interrupts_are_named_and_left() {
    if !is_root() {
        println!("skipped: only root may open the file that answers EIO");
        return;
    }
    let host = multi_queue_host(8, 4);
    host.link("proc/irq/99/smp_affinity_list", WRITE_ANSWERS_EIO);
    let answer = host.run(&["irq", "apply", "--nic", "eth2", "--cores", "4-7"]).expect(0);
    let line = answer.line("99");
    assert!(line.contains("managed") && line.contains("EIO"), "{line}");
    assert_eq!(affinity(&host, 100), "6");
    host.run(&["irq", "revert", "--nic", "eth2"]).expect(0);
}

#[test]
fn irqbalance_is_named_with_the_ban_that_cures_it() {
    let host = multi_queue_host(4, 2);
    host.put("proc/41/comm", "irqbalance");
    let plan = host.run(&["irq", "plan", "--nic", "eth2", "--cores", "1"]).expect(0);
    assert!(plan.text.contains("IRQBALANCE_ARGS=\"--banirq=98 --banirq=99\""), "{}", plan.text);
}

#[test]
fn profile_and_card_are_reverted_apart() {
    let host = multi_queue_host(8, 4);
    let before = host.snapshot();
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "0-3"]).expect(0);
    let tuned_card = host.snapshot();
    host.run(&["apply", "latency"]).expect(0);
    let revert = host.run(&["revert"]).expect(0);
    assert!(revert.text.contains("ringbolt-tune irq revert --nic eth2"));
    host.is_as(&tuned_card);
    host.run(&["apply", "latency"]).expect(0);
    host.run(&["irq", "revert", "--nic", "eth2"]).expect(0);
    host.run(&["verify", "latency"]).expect(0);
    host.run(&["irq", "apply", "--nic", "eth2", "--cores", "0-3"]).expect(0);
    host.run(&["revert", "--all"]).expect(0);
    host.is_as(&before);
}

#[test]
fn killed_half_way_a_card_is_restored() {
    for writes in [1, 4, 9] {
        let host = multi_queue_host(16, 4);
        let before = host.snapshot();
        assert_eq!(
            host.run_and_crash(writes, &["irq", "apply", "--nic", "eth2", "--cores", "0-15"]).code,
            None
        );
        assert_ne!(host.snapshot(), before);
        host.run(&["irq", "revert", "--nic", "eth2"]).expect(0);
        host.is_as(&before);
    }
}

/// Stands in for ethtool: keeps the two settings in files beside itself.
const ETHTOOL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
    -c) printf 'Adaptive RX: %s  TX: off\nrx-usecs:\t%s\n' "$(cat a)" "$(cat u)" ;;
    -C) case $3 in adaptive-rx) echo "$4" >a ;; rx-usecs) echo "$4" >u ;; esac ;;
esac
"#;

#[test]
fn interrupt_delay_and_busy_poll_are_set_when_asked_and_restored() {
    let host = multi_queue_host(4, 2);
    host.put("bin/a", "on");
    host.put("bin/u", "50");
    host.put("bin/ethtool", ETHTOOL);
    let ethtool = host.path().join("bin/ethtool");
    fs::set_permissions(&ethtool, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let run = |arguments: &[&str]| {
        let mut command = host.command(arguments);
        Answer::of(&command.env("RINGBOLT_TUNE_ETHTOOL", &ethtool).output().expect("it starts"))
    };
    let apply = ["irq", "apply", "--nic", "eth2", "--cores", "0-1", "--rx-usecs", "0", "--busy-poll"];
    run(&apply).expect(0);
    assert_eq!((host.value("bin/a"), host.value("bin/u")), ("off".to_owned(), "0".to_owned()));
    assert_eq!(host.value("sys/class/net/eth2/napi_defer_hard_irqs"), "2");
    assert_eq!(host.value("sys/class/net/eth2/gro_flush_timeout"), "200000");
    run(&["irq", "revert", "--nic", "eth2"]).expect(0);
    assert_eq!((host.value("bin/a"), host.value("bin/u")), ("on".to_owned(), "50".to_owned()));
    assert_eq!(host.value("sys/class/net/eth2/gro_flush_timeout"), "0");
    assert!(host.run(&apply).expect(0).text.contains("--rx-usecs needs the program ethtool"));
}
