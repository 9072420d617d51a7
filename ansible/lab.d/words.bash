# How the lab speaks: headings, ticks, and the log where it matters.
# shellcheck shell=bash disable=SC2154  # $state and $log are set by the lab

failures=0

head_line() { printf '\n%s\n' "$1"; }
ok() { printf '  ✔ %s\n' "$1"; }
note() { printf '  … %s\n' "$1"; }
wrong() {
    printf '  ✘ %s\n' "$1"
    failures=$((failures + 1))
}

quietly() { # WHAT COMMAND...: its output goes to the log, and to the screen if it fails
    local what=$1 rc=0
    shift
    mkdir -p "$state"
    printf '\n### %s\n' "$what" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || rc=$?
    if [ "$rc" -ne 0 ]; then
        printf '  ✘ could not %s; the end of %s:\n\n' "$what" "$log" >&2
        tail -n 25 "$log" >&2
        exit 1
    fi
}

within() { # SECONDS COMMAND...: until it succeeds, at most that long
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.5
    done
}
