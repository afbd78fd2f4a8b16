#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes the processor seconds of a run's steps into the table of tests/README.md: what tests/run.sh printed comes from standard input.
#   sh tests/run.sh | tee run.txt && sh tests/times.sh <run.txt
# A row's first cell is the beginning of a step's name, between `backquotes`. A row whose step did not run stays as it is.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/run"
awk -v steps="$work/run" '
    BEGIN { while ((getline line <steps) > 0) if (match(line, /, cpu [0-9]+ s$/)) seconds[line] = substr(line, RSTART + 6, RLENGTH - 8) }
    /<!-- times:begin -->/ { inside = 1 }
    /<!-- times:end -->/ { inside = 0 }
    inside && /^\| `/ {
        name = $0
        sub(/^\| `/, "", name)
        sub(/`.*/, "", name)
        sum = -1
        for (line in seconds) if (index(line, name) == 1 && substr(line, length(name) + 1, 1) ~ /[ ,:]/) sum = (sum < 0 ? 0 : sum) + seconds[line]
        if (sum >= 0) sub(/\| [^|]* \|$/, "| " sum " |")
    }
    { print }' README.md >"$work/readme"
cat "$work/readme" >README.md
