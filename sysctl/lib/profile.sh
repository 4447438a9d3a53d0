# shellcheck shell=bash
# Profile files: one row a setting, "KEY RULE VALUE", with what explains it in "#:" comments above it.
#
#   #: why     one reason, may go on in lines beginning "#:         "
#   #: risk    what may go wrong
#   #: source  who measured or recommends it
#   #: name    short names for `explain` (optional)
#   #: opt-in  when to ask for it; such a row is used only with --with KEY (optional)
#   sysctl:net.core.somaxconn  raise-only  4096
#
# The list of what is not shipped has the same comments (asked, instead, why, source) above "not-shipped KEY".

ROW_FIELDS=(why risk source name opt-in asked instead)

forget_rows() {
    ROW_KEY=()
    ROW_RULE=()
    ROW_VALUE=()
    ROW_TEXT=()
    ROW_PROFILE=()
}

# Sets PROFILE_FILE and PROFILE_NAME for a profile given by name or, with a slash, by path.
find_profile() {
    local file names=''
    if [[ $1 == */* ]]; then
        PROFILE_FILE=$1
        [[ $1 == /* ]] || PROFILE_FILE=$PWD/$1
        PROFILE_NAME=$PROFILE_FILE
    else
        PROFILE_FILE=$HERE/profiles/$1.conf
        PROFILE_NAME=$1
    fi
    [[ ! -f $PROFILE_FILE ]] || return 0
    for file in "$HERE"/profiles/*.conf; do
        file=${file##*/}
        names+=" ${file%.conf}"
    done
    die "$EXIT_USAGE" "there is no profile $1: choose one of$names, or give the path of a file"
}

# Appends the rows of file $1; $2 is the profile's name.
load_rows() {
    local line field='' number=0
    local -a lines
    local -A text=()
    mapfile -t lines <"$1"
    for line in "${lines[@]}"; do
        number=$((number + 1))
        if [[ $line =~ ^\#:\ ([a-z-]+)\ +(.+)$ ]]; then
            field=${BASH_REMATCH[1]}
            [[ " ${ROW_FIELDS[*]} " == *" $field "* ]] ||
                die "$EXIT_BROKEN" "$1:$number: #: $field is unknown: use one of ${ROW_FIELDS[*]}"
            text[$field]=${BASH_REMATCH[2]}
        elif [[ $line =~ ^\#:\ \ +(.+)$ && -n $field ]]; then
            text[$field]+=" ${BASH_REMATCH[1]}"
        elif [[ $line != \#* && $line =~ [^[:space:]] ]]; then
            add_row "$1:$number" "$2" "$line"
            text=()
            field=''
        fi
    done
}

# Checks and appends the row in $3; the text of its comments is the caller's.
add_row() {
    local key rule value name missing='' joined=''
    local -a words
    IFS=$' \t' read -r key rule value <<<"$3"
    if [[ $key == not-shipped ]]; then
        key=$rule
        rule=not-shipped
        value=${text[asked]:-}
    fi
    for name in why source; do
        [[ -n ${text[$name]:-} ]] || missing=$name
    done
    [[ -z $missing ]] ||
        die "$EXIT_BROKEN" "$1: $key has no line \"#: $missing …\": every row says why, risk and source"
    case $rule in
        set | not-shipped) ;;
        raise-only)
            [[ $value =~ ^[0-9]+([[:space:]]+[0-9]+)*$ ]] ||
                die "$EXIT_BROKEN" "$1: raise-only takes whole numbers, not \"$value\""
            ;;
        *) die "$EXIT_BROKEN" "$1: the rule of $key is \"$rule\": write set or raise-only" ;;
    esac
    if [[ $rule != not-shipped ]]; then
        [[ -n ${text[risk]:-} ]] || die "$EXIT_BROKEN" "$1: $key has no line \"#: risk …\""
        [[ -n $value ]] || die "$EXIT_BROKEN" "$1: $key has no value: write KEY RULE VALUE"
        check_key "$1" "$key"
    fi
    ROW_KEY+=("$key")
    ROW_RULE+=("$rule")
    IFS=$' \t' read -r -a words <<<"$value"
    ROW_VALUE+=("${words[*]}")
    ROW_PROFILE+=("$2")
    for name in "${ROW_FIELDS[@]}"; do
        [[ -z ${text[$name]:-} ]] || joined+="$name"$'\t'"${text[$name]}"$'\n'
    done
    ROW_TEXT+=("$joined")
}

# A profile is a file an operator may write: it names settings, never a way out of /proc/sys and /sys.
check_key() {
    case $2 in
        *..*) die "$EXIT_BROKEN" "$1: the key $2 may not contain two dots in a row" ;;
        sysctl:?* | sysfs:?*) ;;
        hugepages:*)
            [[ $2 =~ ^hugepages:[0-9]+kB$ ]] ||
                die "$EXIT_BROKEN" "$1: write a page size such as hugepages:2048kB"
            ;;
        process:*/scheduling) ;;
        *)
            die "$EXIT_BROKEN" "$1: the key $2 has no known scheme: use sysctl:, sysfs:, hugepages: or \
process:NAME/scheduling"
            ;;
    esac
}

# The text of field $2 of row $1.
row_text() {
    local line
    REPLY=''
    while IFS= read -r line; do
        if [[ $line == "$2"$'\t'* ]]; then
            REPLY=${line#*$'\t'}
            return 0
        fi
    done <<<"${ROW_TEXT[$1]}"
    return 1
}

# Applies --with and --without to row $1: sets CHOSEN (use it, opt-in or dropped) and CHOSEN_VALUE.
choose_row() {
    local key=${ROW_KEY[$1]} asked
    CHOSEN=use
    CHOSEN_VALUE=${ROW_VALUE[$1]}
    ! row_text "$1" opt-in || CHOSEN=opt-in
    for asked in "${WITH[@]}"; do
        if [[ ${asked%%=*} == "$key" ]]; then
            CHOSEN=use
            [[ $asked != *=* ]] || CHOSEN_VALUE=${asked#*=}
        fi
    done
    for asked in "${WITHOUT[@]}"; do
        [[ $asked != "$key" ]] || CHOSEN=dropped
    done
    if [[ ${ROW_RULE[$1]} == raise-only && ! $CHOSEN_VALUE =~ ^[0-9]+(\ [0-9]+)*$ ]]; then
        die "$EXIT_USAGE" "--with $key takes whole numbers, not \"$CHOSEN_VALUE\""
    fi
}

# --with and --without name rows by their full key or a short name; here short names become keys.
resolve_choices() {
    local index
    for index in "${!WITH[@]}"; do
        resolve_key "${WITH[index]%%=*}"
        if [[ ${WITH[index]} == *=* ]]; then
            WITH[index]="$REPLY=${WITH[index]#*=}"
            [[ -n ${WITH[index]#*=} ]] || die "$EXIT_USAGE" "--with $REPLY= has no value after the ="
        else
            WITH[index]=$REPLY
        fi
    done
    for index in "${!WITHOUT[@]}"; do
        resolve_key "${WITHOUT[index]}"
        WITHOUT[index]=$REPLY
    done
}

resolve_key() {
    local row names
    for row in "${!ROW_KEY[@]}"; do
        row_text "$row" name
        names=" $REPLY "
        if [[ ${ROW_KEY[row]} == "$1" || ${ROW_KEY[row]#*:} == "$1" || $names == *" $1 "* ]]; then
            REPLY=${ROW_KEY[row]}
            return 0
        fi
    done
    die "$EXIT_USAGE" "the profile $PROFILE_NAME has no row $1: see ringbolt-tune plan $PROFILE_NAME"
}
