# What the parts of the run share: how they judge, and how they ask the daemon. To be sourced.
# shellcheck shell=sh

# shellcheck source=tests/system/guest/home.sh
. /guest/home.sh

part=$(basename "$0" .sh)
failed=0
daemon=

ok() { echo "$part: ok: $*"; }
bad() {
    echo "$part: FAILED: $*"
    # shellcheck disable=SC2034 # the exit code of the part
    failed=1
}

# Ends a part that cannot go on.
give_up() {
    bad "$*"
    [ -z "$daemon" ] || stop KILL
    exit 1
}

# True if both are equal; says so either way.
same() {
    if [ "$2" = "$3" ]; then ok "$1: $2"; else bad "$1: found '$2', expected '$3'"; fi
}

# Says what a text is searched for, and whether it is in there.
says() {
    if echo "$2" | grep -q -e "$3"; then ok "$1"; else bad "$1: '$3' is not in: $(echo "$2" | head -c 600)"; fi
}

# The same, of what must not be there.
silent() {
    if echo "$2" | grep -q -e "$3"; then bad "$1: $(echo "$2" | grep -e "$3" | head -c 600)"; else ok "$1"; fi
}

# True as soon as a command is, which is tried for two minutes: a machine that is emulated may be slow.
soon() {
    for _ in $(seq 240); do
        "$@" && return
        sleep 0.5
    done
    return 1
}

# What a command says, once it is what is expected or will not become it.
eventually() {
    label=$1 expected=$2
    shift 2
    soon says_so "$@"
    same "$label" "$found" "$expected"
}
says_so() {
    found=$("$@")
    [ "$found" = "$expected" ]
}

# Loads nf_tables and conntrack, if that was not done.
load_netfilter() {
    while read -r module; do
        grep -q "^$module " /proc/modules || insmod "/modules/$module.ko" || bad "no kernel module $module"
    done </etc/later
}

# ---- the daemon ------------------------------------------------------------------------------------------------------

# Fetches the page to /tmp/page; without one, none is left.
page() { wget -q -O /tmp/page http://127.0.0.1:9999/metrics 2>/dev/null || rm -f /tmp/page; }

# The value of a series on the page that was fetched; nothing without it.
on_page() {
    [ ! -e /tmp/page ] || awk -v "series=$1 " 'index($0, series) == 1 { print substr($0, length(series) + 1) }' /tmp/page
}

# The same, on the page as it is now.
value() {
    page
    on_page "$1"
}

# True if a series has at least this value.
reaches() { value "$1" | awk -v "least=$2" '{ found = $1 >= least } END { exit !found }'; }

up() { value "gatemeter_collector_up{collector=\"$1\"}"; }

# Starts a command as the daemon and waits until the collectors that are named first, as in "traffic,probe", work.
start() {
    wanted=$1
    shift
    "$@" 2>/tmp/log &
    daemon=$!
    for collector in $(echo "$wanted" | tr , ' '); do
        soon is_up "$collector" || give_up "$collector does not work: $(cat /tmp/log)"
    done
}
is_up() { [ "$(up "$1")" = 1 ]; }

stop() {
    kill "-$1" "$daemon"
    wait "$daemon"
}

# How many lines of the log are of a level.
lines() { grep -c "^$1" /tmp/log; }
