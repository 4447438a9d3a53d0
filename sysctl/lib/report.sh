# shellcheck shell=bash
# What the operator reads: aligned lines, or JSON for programs.

die() {
    printf 'ringbolt-tune: %s\n' "$2" >&2
    exit "$1"
}

say_item() {
    printf '  %-9s %-58s %s\n' "$1" "$2" "$3"
}

# A locator as an operator knows it.
show_name() {
    local pid tid
    case $1 in
        /proc/sys/*)
            REPLY=${1#/proc/sys/}
            REPLY=${REPLY//\//.}
            ;;
        /sys/devices/system/*) REPLY=${1#/sys/devices/system/} ;;
        /sys/*) REPLY=${1#/sys/} ;;
        /proc/irq/*)
            REPLY=${1#/proc/irq/}
            REPLY="interrupt ${REPLY%%/*}"
            ;;
        scheduling\ *)
            IFS=' ' read -r _ pid tid _ <<<"$1"
            REPLY="thread $tid of process $pid"
            ;;
        *) REPLY=$1 ;;
    esac
}

# Prints the items whose status is one of those given.
print_items() {
    local index name text
    for index in "${!ITEM_LOCATOR[@]}"; do
        [[ " $* " == *" ${ITEM_STATUS[index]} "* ]] || continue
        show_name "${ITEM_LOCATOR[index]}"
        name=$REPLY
        [[ ${ITEM_LOCATOR[index]} != /proc/irq/* ]] || name+=" (${ITEM_KEY[index]##*/})"
        case ${ITEM_STATUS[index]} in
            change | written) text="${ITEM_NOW[index]} → ${ITEM_AFTER[index]}" ;;
            refused | partial | managed) text="${ITEM_NOW[index]}, not ${ITEM_AFTER[index]}" ;;
            differs) text="${ITEM_NOW[index]}, wanted ${ITEM_AFTER[index]}" ;;
            same | ok) text=${ITEM_NOW[index]} ;;
            *) text='' ;;
        esac
        [[ ${ITEM_RULE[index]} != raise-only || -z $text ]] || text+=' (raise-only)'
        [[ -z ${ITEM_NOTE[index]} ]] || text+="${text:+: }${ITEM_NOTE[index]}"
        say_item "${ITEM_STATUS[index]}" "$name" "$text"
    done
}

print_released() {
    local locator
    for locator in "${RELEASED[@]}"; do
        show_name "$locator"
        say_item restore "$REPLY" "back to ${JOURNAL_ORIGINAL["$locator"]}: the profile does not speak of it"
    done
}

print_conflicts() {
    local index
    for index in "${!CONFLICT_WITH[@]}"; do
        printf '  conflict  %s: %s\n' "${CONFLICT_WITH[index]}" "${CONFLICT_TEXT[index]}"
    done
}

count_statuses() {
    local status
    COUNT=([change]=0 [same]=0 [skip]=0 [opt-in]=0 [ok]=0 [differs]=0)
    for status in "${ITEM_STATUS[@]}"; do
        COUNT["$status"]=$((${COUNT["$status"]:-0} + 1))
    done
}

# $1 as a JSON string.
json_string() {
    local text=$1 character
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    for character in b:$'\b' f:$'\f' n:$'\n' r:$'\r' t:$'\t'; do
        text=${text//"${character#*:}"/\\${character%%:*}}
    done
    REPLY="\"$text\""
}

# Prints one JSON object of name and value pairs; values are strings.
json_object() {
    local separator='' name
    printf '{'
    while (($#)); do
        json_string "$1"
        name=$REPLY
        json_string "$2"
        printf '%s%s:%s' "$separator" "$name" "$REPLY"
        separator=,
        shift 2
    done
    printf '}'
}

# The whole answer of plan, verify and show: $1 command, $2 profile, $3 ok (true or false).
print_json() {
    local index separator='' name
    json_string "$1"
    printf '{"command":%s,' "$REPLY"
    json_string "$2"
    printf '"profile":%s,"ok":%s,"applied":' "$REPLY" "$3"
    json_string "$JOURNAL_PROFILE"
    printf '%s,"finished":%s,"items":[' "$REPLY" "$( ((JOURNAL_FINISHED)) && echo true || echo false)"
    for index in "${!ITEM_LOCATOR[@]}"; do
        printf '%s\n' "$separator"
        show_name "${ITEM_LOCATOR[index]}"
        name=$REPLY
        json_object key "${ITEM_KEY[index]}" name "$name" locator "${ITEM_LOCATOR[index]}" \
            rule "${ITEM_RULE[index]}" now "${ITEM_NOW[index]}" after "${ITEM_AFTER[index]}" \
            original "${JOURNAL_ORIGINAL["${ITEM_LOCATOR[index]}"]:-}" \
            status "${ITEM_STATUS[index]}" note "${ITEM_NOTE[index]}"
        separator=,
    done
    printf '],"restore":['
    separator=''
    for name in "${RELEASED[@]}"; do
        printf '%s' "$separator"
        json_object locator "$name" original "${JOURNAL_ORIGINAL["$name"]}"
        separator=,
    done
    printf '],"conflicts":['
    separator=''
    for index in "${!CONFLICT_WITH[@]}"; do
        printf '%s\n' "$separator"
        json_object with "${CONFLICT_WITH[index]}" text "${CONFLICT_TEXT[index]}"
        separator=,
    done
    printf ']}\n'
}
