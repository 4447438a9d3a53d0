# shellcheck shell=bash
# The queues of a network card: which core takes each interrupt, and which cores receive (RPS, RFS) and send
# (XPS).

RFS_FLOWS=32768
# What the drivers call the interrupts of a card that serve no queue.
NO_QUEUE='config|control|ctrl|event|async|aenq|mgmnt|mgmt|admin|misc|cmd|pages|health|mbx|mailbox|other|ptp'

# Builds the items for $NIC and $CORES.
irq_items() {
    local -a cores
    forget_items
    IRQ_NOTES=()
    [[ $NIC =~ ^[A-Za-z0-9._@:-]+$ && $NIC != . && $NIC != .. && -d $ROOT/sys/class/net/$NIC ]] ||
        die "$EXIT_USAGE" "there is no network card \"$NIC\" on this host: see /sys/class/net"
    check_cores
    parse_cpu_list "$CORES"
    cores=("${CPU_LIST[@]}")
    affinity_items "${cores[@]}"
    receive_items "${cores[@]}"
    transmit_items "${cores[@]}"
    if ((BUSY_POLL)); then
        add_item "/sys/class/net/$NIC/napi_defer_hard_irqs" "nic:$NIC/napi_defer_hard_irqs" set 2
        add_item "/sys/class/net/$NIC/gro_flush_timeout" "nic:$NIC/gro_flush_timeout" set 200000
    fi
    [[ -z $RX_USECS ]] || coalesce_items
}

# Queue interrupts go round the cores by queue number, so that both directions of a queue share a core.
affinity_items() {
    local irq name index ordinal=0
    local -a cores=("$@")
    find_queue_interrupts
    if ((${#QUEUE_NAME[@]} == 0)); then
        IRQ_NOTES+=("no interrupt of $NIC was found for a queue: only RPS, RFS and XPS can be set")
        return
    fi
    for irq in "${!QUEUE_NAME[@]}"; do
        name=${QUEUE_NAME[irq]%%@*}
        index=$ordinal
        [[ $name != *-[rt]x ]] || index=0
        [[ ! $name =~ [^0-9]([0-9]+)$ || $name == "$NIC" ]] || index=$((10#${BASH_REMATCH[1]}))
        ordinal=$((ordinal + 1))
        add_item "/proc/irq/$irq/smp_affinity_list" "irq:$NIC/${QUEUE_NAME[irq]}" set \
            "${cores[index % ${#cores[@]}]}"
    done
}

# Fills QUEUE_NAME[irq] with the card's interrupts that serve a queue: not those for configuration and events.
find_queue_interrupts() {
    local device irq name rest path
    QUEUE_NAME=()
    local -A allowed=()
    device=$(cd -P "$ROOT/sys/class/net/$NIC/device" 2>/dev/null && pwd)
    # A virtio card's interrupts belong to the PCI function above it.
    [[ -d $device/msi_irqs || ! ${device##*/} =~ ^virtio[0-9]+$ ]] || device=$device/..
    if [[ -n $device ]]; then
        for path in "$device"/msi_irqs/*; do
            allowed[${path##*/}]=1
        done
    fi
    read_interrupt_names "${device%/..}"
    for irq in "${!INTERRUPT_NAME[@]}"; do
        name=${INTERRUPT_NAME[irq]}
        ((${#allowed[@]} == 0)) || [[ -n ${allowed[$irq]:-} ]] || continue
        rest=${name%%@*}
        rest=${rest/"$NIC"/}
        [[ ! ${rest,,} =~ $NO_QUEUE ]] || continue
        QUEUE_NAME[irq]=$name
    done
    # Beside numbered queues, an interrupt that bears only the card's name is for link changes.
    if ((${#QUEUE_NAME[@]} > 1)); then
        for irq in "${!QUEUE_NAME[@]}"; do
            [[ ${QUEUE_NAME[irq]} != "$NIC" ]] || unset 'QUEUE_NAME[irq]'
        done
    fi
}

# The names in /proc/interrupts: all of them when the card lists its interrupts, else those that name the
# card.
read_interrupt_names() {
    local line name irq device=${1##*/}
    local -a lines
    INTERRUPT_NAME=()
    { mapfile -t lines <"$ROOT/proc/interrupts"; } 2>/dev/null
    for line in "${lines[@]}"; do
        [[ $line =~ ^\ *([0-9]+): ]] || continue
        irq=${BASH_REMATCH[1]}
        line=${line%"${line##*[! ]}"}
        name=${line##* }
        if ((${#allowed[@]})) || [[ $name =~ (^|[^a-zA-Z0-9])"$NIC"([^a-zA-Z0-9]|$) ]] ||
            [[ -n $device && $name =~ ^"$device"[^0-9] ]]; then
            INTERRUPT_NAME[irq]=$name
        fi
    done
}

# With fewer queues than cores the kernel spreads received packets itself (RPS) and takes them to the core
# whose shard reads the connection (RFS). With enough queues the card has done that and RPS would only add a
# hop.
receive_items() {
    local queue mask=0 flows
    local -a queues=("$ROOT/sys/class/net/$NIC/queues"/rx-*)
    ((${#queues[@]})) || return 0
    if [[ $RPS == on || ($RPS == auto && ${#queues[@]} -lt $#) ]]; then
        cpu_mask "$@"
        mask=$REPLY
        flows=$((RFS_FLOWS / ${#queues[@]}))
        add_item /proc/sys/net/core/rps_sock_flow_entries sysctl:net.core.rps_sock_flow_entries \
            raise-only $RFS_FLOWS
    fi
    for queue in "${queues[@]}"; do
        queue=${queue##*/}
        add_item "/sys/class/net/$NIC/queues/$queue/rps_cpus" "nic:$NIC/$queue/rps_cpus" set "$mask"
        [[ $mask == 0 ]] ||
            add_item "/sys/class/net/$NIC/queues/$queue/rps_flow_cnt" "nic:$NIC/$queue/rps_flow_cnt" \
                set "$flows"
    done
    if ((${#queues[@]} > $#)); then
        IRQ_NOTES+=("$NIC has ${#queues[@]} queues for $# cores: \"ethtool -L $NIC combined $#\" saves \
wake-ups (it resets the card, so this tool does not)")
    fi
}

# Every core sends through one queue, and a queue belongs to as few cores as possible.
transmit_items() {
    local -a queues=("$ROOT/sys/class/net/$NIC/queues"/tx-*) cores=("$@") mine
    local queue index
    ((${#queues[@]} > 1)) || return 0
    for queue in "${queues[@]}"; do
        queue=${queue##*/}
        mine=()
        for ((index = ${queue#tx-}; index < $#; index += ${#queues[@]})); do
            mine+=("${cores[index]}")
        done
        ((${#mine[@]})) || mine=("${cores[${queue#tx-} % $#]}")
        cpu_mask "${mine[@]}"
        add_item "/sys/class/net/$NIC/queues/$queue/xps_cpus" "nic:$NIC/$queue/xps_cpus" set "$REPLY"
    done
}

# Adaptive coalescing overrules a fixed delay, so it goes off first.
coalesce_items() {
    if [[ -z $ETHTOOL ]]; then
        IRQ_NOTES+=("--rx-usecs needs the program ethtool, which is not installed: the delay stays as it is")
        return
    fi
    add_item "ethtool $NIC adaptive-rx" "nic:$NIC/adaptive-rx" set off
    add_item "ethtool $NIC rx-usecs" "nic:$NIC/rx-usecs" set "$RX_USECS"
}
