#!/bin/sh
# SPDX-License-Identifier: MIT
# The parser, include/configuration.md and the header must name the same options with the same defaults.
#   sh tests/package/options.sh PROGRAM [--write]     PROGRAM prints the parser's table; --write renews the page's
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
page=$root/include/configuration.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" >"$work/table"
[ "$(wc -l <"$work/table")" -gt 10 ] || { echo "$1 prints no table" >&2; exit 1; }
awk -v table="$work/table" '
    /^<!-- options:begin -->/ { print; while ((getline line < table) > 0) print line; inside = 1; next }
    /^<!-- options:end -->/   { inside = 0 }
    !inside                   { print }' "$page" >"$work/page"
if [ "${2-}" = --write ]; then cp "$work/page" "$page"; fi
diff -u "$page" "$work/page" || { echo "include/configuration.md is not what the parser has: sh tests/package/options.sh $1 --write" >&2; exit 1; }
failed=0
sed -n 's/^| `\([a-z0-9_]*\)` | \([^|]*\) |.*/\1 \2/p' "$work/table" >"$work/names"
while read -r name usual; do
    case $usual in [0-9]* | evict | lk) ;; *) usual= ;; esac
    grep -qE "^ \* .*\b$name\b *,? *.*$usual" "$root/include/latchkey.h" ||
        { echo "include/latchkey.h does not list the option $name, default $usual" >&2; failed=1; }
done <"$work/names"
exit $failed
