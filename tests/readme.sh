#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles the C of the documents: every ```c block that begins with an #include is a whole program or unit.
#   sh tests/readme.sh [FILE...]      (README.md)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- "$root/README.md"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiled=0
for document in "$@"; do
    [ -f "$document" ] || { echo "$document is not there" >&2; exit 1; }
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
        compiled=$((compiled + 1))
    done
done
[ "$compiled" -gt 0 ] || { echo "no block of C that begins with #include in: $*" >&2; exit 1; }
echo "$compiled blocks of C compile"
