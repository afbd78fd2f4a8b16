#!/bin/sh
# SPDX-License-Identifier: MIT
# The shared library exports the names of symbols.txt and nothing else.
#   sh tests/package/api/symbols.sh liblatchkey.so [--write]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
library=$1
found=$(mktemp)
trap 'rm -f "$found"' EXIT
nm -D --defined-only "$library" | awk '{print $NF}' | LC_ALL=C sort >"$found"
[ -s "$found" ] || { echo "nm finds no symbol in $library" >&2; exit 1; }
if [ "${2-}" = --write ]; then
    cp "$found" "$here/symbols.txt"
    exit 0
fi
diff -u "$here/symbols.txt" "$found" || {
    echo "the exported symbols differ from tests/package/api/symbols.txt (if that is meant: sh tests/package/api/symbols.sh $library --write)" >&2
    exit 1
}
# Every function of the header is exported, and the other way round.
names=$(mktemp)
trap 'rm -f "$found" "$names"' EXIT
grep '^LATCHKEY_API' "$here/../../../include/latchkey.h" | sed 's/(.*//; s/.*[ *]//' | LC_ALL=C sort >"$names"
diff -u "$names" "$found" || { echo "the header and the exported symbols differ" >&2; exit 1; }
