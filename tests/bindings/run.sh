#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the library into a temporary prefix, builds the bindings against it, and runs the tests of each language on a Redis of
# its own, side by side. tests/bindings/README.md is the list that each of them passes.
#   sh tests/bindings/run.sh [LANGUAGE...]      all of them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
[ $# -gt 0 ] || set -- $(cd "$here" && for each in */run.sh; do [ ! -e "$each" ] || dirname "$each"; done)
[ $# -gt 0 ] || { echo "no language is here: $here/*/run.sh" >&2; exit 1; }
work=$(mktemp -d)
running=
. "$root/tests/support/redis.sh"
. "$root/tests/support/prefix.sh"
cleanup() {
    for pid in $running; do kill "$pid" 2>/dev/null && wait "$pid" || :; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

prefix_install "$root" "$work/library"

# points LANGUAGE: the numbers of the list that it must pass
points() {
    awk -v language="$1" '
        /^## The list/ { inside = 1 }
        /^[0-9]+\. / { give(); number = inside ? $1 + 0 : 0; text = "" }
        { text = text " " $0 }
        END { give() }
        function give() {
            exempt = text
            if (number && !(sub(/.* not: /, "", exempt) && (", " exempt) ~ (", *" language " \\("))) print number
        }' "$here/README.md"
}

# one LANGUAGE: builds and tests it. The traps and the Redis are those of the subshell in which it runs.
one() {
    language=$1
    export LATCHKEY_WORK="$work/$language"
    mkdir -p "$LATCHKEY_WORK/built" "$LATCHKEY_WORK/redis"
    if [ -e "$root/src/bindings/$language/build.sh" ]; then
        sh "$root/src/bindings/$language/build.sh" "$LATCHKEY_WORK/built" || { echo "$language: it does not build"; return 1; }
    fi
    child=
    trap '[ -z "$child" ] || kill "$child" 2>/dev/null; kill -CONT "$redis_pid" 2>/dev/null; redis_end' EXIT
    trap 'exit 143' INT TERM
    redis_start "$LATCHKEY_WORK/redis" || return 1
    export LATCHKEY_REDIS_SOCKET="$redis_socket" LATCHKEY_REDIS_PID="$redis_pid"
    code=0
    timeout --kill-after=10 900 sh "$here/$language/run.sh" "$LATCHKEY_WORK/built" >"$LATCHKEY_WORK/said" 2>&1 &
    child=$!
    wait "$child" || code=$?
    child=
    cat "$LATCHKEY_WORK/said"
    [ "$code" = 0 ] || { echo "$language: its tests end with status $code"; return 1; }
    missing=
    for number in $(points "$language"); do
        grep -q "^ok $number\( .*\)\{0,1\}$" "$LATCHKEY_WORK/said" || missing="$missing $number"
    done
    [ -z "$missing" ] || { echo "$language: these points of the list were not passed:$missing"; return 1; }
    echo "$language: $(points "$language" | wc -l) points of the list passed"
}

for language; do
    [ -e "$here/$language/run.sh" ] || { echo "there is no $here/$language/run.sh" >&2; exit 2; }
    (one "$language") >"$work/$language.log" 2>&1 &
    running="$running $!"
done
failed=
for pid in $running; do
    code=0
    wait "$pid" || code=$?
    echo "------------------------------------------------------------ $1"
    cat "$work/$1.log"
    [ "$code" = 0 ] || failed="$failed $1"
    shift
done
running=
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
