#!/bin/sh
# SPDX-License-Identifier: MIT
# Says each minute, on the line that stands, for how long a step has run and how far its log says it is, until it is ended.
#   sh tests/progress.sh LOG [SECONDS]
log=$1 seconds=${2-60} passed=0
while sleep "$seconds"; do
    passed=$((passed + seconds))
    # "34/190 Test" of ctest, "[ 40%]" of make, "[12/300]" of ninja
    far=$(grep -aoE '^ *[0-9]+/[0-9]+ Test|^\[ *[0-9]+%\]|^\[[0-9]+/[0-9]+\]' "$log" 2>/dev/null | tail -n 1 | tr -d '[] ' | sed 's/Test//')
    printf '(%s s%s) ' "$passed" "${far:+, $far}"
done
