#!/bin/sh
# SPDX-License-Identifier: MIT
# Says each minute for how long a step has run and how far its log says it is, until it is ended.
#   sh tests/progress.sh LOG NAME [SECONDS]
log=$1 name=$2 seconds=${3-60} passed=0
while sleep "$seconds"; do
    passed=$((passed + seconds))
    # "34/190 Test" of ctest, "[ 40%]" of make, "[12/300]" of ninja
    far=$(grep -aoE '^ *[0-9]+/[0-9]+ Test|^\[ *[0-9]+%\]|^\[[0-9]+/[0-9]+\]' "$log" 2>/dev/null | tail -n 1 | tr -d '[] ' | sed 's/Test//')
    printf '  ... %s: %s s so far%s\n' "$name" "$passed" "${far:+, $far}"
done
