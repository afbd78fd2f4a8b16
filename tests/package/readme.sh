#!/bin/sh
# SPDX-License-Identifier: MIT
# Are the documents true? Functions, counters, tests and files that they name exist, and their C compiles: every ```c block that begins
# with an #include or a #define is a whole program or unit. A program is a file that is quoted: the line before its block is
#   [`name.c`](path/of/name.c):
# and the block is the file's text, from its first line that begins with # on.
# So examples.sh, which runs the files, runs what the documents show.
#   sh tests/package/readme.sh [FILE...]      (every document of the project)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck disable=SC2046 # no name of a document holds a space
[ $# -gt 0 ] || set -- $(find "$root" -name '*.md' -not -path '*/build*' -not -path '*/.git/*' | sort)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiled=0
(cd "$root" && find . -type f -not -path './build*' -not -path './.git/*') | sed 's/$/:/' >"$work/files"
# Functions, counters, tests and files that a document names must exist.
names_exist() {
    for name in $(grep -o '`latchkey_[a-z0-9_]*`' "$1" | tr -d '`' | sort -u); do
        grep -qw "$name" "$root/include/latchkey.h" || grep -q "\"${name#latchkey_}\"" "$root/src/api/metrics.c" ||
            { counter=${name#latchkey_} && [ "$counter" != "${counter%_total}" ] &&
                grep -q "^    X(LK_[A-Z0-9_]*, ${counter%_total}, " "$root/src/base/counters.h"; } ||
            grep -q "ngx_string(\"$name\")" "$root"/src/nginx/*.c ||
            { echo "$(basename "$1"): there is no $name" >&2; exit 1; }
    done
    for name in $(grep -o '`test_[a-z0-9_]*`' "$1" | tr -d '`' | sort -u); do
        [ -n "$(find "$root/tests" -name "$name.*")" ] || grep -rqw --include='*.c' --include='*.py' "$name" "$root/tests" ||
            { echo "$(basename "$1"): there is no test $name" >&2; exit 1; }
    done
    for name in $(grep -oE '`[A-Za-z0-9_./-]+\.(c|h|hpp|lua|py|sh|js|mjs|go|rs)`' "$1" | tr -d '`' | sed -E 's,^(\.\.?/)+,,' | sort -u); do
        grep -qF "/$name:" "$work/files" || { echo "$(basename "$1"): there is no file $name" >&2; exit 1; }
    done
}
# is_quoted BLOCK: its file is named in BLOCK.of, where the document names one
is_quoted() {
    if [ ! -f "$1.of" ]; then
        ! grep -q '^int main(' "$1" && return 0
        echo "$document: the program at $(head -n 1 "$1") is no file: put it into examples/, and the line [\`name.c\`](name.c): before it" >&2
        return 1
    fi
    file=$(dirname "$document")/$(cat "$1.of")
    [ -f "$file" ] || { echo "$document quotes $file, which is not there" >&2; return 1; }
    sed 1d "$1" >"$work/quoted"
    sed -n '/^#/,$p' "$file" | diff -u --label "$file" --label "$document" - "$work/quoted" >&2 ||
        { echo "$document: the program that it quotes is not $file" >&2; return 1; }
}
for document in "$@"; do
    [ -f "$document" ] || { echo "$document is not there" >&2; exit 1; }
    names_exist "$document"
    rm -f "$work"/*.c "$work"/*.of
    awk -v out="$work/block" '
        /^```c[ \t]*$/ {
            inside = 1; n++; file = out n ".c"
            printf "#line %d\n", NR + 1 > file
            if (quoted != "") print quoted > (file ".of")
            next
        }
        /^```/         { if (inside) close(file); inside = 0; next }
        inside         { print > file; next }
        NF             { quoted = $0; if (!sub(/^\[`[^`]*`\]\(/, "", quoted) || !sub(/\):$/, "", quoted)) quoted = "" }' "$document"
    for block in "$work"/block*.c; do
        [ -f "$block" ] || continue
        is_quoted "$block" || exit 1
        # The first line is ours; a block that starts otherwise is an excerpt, not a unit.
        sed -n 2p "$block" | grep -q '^#' || continue
        for compiler in gcc clang; do
            $compiler -std=c11 -Wall -Wextra -Werror -I"$root/include" -c "$block" -o "$work/block.o" ||
                { echo "$(basename "$document"): a block does not compile with $compiler" >&2; exit 1; }
        done
        compiled=$((compiled + 1))
    done
done
[ "$compiled" -gt 0 ] || { echo "no block of C that begins with #include in: $*" >&2; exit 1; }
echo "$compiled blocks of C compile"
