# shellcheck shell=bash
# `explain`: why a value is shipped, or why it is not.

explain_key() {
    local row file previous='' found=0
    forget_rows
    for file in "$HERE"/profiles/*.conf; do
        load_rows "$file" "$(basename "$file" .conf)"
    done
    load_rows "$HERE/not-shipped.conf" not-shipped
    for row in "${!ROW_KEY[@]}"; do
        explains "$row" "$1" exactly || continue
        found=1
        explain_row "$row"
    done
    if ((!found)); then
        for row in "${!ROW_KEY[@]}"; do
            explains "$row" "$1" partly || continue
            found=1
            explain_row "$row"
        done
    fi
    ((found)) && return 0
    printf 'ringbolt-tune: nothing is known of "%s". Known keys:\n' "$1" >&2
    while IFS= read -r row; do
        [[ $row == "$previous" ]] || printf '  %s\n' "$row" >&2
        previous=$row
    done < <(printf '%s\n' "${ROW_KEY[@]}" | sort)
    exit "$EXIT_USAGE"
}

# Whether row $1 answers to $2: by key, key without scheme, path or short name; partly: by a part of those.
explains() {
    local key=${ROW_KEY[$1],,} wanted=${2,,} names
    row_text "$1" name
    names=" ${REPLY,,} "
    wanted=${wanted#/proc/sys/}
    wanted=${wanted#/sys/}
    if [[ $3 == exactly ]]; then
        [[ $key == "$wanted" || ${key#*:} == "$wanted" || $names == *" $wanted "* ||
            ${key#*:} == "${wanted//\//.}" ]]
    else
        [[ $key == *"$wanted"* || $names == *"$wanted"* ]]
    fi
}

explain_row() {
    local field
    if [[ ${ROW_RULE[$1]} == not-shipped ]]; then
        printf '%s\n  not shipped\n' "${ROW_KEY[$1]}"
    else
        printf '%s\n  profile  %s: %s %s\n' "${ROW_KEY[$1]}" "${ROW_PROFILE[$1]}" "${ROW_RULE[$1]}" \
            "${ROW_VALUE[$1]}"
        explain_present "$1"
    fi
    for field in asked instead opt-in why risk source; do
        ! row_text "$1" "$field" || print_wrapped "$field" "$REPLY"
    done
    printf '\n'
}

# The value row $1 has on this host now: the first, where there is one for each CPU or node.
explain_present() {
    local index
    forget_items
    expand_row "${ROW_KEY[$1]}" "${ROW_RULE[$1]}" "${ROW_VALUE[$1]}"
    for index in "${!ITEM_LOCATOR[@]}"; do
        if [[ ${ITEM_STATUS[index]} != skip ]] && read_value "${ITEM_LOCATOR[index]}"; then
            printf '  now      %s' "$REPLY"
            ((${#ITEM_LOCATOR[@]} == 1)) || printf ' (the first of %d)' "${#ITEM_LOCATOR[@]}"
            printf '\n'
            return
        fi
    done
    printf '  now      %s\n' "${ITEM_NOTE[0]:-not on this host}"
}

# Prints text under a label, folded at 100 columns.
print_wrapped() {
    local line word
    local -a words
    printf -v line '  %-8s' "$1"
    IFS=' ' read -r -a words <<<"$2"
    for word in "${words[@]}"; do
        if ((${#line} + ${#word} + 1 > 100)); then
            printf '%s\n' "$line"
            line='          '
        fi
        line+=" $word"
    done
    printf '%s\n' "$line"
}
