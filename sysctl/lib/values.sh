# shellcheck shell=bash
# Values: how one is read, compared, raised and written. Nothing here starts a process for a file: a host with
# a hundred CPUs has hundreds of values, and the load generator applies and reverts between rounds.
#
# A locator names one value on this host: a path under /proc or /sys, "scheduling PID TID START" for one
# thread, or "ethtool NIC PARAMETER". Functions answer in REPLY.

# Reads the value of locator $1 with white space folded. Of a choice such as "always [madvise] never" the
# chosen word is the value and CHOICES holds them all. Returns 1 when there is nothing to read.
read_value() {
    local -a words=()
    local word
    CHOICES=''
    REPLY=''
    case $1 in
        scheduling\ *) read_scheduling "$1" && return 0 || return 1 ;;
        ethtool\ *) read_ethtool "$1" && return 0 || return 1 ;;
    esac
    [[ -f $ROOT$1 ]] || return 1
    { IFS=$' \t' read -r -a words <"$ROOT$1"; } 2>/dev/null
    ((${#words[@]})) || return 1
    REPLY="${words[*]}"
    ((${#words[@]} > 1)) || return 0
    for word in "${words[@]}"; do
        if [[ $word == \[*\] ]]; then
            CHOICES=" ${REPLY//[\[\]]/} "
            REPLY=${word:1:-1}
            return 0
        fi
    done
}

# Writes $2 to locator $1; on failure WRITE_ERROR says why.
write_value() {
    WRITE_ERROR=''
    case $1 in
        scheduling\ *) write_scheduling "$1" "$2" ;;
        ethtool\ *) write_ethtool "$1" "$2" ;;
        *)
            if { printf '%s\n' "$2" >"$ROOT$1"; } 2>"$STATE/last-error"; then
                count_write
                return 0
            fi
            IFS= read -r WRITE_ERROR <"$STATE/last-error"
            WRITE_ERROR=${WRITE_ERROR##*: }
            count_write
            return 1
            ;;
    esac
}

# Tests of the journal need a crash at an exact place: after the Nth write, before it is recorded.
count_write() {
    WRITE_COUNT=$((WRITE_COUNT + 1))
    [[ ${RINGBOLT_TUNE_CRASH_AFTER:-} != "$WRITE_COUNT" ]] || kill -KILL $$
}

# Whether $2 and $3 mean the same to the file behind locator $1.
same_value() {
    local left
    [[ $2 != "$3" ]] || return 0
    case $1 in
        */rps_cpus | */xps_cpus | */cpumask)
            mask_digits "$2"
            left=$REPLY
            mask_digits "$3"
            [[ $left == "$REPLY" ]]
            ;;
        */smp_affinity_list)
            parse_cpu_list "$2" || return 1
            left="${CPU_LIST[*]}"
            parse_cpu_list "$3" && [[ $left == "${CPU_LIST[*]}" ]]
            ;;
        *) return 1 ;;
    esac
}

# The hexadecimal digits of mask $1 without commas and leading zeros.
mask_digits() {
    REPLY=${1//,/}
    REPLY=${REPLY,,}
    REPLY=${REPLY#"${REPLY%%[!0]*}"}
    REPLY=${REPLY:-0}
}

# Whether the decimal number $1 is below $2, whatever their size: caps reach 2^64 - 1, shell arithmetic does
# not.
number_below() {
    local left=${1#"${1%%[!0]*}"} right=${2#"${2%%[!0]*}"}
    ((${#left} == ${#right})) || { ((${#left} < ${#right})) && return 0 || return 1; }
    [[ $left < $right ]]
}

# The value a raise-only row leaves: of $1 (now) and $2 (wanted) the larger, number by number.
raised_value() {
    local -a have want
    local index
    IFS=' ' read -r -a have <<<"$1"
    IFS=' ' read -r -a want <<<"$2"
    if ((${#have[@]} == ${#want[@]})); then
        for index in "${!have[@]}"; do
            [[ ${have[index]} =~ ^[0-9]+$ ]] || continue
            number_below "${have[index]}" "${want[index]}" || want[index]=${have[index]}
        done
    fi
    REPLY="${want[*]}"
}

# Splits a CPU list such as 0-3,8 into CPU_LIST, in the order given, each once. Returns 1 when it is no list.
parse_cpu_list() {
    local part first last cpu seen=' '
    local IFS=,
    CPU_LIST=()
    [[ $1 =~ ^[0-9,-]+$ ]] || return 1
    for part in $1; do
        [[ $part =~ ^([0-9]{1,4})(-([0-9]{1,4}))?$ ]] || return 1
        first=$((10#${BASH_REMATCH[1]}))
        last=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
        ((first <= last)) || return 1
        for ((cpu = first; cpu <= last; cpu++)); do
            [[ $seen == *" $cpu "* ]] || CPU_LIST+=("$cpu")
            seen+="$cpu "
        done
    done
    ((${#CPU_LIST[@]}))
}

# The mask of the CPUs given, in the kernel's form: groups of 32 CPUs, commas between.
cpu_mask() {
    local -a groups=()
    local cpu group highest=0 text
    for cpu in "$@"; do
        group=$((cpu / 32))
        groups[group]=$((${groups[group]:-0} | 1 << (cpu % 32)))
        ((group <= highest)) || highest=$group
    done
    printf -v REPLY '%x' "${groups[highest]:-0}"
    for ((group = highest - 1; group >= 0; group--)); do
        printf -v text '%08x' "${groups[group]:-0}"
        REPLY+=",$text"
    done
}

# The fields of /proc/PID/task/TID/stat after the name, in STAT: the name may itself hold spaces.
read_stat() {
    local line=''
    { IFS= read -r line <"$ROOT/proc/$1/task/$2/stat"; } 2>/dev/null || return 1
    IFS=' ' read -r -a STAT <<<"${line##*) }"
}

# A thread's policy and priority: other:NICE, batch:NICE, idle:0, fifo:PRIORITY or rr:PRIORITY.
read_scheduling() {
    local pid tid start
    IFS=' ' read -r _ pid tid start <<<"$1"
    read_stat "$pid" "$tid" || return 1
    [[ ${STAT[19]} == "$start" ]] || return 1
    case ${STAT[38]} in
        0) REPLY=other:${STAT[16]} ;;
        1) REPLY=fifo:${STAT[37]} ;;
        2) REPLY=rr:${STAT[37]} ;;
        3) REPLY=batch:${STAT[16]} ;;
        5) REPLY=idle:0 ;;
        *) return 1 ;;
    esac
}

write_scheduling() {
    local tid policy=${2%%:*} number=${2#*:} priority
    IFS=' ' read -r _ _ tid _ <<<"$1"
    priority=$number
    [[ $policy == fifo || $policy == rr ]] || priority=0
    if ! chrt "--$policy" --pid "$priority" "$tid" >"$STATE/last-error" 2>&1; then
        IFS= read -r WRITE_ERROR <"$STATE/last-error"
        return 1
    fi
    if [[ $policy == other || $policy == batch ]]; then
        if ! renice -n "$number" -p "$tid" >"$STATE/last-error" 2>&1; then
            IFS= read -r WRITE_ERROR <"$STATE/last-error"
            return 1
        fi
    fi
    count_write
}

read_ethtool() {
    local nic parameter line
    local -a lines
    IFS=' ' read -r _ nic parameter <<<"$1"
    [[ -n $ETHTOOL ]] || return 1
    mapfile -t lines < <("$ETHTOOL" -c "$nic" 2>/dev/null)
    for line in "${lines[@]}"; do
        if [[ $parameter == rx-usecs && $line =~ ^rx-usecs:[[:space:]]*([0-9]+) ]]; then
            REPLY=${BASH_REMATCH[1]}
            return 0
        elif [[ $parameter == adaptive-rx && $line =~ ^Adaptive\ RX:[[:space:]]*(on|off) ]]; then
            REPLY=${BASH_REMATCH[1]}
            return 0
        fi
    done
    return 1
}

write_ethtool() {
    local nic parameter
    IFS=' ' read -r _ nic parameter <<<"$1"
    if ! "$ETHTOOL" -C "$nic" "$parameter" "$2" >"$STATE/last-error" 2>&1; then
        IFS= read -r WRITE_ERROR <"$STATE/last-error"
        return 1
    fi
    count_write
}
