# shellcheck shell=bash
# The host: which files a profile row stands for here, and what else on the host sets the same values.

forget_items() {
    ITEM_LOCATOR=()
    ITEM_KEY=()
    ITEM_RULE=()
    ITEM_VALUE=()
    ITEM_NOW=()
    ITEM_AFTER=()
    ITEM_STATUS=()
    ITEM_NOTE=()
}

# Appends an item: locator, key, rule, value and, when it is decided already, status and note.
add_item() {
    ITEM_LOCATOR+=("$1")
    ITEM_KEY+=("$2")
    ITEM_RULE+=("$3")
    ITEM_VALUE+=("$4")
    ITEM_NOW+=('')
    ITEM_AFTER+=('')
    ITEM_STATUS+=("${5:-}")
    ITEM_NOTE+=("${6:-}")
}

# Turns the chosen rows of the loaded profile into the items of this host.
expand_rows() {
    local row
    for row in "${!ROW_KEY[@]}"; do
        choose_row "$row"
        case $CHOSEN in
            use) expand_row "${ROW_KEY[row]}" "${ROW_RULE[row]}" "$CHOSEN_VALUE" ;;
            opt-in)
                row_text "$row" opt-in
                add_item "${ROW_KEY[row]}" "${ROW_KEY[row]}" "${ROW_RULE[row]}" "$CHOSEN_VALUE" opt-in \
                    "$REPLY"
                ;;
        esac
    done
}

expand_row() {
    local key=$1 rule=$2 value=$3 name
    if [[ $value == @housekeeping ]]; then
        if ! housekeeping_mask; then
            add_item "$key" "$key" "$rule" "$value" skip "$REPLY"
            return
        fi
        value=$REPLY
    fi
    case $key in
        sysctl:*)
            name=${key#sysctl:}
            [[ $name == */* ]] || name=${name//.//}
            add_item "/proc/sys/$name" "$key" "$rule" "$value"
            ;;
        sysfs:*) expand_files "$key" "$rule" "$value" "/sys/${key#sysfs:}" ;;
        hugepages:*) expand_huge_pages "$key" "$rule" "$value" ;;
        process:*) expand_process "$key" "$rule" "$value" ;;
    esac
}

# One item for each file the pattern $4 finds.
expand_files() {
    local path found=0
    local IFS=''
    for path in $ROOT$4; do
        [[ -f $path ]] || continue
        found=1
        add_item "${path#"$ROOT"}" "$1" "$2" "$3"
    done
    ((found)) || add_item "$4" "$1" "$2" "$3" skip 'not on this host'
}

# Huge pages are asked for on every NUMA node: a shard's buffers must lie beside its core.
expand_huge_pages() {
    local size=${1#hugepages:}
    local pattern="/sys/devices/system/node/node*/hugepages/hugepages-$size/nr_hugepages"
    local -a nodes=("$ROOT"/sys/devices/system/node/node*/hugepages/hugepages-"$size"/nr_hugepages)
    ((${#nodes[@]})) || pattern="/sys/kernel/mm/hugepages/hugepages-$size/nr_hugepages"
    expand_files "$1" "$2" "$3" "$pattern"
}

# One item for each thread of each running process of that name.
expand_process() {
    local key=$1 name=${1#process:} path thread pid tid comm found=0
    name=${name%/scheduling}
    if [[ ! $3 =~ ^(other|batch):-?[0-9]+$|^(fifo|rr):[0-9]+$|^idle:0$ ]]; then
        die "$EXIT_USAGE" "$key takes other:NICE, batch:NICE, idle:0, fifo:PRIORITY or rr:PRIORITY, \
not \"$3\""
    fi
    if [[ -n $ROOT ]]; then
        add_item "$key" "$key" "$2" "$3" skip 'processes of another root are left alone'
        return
    fi
    for path in /proc/[0-9]*/comm; do
        { IFS= read -r comm <"$path"; } 2>/dev/null || continue
        [[ $comm == "${name:0:15}" ]] || continue
        pid=${path%/comm}
        pid=${pid##*/}
        for thread in "/proc/$pid/task/"[0-9]*; do
            tid=${thread##*/}
            read_stat "$pid" "$tid" || continue
            found=1
            add_item "scheduling $pid $tid ${STAT[19]}" "$key" "$2" "$3"
        done
    done
    ((found)) || add_item "$key" "$key" "$2" "$3" skip "no process $name is running"
}

# The mask of the online CPUs that --cores leaves over.
housekeeping_mask() {
    local cpu
    local -a rest=()
    if [[ -z $CORES ]]; then
        REPLY='needs --cores LIST: the cores the server is pinned to'
        return 1
    fi
    parse_cpu_list "$CORES"
    local server=" ${CPU_LIST[*]} "
    online_cpus
    for cpu in "${CPU_LIST[@]}"; do
        [[ $server == *" $cpu "* ]] || rest+=("$cpu")
    done
    if ((${#rest[@]} == 0)); then
        REPLY='the server has every core: none is left for the kernel'
        return 1
    fi
    cpu_mask "${rest[@]}"
}

online_cpus() {
    local list=''
    { IFS= read -r list <"$ROOT/sys/devices/system/cpu/online"; } 2>/dev/null
    parse_cpu_list "${list:-0}" || CPU_LIST=(0)
}

# Ends the program unless every core of --cores exists and is online.
check_cores() {
    local cpu online asked
    [[ -n $CORES ]] || return 0
    online_cpus
    online=" ${CPU_LIST[*]} "
    parse_cpu_list "$CORES" || die "$EXIT_USAGE" "--cores $CORES is no list of cores: write one such as 0-3,8"
    asked=("${CPU_LIST[@]}")
    for cpu in "${asked[@]}"; do
        [[ $online == *" $cpu "* ]] ||
            die "$EXIT_USAGE" "--cores names core $cpu, which is not online: this host has cores${online% }"
    done
}

# What else sets these values: fills CONFLICT_WITH and CONFLICT_TEXT for the items at hand.
find_conflicts() {
    CONFLICT_WITH=()
    CONFLICT_TEXT=()
    find_daemon_conflicts
    find_file_conflicts
}

add_conflict() {
    CONFLICT_WITH+=("$1")
    CONFLICT_TEXT+=("$2")
}

find_daemon_conflicts() {
    local path comm running=' ' profile=''
    for path in "$ROOT"/proc/[0-9]*/comm; do
        { IFS= read -r comm <"$path"; } 2>/dev/null && running+="$comm "
    done
    { IFS= read -r profile <"$ROOT/etc/tuned/active_profile"; } 2>/dev/null
    if [[ $running == *' tuned '* ]]; then
        add_conflict tuned "TuneD is running with the profile \"${profile:-unknown}\" and sets many of the \
same values: run \"tuned-adm off\", or keep to one of the two"
    elif [[ -n $profile ]]; then
        add_conflict tuned "TuneD is not running but would apply the profile \"$profile\" when it starts: \
run \"tuned-adm off\", or keep to one of the two"
    fi
    if [[ $running == *' irqbalance '* ]]; then
        add_conflict irqbalance "irqbalance is running and moves interrupts back within about 10 seconds: \
ban the card's interrupts ($(irqbalance_cure)), or stop it where the card's maker does not ask for it \
(AWS does, for ENA)"
    fi
    if [[ $running == *' power-profiles- '* ]]; then
        add_conflict power-profiles-daemon "power-profiles-daemon is running and sets governor and energy \
preference: run \"systemctl stop power-profiles-daemon\" while the profile is applied"
    fi
}

irqbalance_cure() {
    local locator bans=''
    for locator in "${ITEM_LOCATOR[@]}"; do
        [[ $locator =~ ^/proc/irq/([0-9]+)/ ]] && bans+=" --banirq=${BASH_REMATCH[1]}"
    done
    bans=${bans# }
    printf 'IRQBALANCE_ARGS="%s"' "${bans:---banirq=N for each}"
}

# Keys of the items that a sysctl file sets to something else: that file wins at the next `sysctl --system`.
find_file_conflicts() {
    local directory file index
    local -A wanted=() raise=() seen=()
    local -a files=()
    for index in "${!ITEM_LOCATOR[@]}"; do
        [[ ${ITEM_STATUS[index]} != skip && ${ITEM_STATUS[index]} != opt-in ]] || continue
        wanted["${ITEM_LOCATOR[index]}"]=${ITEM_VALUE[index]}
        raise["${ITEM_LOCATOR[index]}"]=${ITEM_RULE[index]}
    done
    for directory in /etc /run /usr/local/lib /usr/lib /lib; do
        for file in "$ROOT$directory"/sysctl.d/*.conf; do
            [[ -z ${seen["${file##*/}"]:-} ]] || continue
            seen["${file##*/}"]=1
            [[ $file -ef $ROOT/etc/sysctl.conf ]] || files+=("$file")
        done
    done
    for file in "${files[@]}" "$ROOT/etc/sysctl.conf"; do
        [[ ! -r $file ]] || find_conflicts_in "$file"
    done
}

# Looks through one sysctl file; the maps are the caller's.
find_conflicts_in() {
    local line key value locator number=0
    local -a lines words
    mapfile -t lines <"$1"
    for line in "${lines[@]}"; do
        number=$((number + 1))
        [[ $line =~ ^[[:space:]]*-?([a-zA-Z][^=[:space:]]*)[[:space:]]*=[[:space:]]*(.*)$ ]] || continue
        key=${BASH_REMATCH[1]}
        IFS=$' \t' read -r -a words <<<"${BASH_REMATCH[2]}"
        value="${words[*]}"
        locator=/proc/sys/${key//.//}
        [[ -n ${wanted["$locator"]:-} ]] || continue
        REPLY=${wanted["$locator"]}
        [[ ${raise["$locator"]} == set ]] || raised_value "$value" "$REPLY"
        [[ $value != "$REPLY" ]] || continue
        add_conflict sysctl.d "${1#"$ROOT"}:$number sets $key = $value where the profile wants \
${wanted["$locator"]}: it wins at the next boot or \"sysctl --system\""
    done
}
