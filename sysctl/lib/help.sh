# shellcheck shell=bash
# The help texts.

help_for() {
    case $1 in
        show) help_show ;;
        plan) help_plan ;;
        apply) help_apply ;;
        revert) help_revert ;;
        verify) help_verify ;;
        explain) help_explain ;;
        irq) help_irq ;;
        *) help_all ;;
    esac
}

help_all() {
    cat <<'END'
ringbolt-tune: host settings for a ringbolt server, every one of them explained and reversible.

  ringbolt-tune show                        what the host has now, what was applied, what is in conflict
  ringbolt-tune plan PROFILE                before → after of every value; changes nothing
  ringbolt-tune apply PROFILE               saves every old value, writes, reads back            (root)
  ringbolt-tune revert                      every value exactly as before the first apply        (root)
  ringbolt-tune verify PROFILE              whether the host has what the profile wants
  ringbolt-tune explain KEY                 why, risk and source of a value, also of those not shipped
  ringbolt-tune irq plan|apply|revert       a network card's interrupts and queues               (root)

PROFILE is latency, throughput or development, or the path of a file of your own.
Every command answers --help.

Options of every command:
  --root DIR     work on the /proc, /sys, /etc and /var below DIR (for tests)
  --state DIR    where the journal lies (default /var/lib/ringbolt-tune)
  --json         show, plan and verify: answer in JSON

Exit codes:
  0   done
  1   done, but not for every value: verify found a difference, apply a refusal, revert one it cannot restore
  2   wrong usage; nothing was changed
  75  another ringbolt-tune is at work; nothing was changed
  77  this needs root; nothing was changed
  78  a profile or the journal cannot be used; the message says what was changed, if anything
END
}

help_choices() {
    cat <<'END'
  --cores LIST        the server's cores, such as 2-7: rows about the other cores need it
  --with KEY[=VALUE]  use a row that is opt-in, or another value for a row
  --without KEY       leave a row out
KEY is a full key such as sysctl:vm.swappiness, or its short name (see `explain`).
END
}

help_show() {
    cat <<'END'
ringbolt-tune show [--json]

Prints every value the profiles speak of as it is now, with the value it had before where this tool changed
it; then the limits of open files and locked memory, and what else on this host sets the same values. Needs
no root.
END
}

help_plan() {
    cat <<'END'
ringbolt-tune plan PROFILE [--cores LIST] [--with KEY[=VALUE]] [--without KEY] [--json]

Prints exactly what `apply` would do, before → after, and changes nothing. Needs no root.

END
    help_choices
}

help_apply() {
    cat <<'END'
ringbolt-tune apply PROFILE [--cores LIST] [--with KEY[=VALUE]] [--without KEY]

Saves every old value on disk, then writes, and reads every write back. Applying again writes what has
drifted and keeps the first old values. Applying another profile is as if the first had been reverted
before. Nothing outlives a reboot. Exit 1: applied, but the kernel refused some values, which are named.

END
    help_choices
}

help_revert() {
    cat <<'END'
ringbolt-tune revert [--keep-drift] [--all]

Takes every value of the applied profile back to what it was before the first `apply`, last change first,
and reads each back; also after apply or revert was killed half-way. A value someone else changed since is
named and restored too, because "before" is what revert promises.

  --keep-drift   leave values that someone else changed since as they are
  --all          what `irq apply` changed as well

Exit 1: some values could not be restored; they are named and stay in the journal for the next revert.
END
}

help_verify() {
    cat <<'END'
ringbolt-tune verify PROFILE [--strict] [--cores LIST] [--with KEY[=VALUE]] [--without KEY] [--json]

Exit 0: every value the host has is as the profile wants it. Exit 1: some differ; each is named, with
whether it was never applied, refused, or changed by someone else since. Given no choices, those of the last
apply of that profile hold. Conflicts with TuneD, irqbalance, power-profiles-daemon and sysctl files are
named. Needs no root.

  --strict            conflicts count as differences
END
    help_choices
}

help_explain() {
    cat <<'END'
ringbolt-tune explain KEY

Prints why a value is shipped, its risk and its source, and its value on this host; or why it is not
shipped. KEY is a key, a path below /proc/sys or /sys, a short name (thp, governor, c-states, bbr, limits …)
or a part of one.
END
}

help_irq() {
    cat <<'END'
ringbolt-tune irq plan   --nic NAME --cores LIST [--rps auto|on|off] [--busy-poll] [--rx-usecs N] [--json]
ringbolt-tune irq apply  --nic NAME --cores LIST [same options]
ringbolt-tune irq revert --nic NAME [--keep-drift]

Gives each queue interrupt of the card to one core of LIST, round and round; sets which cores receive (RPS
and RFS, when there are fewer queues than cores) and send (XPS). Interrupts the driver manages itself are
named and left.

  --rps auto|on|off  spread received packets in software: auto does it with fewer queues than cores
  --busy-poll        prepare the card for NAPI busy polling: napi_defer_hard_irqs 2, gro_flush_timeout 200000
  --rx-usecs N       interrupt delay in microseconds, adaptive delay off (needs ethtool); 0 answers fastest
END
}
