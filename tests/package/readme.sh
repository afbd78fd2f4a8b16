#!/bin/sh
# SPDX-License-Identifier: MIT
# Are the documents true? Functions, counters and tests that they name exist, and their C compiles: every ```c block that begins with an #include is a whole program or unit.
# With --run those that have a main are linked with the library of a build and run, with the string for latchkey_open as
# their argument; each must end with status 0.
#   sh tests/package/readme.sh [--run BUILD CONFIG] [FILE...]      (README.md)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
library= config=
if [ "${1-}" = --run ]; then
    library=$(cd "$2/src" && pwd) config=$3
    shift 3
fi
[ $# -gt 0 ] || set -- "$root/README.md"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiled=0 ran=0
run() {
    grep -q '^int main(' "$1" || return 0
    gcc -std=c11 -I"$root/include" "$1" -L"$library" -Wl,-rpath,"$library" -llatchkey -o "$work/program"
    timeout 300 "$work/program" "$config" || { echo "a program of $document ended with status $?" >&2; exit 1; }
    ran=$((ran + 1))
}
# Functions, counters and tests that a document names must exist.
names_exist() {
    for name in $(grep -o '`latchkey_[a-z0-9_]*`' "$1" | tr -d '`' | sort -u); do
        grep -qw "$name" "$root/include/latchkey.h" || grep -q "\"${name#latchkey_}\"" "$root/src/api/metrics.c" ||
            { echo "$(basename "$1"): there is no $name" >&2; exit 1; }
    done
    for name in $(grep -o '`test_[a-z0-9_]*`' "$1" | tr -d '`' | sort -u); do
        [ -n "$(find "$root/tests" -name "$name.*")" ] || grep -rqw --include='*.c' "$name" "$root/tests" ||
            { echo "$(basename "$1"): there is no test $name" >&2; exit 1; }
    done
}
for document in "$@"; do
    [ -f "$document" ] || { echo "$document is not there" >&2; exit 1; }
    names_exist "$document"
    rm -f "$work"/*.c
    awk -v out="$work/block" '
        /^```c[ \t]*$/ { inside = 1; n++; file = out n ".c"; printf "#line %d\n", NR + 1 > file; next }
        /^```/         { if (inside) close(file); inside = 0; next }
        inside         { print > file }' "$document"
    for block in "$work"/block*.c; do
        [ -f "$block" ] || continue
        # The first line is ours; a block that starts otherwise is an excerpt, not a unit.
        sed -n 2p "$block" | grep -q '^#include' || continue
        for compiler in gcc clang; do
            $compiler -std=c11 -Wall -Wextra -Werror -I"$root/include" -c "$block" -o "$work/block.o" ||
                { echo "$(basename "$document"): a block does not compile with $compiler" >&2; exit 1; }
        done
        [ -z "$library" ] || run "$block"
        compiled=$((compiled + 1))
    done
done
[ "$compiled" -gt 0 ] || { echo "no block of C that begins with #include in: $*" >&2; exit 1; }
[ -z "$library" ] || [ "$ran" -gt 0 ] || { echo "no program to run in: $*" >&2; exit 1; }
echo "$compiled blocks of C compile$([ -z "$library" ] || echo "; $ran programs ran")"
