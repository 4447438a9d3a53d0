# shellcheck shell=bash
# The engine behind `apply`, `irq apply` and both reverts: what would change, the journal, the writes, the way
# back.

# Reads what item $1 is now; returns 1, and decides skip, when this host cannot have what it asks.
read_item() {
    ITEM_STATUS[$1]=skip
    ITEM_NOTE[$1]='not on this host'
    read_value "${ITEM_LOCATOR[$1]}" || return 1
    ITEM_NOW[$1]=$REPLY
    if ! value_offered "${ITEM_LOCATOR[$1]}" "${ITEM_VALUE[$1]}"; then
        ITEM_NOTE[$1]="this host offers only: $REPLY"
        return 1
    fi
    ITEM_STATUS[$1]=''
    ITEM_NOTE[$1]=''
}

# Decides for every open item what apply would do: same, change or skip. $1 is the owner.
plan_items() {
    local index locator now base
    for index in "${!ITEM_LOCATOR[@]}"; do
        [[ -z ${ITEM_STATUS[index]} ]] || continue
        locator=${ITEM_LOCATOR[index]}
        read_item "$index" || continue
        now=${ITEM_NOW[index]}
        base=${JOURNAL_ORIGINAL["$locator"]:-$now}
        REPLY=${ITEM_VALUE[index]}
        [[ ${ITEM_RULE[index]} == set ]] || raised_value "$base" "$REPLY"
        ITEM_AFTER[index]=$REPLY
        ITEM_STATUS[index]=change
        ! same_value "$locator" "$now" "$REPLY" || ITEM_STATUS[index]=same
        if journal_has "$1" "$locator" && drifted "$locator" "$now"; then
            ITEM_NOTE[index]="changed by someone else since apply, which left ${JOURNAL_LEFT["$locator"]}"
        fi
    done
}

# Decides for every open item whether the host has what the profile wants: ok, differs or skip.
verify_items() {
    local index locator now
    for index in "${!ITEM_LOCATOR[@]}"; do
        [[ -z ${ITEM_STATUS[index]} ]] || continue
        locator=${ITEM_LOCATOR[index]}
        read_item "$index" || continue
        now=${ITEM_NOW[index]}
        REPLY=${ITEM_VALUE[index]}
        [[ ${ITEM_RULE[index]} == set ]] || raised_value "$now" "$REPLY"
        ITEM_AFTER[index]=$REPLY
        ITEM_STATUS[index]=ok
        same_value "$locator" "$now" "$REPLY" || explain_difference "$index" "$now"
    done
}

explain_difference() {
    local locator=${ITEM_LOCATOR[$1]}
    ITEM_STATUS[$1]=differs
    ITEM_NOTE[$1]='not applied'
    journal_has profile "$locator" || return 0
    case ${JOURNAL_STATE["$locator"]} in
        refused) ITEM_NOTE[$1]='the kernel refused it at apply' ;;
        partial) ITEM_NOTE[$1]='the kernel granted only a part at apply' ;;
    esac
    if drifted "$locator" "$2"; then
        ITEM_NOTE[$1]="changed by someone else since apply, which left ${JOURNAL_LEFT["$locator"]}"
    fi
}

# Whether the kernel lists value $2 for locator $1, where it lists its choices at all (CHOICES is of the last
# read).
value_offered() {
    local list=$CHOICES
    if [[ -z $list ]]; then
        case $1 in
            */scaling_governor) list=${1%/*}/scaling_available_governors ;;
            */energy_performance_preference) list=${1%/*}/energy_performance_available_preferences ;;
            *) return 0 ;;
        esac
        read_value "$list" || return 0
        list=" $REPLY "
    fi
    REPLY=${list# }
    REPLY=${REPLY% }
    [[ $list == *" $2 "* ]]
}

# Whether locator $1, now $2, was changed by someone else after this tool wrote it.
drifted() {
    ! same_value "$1" "$2" "${JOURNAL_LEFT["$1"]}" || return 1
    case ${JOURNAL_STATE["$1"]} in
        written | partial) return 0 ;;
        # A crash may lie between the write and its record.
        saved)
            ! same_value "$1" "$2" "${JOURNAL_WANTED["$1"]}" &&
                ! same_value "$1" "$2" "${JOURNAL_ORIGINAL["$1"]}"
            ;;
        *) return 1 ;;
    esac
}

# Applies the planned items for owner $1. RESULT counts what came of them; the caller has the lock.
apply_items() {
    local index status
    RESULT=([written]=0 [same]=0 [skip]=0 [opt-in]=0 [refused]=0 [partial]=0 [managed]=0)
    RESULT+=([restored]=0 [kept]=0 [stuck]=0)
    find_released "$1"
    journal_items "$1"
    ((${#JOURNAL_ORDER[@]} == 0)) || save_journal
    if ((${#RELEASED[@]})); then
        restore_locators "$1" "${RELEASED[@]}"
        save_journal
    fi
    for index in "${!ITEM_LOCATOR[@]}"; do
        [[ ${ITEM_STATUS[index]} != change ]] || write_item "$index"
        status=${ITEM_STATUS[index]}
        RESULT["$status"]=$((${RESULT["$status"]} + 1))
    done
    ((${#JOURNAL_ORDER[@]} == 0)) || record_finished
}

# Values an earlier apply of the same owner changed and this one does not speak of: they go back.
find_released() {
    local index locator
    local -A wanted=()
    RELEASED=()
    for index in "${!ITEM_LOCATOR[@]}"; do
        case ${ITEM_STATUS[index]} in
            change | same) wanted["${ITEM_LOCATOR[index]}"]=1 ;;
        esac
    done
    for locator in "${JOURNAL_ORDER[@]}"; do
        if journal_has "$1" "$locator" && [[ -z ${wanted["$locator"]:-} ]]; then
            RELEASED+=("$locator")
        fi
    done
}

# Enters into the journal what is about to change. A value journalled before keeps the original it had then.
journal_items() {
    local index locator owners
    JOURNAL_FINISHED=0
    for index in "${!ITEM_LOCATOR[@]}"; do
        locator=${ITEM_LOCATOR[index]}
        if [[ -n ${JOURNAL_ORIGINAL["$locator"]+known} ]]; then
            [[ ${ITEM_STATUS[index]} == change || ${ITEM_STATUS[index]} == same ]] || continue
            owners=${JOURNAL_OWNERS["$locator"]}
            journal_has "$1" "$locator" || owners+=",$1"
            add_journal_item "$owners" "$locator" "${ITEM_KEY[index]}" "${JOURNAL_ORIGINAL["$locator"]}" \
                "${ITEM_AFTER[index]}" saved "${ITEM_NOW[index]}"
            [[ ${ITEM_STATUS[index]} == change ]] || JOURNAL_STATE["$locator"]=written
        elif [[ ${ITEM_STATUS[index]} == change ]]; then
            journal_companion "$1" "$locator" "${ITEM_KEY[index]}"
            add_journal_item "$1" "$locator" "${ITEM_KEY[index]}" "${ITEM_NOW[index]}" \
                "${ITEM_AFTER[index]}" saved -
        fi
    done
}

# Writing one of these sets the other to 0, and 0 itself cannot be written: only writing the other one back
# restores the pair.
journal_companion() {
    local other
    case $2 in
        /proc/sys/vm/dirty_bytes) other=/proc/sys/vm/dirty_ratio ;;
        /proc/sys/vm/dirty_ratio) other=/proc/sys/vm/dirty_bytes ;;
        /proc/sys/vm/dirty_background_bytes) other=/proc/sys/vm/dirty_background_ratio ;;
        /proc/sys/vm/dirty_background_ratio) other=/proc/sys/vm/dirty_background_bytes ;;
        *) return 0 ;;
    esac
    [[ -z ${JOURNAL_ORIGINAL["$other"]+known} ]] && read_value "$other" || return 0
    add_journal_item "$1" "$other" "$3" "$REPLY" - companion -
}

# Writes item $1, reads it back and records what it found: the kernel refuses some values without a word.
write_item() {
    local locator=${ITEM_LOCATOR[$1]} wanted=${ITEM_AFTER[$1]} before=${ITEM_NOW[$1]}
    local error='' status=written now
    write_value "$locator" "$wanted" || error=$WRITE_ERROR
    now=$before
    ! read_value "$locator" || now=$REPLY
    if ! same_value "$locator" "$now" "$wanted"; then
        status=partial
        ! same_value "$locator" "$now" "$before" || status=refused
        explain_refusal "$1" "$error" "$now"
        [[ $status != refused || -z $MANAGED ]] || status=managed
    fi
    record_state "$locator" "$status" "$now"
    ITEM_STATUS[$1]=$status
}

# Sets the note of item $1, refused with error $2 and now reading $3; MANAGED when that is the driver's right.
explain_refusal() {
    MANAGED=''
    case ${ITEM_LOCATOR[$1]} in
        */smp_affinity_list)
            if [[ $2 == 'Input/output error' ]]; then
                MANAGED=yes
                ITEM_NOTE[$1]='the driver manages this interrupt (EIO): it stays where the driver spread it'
                return
            fi
            ;;
        */nr_hugepages)
            ITEM_NOTE[$1]="only $3 pages could be had: memory is short or fragmented; reserve them at boot \
with hugepages=${ITEM_AFTER[$1]}"
            return
            ;;
    esac
    if [[ -n $2 ]]; then
        ITEM_NOTE[$1]="the kernel refused it: $2"
    else
        ITEM_NOTE[$1]="the kernel took the write without an error, but reads $3"
    fi
}

# Takes everything of owner $1 back to what it was before, last change first.
revert_owner() {
    local index
    local -a backwards=()
    RESULT=([restored]=0 [kept]=0 [stuck]=0)
    for ((index = ${#JOURNAL_ORDER[@]} - 1; index >= 0; index--)); do
        ! journal_has "$1" "${JOURNAL_ORDER[index]}" || backwards+=("${JOURNAL_ORDER[index]}")
    done
    restore_locators "$1" "${backwards[@]}"
}

# Restores the locators after owner $1, in that order, and again as long as that helps: some values can only
# be restored after others. What is restored leaves the journal (which the caller saves); what is not, stays.
restore_locators() {
    local owner=$1 locator progress=1
    local -a left=("${@:2}") open done_with=()
    while ((progress && ${#left[@]})); do
        progress=0
        open=()
        for locator in "${left[@]}"; do
            if restore_one "$owner" "$locator"; then
                progress=1
                done_with+=("$locator")
            else
                open+=("$locator")
            fi
        done
        left=("${open[@]}")
    done
    for locator in "${left[@]}"; do
        report_stuck "$locator"
    done
    forget_restored "${done_with[@]}"
}

# Drops from the journal what no other owner holds.
forget_restored() {
    local locator
    local -a free=()
    for locator in "$@"; do
        [[ -n ${JOURNAL_OWNERS["$locator"]} ]] || free+=("$locator")
    done
    forget_locators "${free[@]}"
}

# Restores one value for owner $1; returns 1 when it did not go back yet (STUCK_ERROR says why).
restore_one() {
    local locator=$2 original=${JOURNAL_ORIGINAL["$2"]} now
    STUCK_ERROR["$locator"]=''
    drop_owner "$1" "$locator"
    if [[ -n $REPLY ]]; then
        JOURNAL_OWNERS["$locator"]=$REPLY
        note_restore kept "$locator" "$REPLY still wants it; it goes back with that"
        return 0
    fi
    if ! read_value "$locator"; then
        if ! locator_gone "$locator"; then
            STUCK_ERROR["$locator"]='it cannot be read'
            return 1
        fi
        JOURNAL_OWNERS["$locator"]=''
        note_restore kept "$locator" 'no longer on this host: nothing to restore'
        return 0
    fi
    now=$REPLY
    if ! same_value "$locator" "$now" "$original"; then
        if drifted "$locator" "$now"; then
            if ((KEEP_DRIFT)); then
                JOURNAL_OWNERS["$locator"]=''
                note_restore kept "$locator" "changed by someone else since apply: left at $now"
                return 0
            fi
            note_drift "$locator" "$now"
        fi
        write_value "$locator" "$original" || STUCK_ERROR["$locator"]=$WRITE_ERROR
        read_value "$locator" || REPLY=''
        same_value "$locator" "$REPLY" "$original" || return 1
    fi
    JOURNAL_OWNERS["$locator"]=''
    note_restore restored "$locator" "$now" "$original"
}

# A path that has vanished (a CPU taken offline, a NIC pulled) or a thread that has ended.
locator_gone() {
    case $1 in
        /*) [[ ! -e $ROOT$1 ]] ;;
        ethtool\ *)
            local nic
            IFS=' ' read -r _ nic _ <<<"$1"
            [[ ! -e $ROOT/sys/class/net/$nic ]]
            ;;
        *) return 0 ;;
    esac
}

note_restore() {
    local name
    RESULT[$1]=$((RESULT[$1] + 1))
    show_name "$2"
    name=$REPLY
    if [[ $1 == kept ]]; then
        say_item kept "$name" "$3"
    elif [[ $3 != "$4" ]]; then
        say_item restored "$name" "$3 → $4"
    fi
}

# Said once, however often the value is tried.
note_drift() {
    [[ -z ${DRIFT_SAID["$1"]:-} ]] || return 0
    DRIFT_SAID["$1"]=1
    show_name "$1"
    say_item drift "$REPLY" "changed by someone else since apply to $2: restored all the same"
}

report_stuck() {
    local why=${STUCK_ERROR["$1"]} now='unreadable'
    RESULT[stuck]=$((RESULT[stuck] + 1))
    ! read_value "$1" || now=$REPLY
    why=${why:-the kernel took the write without effect}
    [[ $1 != */nr_hugepages ]] || why='pages are in use and go when that process ends'
    show_name "$1"
    say_item stuck "$REPLY" "still $now, was ${JOURNAL_ORIGINAL["$1"]} before ($why); it stays in the journal"
}
