#!/bin/sh
# SPDX-License-Identifier: MIT
# Real instances, a real Redis, and every fault between them: builds, tests the tests, runs the rows, prints the table.
set -eu
unset CDPATH # with it, cd prints where it went
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1
build= out=$root/build-faults/results help=
for word in "$@"; do
    case $word in
    -h | --help | --list) help=yes ;;
    --build | --build=*) build=given ;;
    esac
done
[ -z "$help" ] || exec python3 "$here/run.py" "$@"

sh "$root/tests/need.sh" build-essential cmake pkg-config libhiredis-dev libsodium-dev libxxhash-dev libssl-dev libcmocka-dev liblua5.1-0-dev \
    redis-server python3 faketime iproute2
if [ -z "$build" ]; then
    mkdir -p "$root/build-faults"
    log=$root/build-faults/log
    echo "building in ${root##*/}/build-faults"
    { cmake -S "$root" -B "$root/build-faults" -DLATCHKEY_WERROR=ON -DLATCHKEY_TESTS=ON &&
        cmake --build "$root/build-faults" --parallel "$(nproc)" \
            --target latchkey_fault_proxy --target latchkey_fault_instance; } >"$log" 2>&1 || { cat "$log"; exit 1; }
    set -- --build "$root/build-faults/tests/faults" "$@"
fi
exec python3 "$here/run.py" --out "$out" "$@"
