#!/bin/sh
# SPDX-License-Identifier: MIT
# Do comments and texts keep to plain words? One line for each that does not, and status 1.
#   sh tests/package/words.sh [ROOT]      (this repository)
#
#   - data, calls and threads are "it": none of whom, whoever, nobody, somebody in src and in the documents
#   - a time up to which sessions were ended is a cut-off; an epoch is what makes tickets invalid (src/l1)
#   - "is not valid", and not "is none"
#   - an atomic operation names its order (base/fork.c and the command say why theirs do not)
set -eu
root=$(cd "${1:-$(dirname "$0")/../..}" && pwd)
cd "$root"
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# look WHAT FILES-PATTERN EXTENDED-REGEX, in the files that git knows or would.
files() { find src include README.md examples/README.md examples/import/README.md tests/README.md bench/README.md .github -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.hpp' -o -name '*.lua' -o -name '*.py' -o -name '*.1' -o -name '*.md' \) ! -path '*/build/*' | sort; }
look() {
    what=$1 only=$2 words=$3
    files | grep -E "$only" | xargs grep -nE "$words" | sed "s/\$/    <- $what/" >>"$found" || :
}
look 'say "it", or name what it is' '.' '(^|[^A-Za-z_])([Ww]hom|[Ww]hoever|[Ww]hyever|[Nn]obody|[Ss]omebody)([^A-Za-z_]|$)'
look 'the word is cut-off' '^src/(api|session|l2|revocation|redis|observe|analytics|cli|base)/' '(^|[^A-Za-z_])[Ee]pochs?([^A-Za-z_]|$)'
look 'say "is not valid", or "there is none"' '^src/.*\.[ch]$' '"[^"]*(is|are) none[^"]*"'
look 'name the order: atomic_..._explicit' '^src/.*\.[ch]$' 'atomic_(load|store|exchange|fetch_[a-z]+|compare_exchange_(weak|strong))\('
grep -vE '^src/(base/fork\.c|cli/)[^ ]*atomic_' "$found" | sort -u || :
[ -z "$(grep -vE '^src/(base/fork\.c|cli/)[^ ]*atomic_' "$found")" ] || exit 1
echo "$(files | wc -l) files"
