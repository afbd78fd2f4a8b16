#!/bin/sh
# SPDX-License-Identifier: MIT
# Do the comments and texts of the library keep to plain words? One line for each that does not, and status 1.
#   sh tests/package/words.sh [ROOT]      (this repository)
#
#   - data, calls and threads are "it", or have a name: no whom, whoever, nobody, somebody in src; no whom in the documents
#   - the time up to which sessions were ended is a cut-off. An epoch is what makes tickets invalid (l1, and what waits on it)
#   - text from outside "is not valid"; it never "is none"
#   - README.md has at most 200 lines
#   - the library compares no letters by the process' locale (base/letters.h), in which 'i' may not be the small letter of 'I'
#   - an atomic operation names its order. The command, which is not fast, may leave it at the default
set -eu
cd "${1:-$(dirname "$0")/../..}"
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# look WHAT WORDS FILE...: lines with these words, whole and in any case
look() {
    what=$1 words=$2
    shift 2
    grep -HnwiE "$words" "$@" | sed "s|\$|   <- $what|" >>"$found" || :
}
sources=$(find src -type f \( -name '*.c' -o -name '*.h' -o -name '*.lua' -o -name '*.1' \) ! -path 'src/nginx/*' ! -path 'src/bindings/*' | sort)
documents=$(find README.md include examples tests bench src .github -name '*.md' ! -path '*/node_modules/*' | sort)
look 'say "it", or what it is' 'whom|whoever|whyever|nobody|somebody' $sources
look 'say what it is' 'whom|whoever|whyever' $documents include/latchkey.h
look 'the word is cut-off' 'epochs?' $(echo "$sources" | grep -vE '^src/(l1|l2/lease\.h)')
grep -HnE '"[^"]* is none[^"]*"' $sources | sed 's|$|   <- say "is not valid"|' >>"$found" || :
grep -HnE 'atomic_(load|store|exchange|fetch_[a-z]+|compare_exchange_(weak|strong))\(' \
    $(echo "$sources" | grep -v '^src/cli/') | sed 's|$|   <- name the order: ..._explicit|' >>"$found" || :
grep -HnE '\<(strn?casecmp|strcasestr|strn?coll|to(lower|upper)|is(alpha|alnum|digit|xdigit|space|print|upper|lower))\(' \
    $(echo "$sources" | grep -v '^src/cli/') | sed 's|$|   <- not by the locale: base/letters.h|' >>"$found" || :

[ "$(wc -l <README.md)" -le 200 ] || echo 'README.md   <- at most 200 lines: say it where it belongs, and link to that' >>"$found"

sort -u "$found"
count=$(sort -u "$found" | wc -l)
[ "$count" = 0 ] || { echo "$count lines" && exit 1; }
echo "$(echo "$sources" | wc -l) sources, $(echo "$documents" | wc -l) documents"
