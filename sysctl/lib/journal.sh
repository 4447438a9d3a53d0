# shellcheck shell=bash
# The journal: every value this tool may have changed, with the value it had before. It is on disk, complete,
# before the first write; so after a crash at any place `revert` knows the way back.
#
#   ringbolt-tune-journal 1
#   boot     BOOT_ID           kernel values live as long as the boot: an older journal is worth nothing
#   profile  NAME              empty when only `irq` wrote
#   options  OPTION…           what apply was given, so that verify can ask the same question
#   item     OWNERS LOCATOR KEY ORIGINAL WANTED STATE LEFT
#   state    LOCATOR STATE LEFT   appended after each write
#   finished                   appended when apply came to its end
#
# Fields are separated by tabs. An owner is "profile" or "irq:NIC"; a value two owners changed goes back with
# the last of them. LEFT is what was read back after the write: whatever differs from it later was changed by
# another.

forget_journal() {
    JOURNAL_PROFILE=''
    JOURNAL_OPTIONS=()
    JOURNAL_FINISHED=0
    JOURNAL_STALE=0
    JOURNAL_ORDER=()
    JOURNAL_OWNERS=()
    JOURNAL_KEY=()
    JOURNAL_ORIGINAL=()
    JOURNAL_WANTED=()
    JOURNAL_STATE=()
    JOURNAL_LEFT=()
}

read_boot_id() {
    REPLY=''
    { IFS= read -r REPLY <"$ROOT/proc/sys/kernel/random/boot_id"; } 2>/dev/null
    REPLY=${REPLY:-unknown}
}

# Loads the journal. One of an earlier boot is forgotten: the kernel has reset every value it speaks of.
load_journal() {
    local line boot=''
    local -a lines fields
    forget_journal
    [[ -f $JOURNAL ]] || return 0
    mapfile -t lines <"$JOURNAL" ||
        die "$EXIT_BROKEN" "cannot read the journal $JOURNAL: run as root, or give the right --state"
    [[ ${lines[0]:-} == 'ringbolt-tune-journal 1' ]] ||
        die "$EXIT_BROKEN" "$JOURNAL is no journal of this version: restore its values by hand, then \
remove it"
    for line in "${lines[@]:1}"; do
        IFS=$'\t' read -r -a fields <<<"$line"
        case ${fields[0]:-} in
            boot) boot=${fields[1]} ;;
            profile) JOURNAL_PROFILE=${fields[1]:-} ;;
            options) JOURNAL_OPTIONS=("${fields[@]:1}") ;;
            finished) JOURNAL_FINISHED=1 ;;
            item)
                ((${#fields[@]} == 8)) || die "$EXIT_BROKEN" "$JOURNAL has a broken line: \"$line\""
                add_journal_item "${fields[@]:1}"
                ;;
            state)
                if ((${#fields[@]} == 4)) && [[ -n ${JOURNAL_ORIGINAL["${fields[1]}"]+known} ]]; then
                    JOURNAL_STATE["${fields[1]}"]=${fields[2]}
                    JOURNAL_LEFT["${fields[1]}"]=${fields[3]}
                fi
                ;;
        esac
    done
    read_boot_id
    if [[ $boot != "$REPLY" ]]; then
        forget_journal
        JOURNAL_STALE=1
    fi
}

# Owners, locator, key, original, wanted, state, left.
add_journal_item() {
    [[ -n ${JOURNAL_ORIGINAL["$2"]+known} ]] || JOURNAL_ORDER+=("$2")
    JOURNAL_OWNERS["$2"]=$1
    JOURNAL_KEY["$2"]=$3
    JOURNAL_ORIGINAL["$2"]=$4
    JOURNAL_WANTED["$2"]=$5
    JOURNAL_STATE["$2"]=$6
    JOURNAL_LEFT["$2"]=$7
}

# Whether locator $2 is journalled for owner $1.
journal_has() {
    [[ ",${JOURNAL_OWNERS["$2"]:-}," == *",$1,"* ]]
}

# Takes owner $1 off locator $2; REPLY is what owners are left.
drop_owner() {
    local owners=",${JOURNAL_OWNERS["$2"]},"
    owners=${owners//",$1,"/,}
    owners=${owners#,}
    REPLY=${owners%,}
}

# Puts the whole journal on disk, or removes it when nothing is left to restore. Durable when it returns.
save_journal() {
    local locator line text options=''
    local next=$JOURNAL.next
    if ((${#JOURNAL_ORDER[@]} == 0)); then
        if ! { rm -f "$JOURNAL" && sync "$STATE"; }; then
            die "$EXIT_BROKEN" "cannot remove the journal $JOURNAL: see that $STATE can be written"
        fi
        return
    fi
    read_boot_id
    text=$'ringbolt-tune-journal 1\n'"boot"$'\t'"$REPLY"$'\n'"profile"$'\t'"$JOURNAL_PROFILE"$'\noptions'
    ((${#JOURNAL_OPTIONS[@]} == 0)) || printf -v options '\t%s' "${JOURNAL_OPTIONS[@]}"
    text+=$options$'\n'
    for locator in "${JOURNAL_ORDER[@]}"; do
        printf -v line 'item\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "${JOURNAL_OWNERS["$locator"]}" "$locator" \
            "${JOURNAL_KEY["$locator"]}" "${JOURNAL_ORIGINAL["$locator"]}" "${JOURNAL_WANTED["$locator"]}" \
            "${JOURNAL_STATE["$locator"]}" "${JOURNAL_LEFT["$locator"]}"
        text+=$line
    done
    ((JOURNAL_FINISHED == 0)) || text+=$'finished\n'
    if ! { printf '%s' "$text" >"$next" && sync "$next" && mv -f "$next" "$JOURNAL" && sync "$STATE"; }; then
        die "$EXIT_BROKEN" "cannot save the old values in $JOURNAL, so nothing more is changed: see that \
$STATE can be written and has space"
    fi
}

# Notes what became of a write. Appended and not synced: a killed process loses nothing of it, and a lost
# machine loses the values themselves.
record_state() {
    JOURNAL_STATE["$1"]=$2
    JOURNAL_LEFT["$1"]=$3
    printf 'state\t%s\t%s\t%s\n' "$1" "$2" "$3" >>"$JOURNAL"
}

record_finished() {
    JOURNAL_FINISHED=1
    printf 'finished\n' >>"$JOURNAL"
}

# Removes from the journal the locators given.
forget_locators() {
    local locator
    local -A gone=()
    local -a order=()
    for locator in "$@"; do
        gone["$locator"]=1
    done
    for locator in "${JOURNAL_ORDER[@]}"; do
        if [[ -z ${gone["$locator"]:-} ]]; then
            order+=("$locator")
        else
            unset "JOURNAL_ORIGINAL[$locator]" "JOURNAL_OWNERS[$locator]"
        fi
    done
    JOURNAL_ORDER=("${order[@]}")
}

# One writer at a time. The lock is an open file: it ends with the process, however that ends.
take_lock() {
    if ! { mkdir -p "$STATE" && exec {LOCK}>"$STATE/lock"; } 2>/dev/null; then
        die "$EXIT_BROKEN" "cannot write to the state directory $STATE: give another with --state"
    fi
    flock --wait "${RINGBOLT_TUNE_LOCK_SECONDS:-10}" "$LOCK" ||
        die "$EXIT_BUSY" "another ringbolt-tune is at work in $STATE: wait until it has finished"
}
