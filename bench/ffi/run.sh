#!/bin/sh
# SPDX-License-Identifier: MIT
# What a session check costs in each language, beside C and beside what people use there today. One JSON file, with a row for each.
#   sh bench/ffi/run.sh [--short] --json FILE [LANGUAGE...]      (all of bench/ffi/*)
#
# `sh bench/ffi/LANGUAGE/run.sh DIR` is called with what tests/bindings gives to a test (tests/bindings/README.md), DIR holding the binding,
# and LATCHKEY_CALLS, how many hits make a round, and LATCHKEY_REQUESTS. It prints rows, "-" for what does not apply, divided by tabs:
#   row  WHAT  NANOSECONDS A HIT  MICROSECONDS A REQUEST  REDIS COMMANDS A REQUEST  VERSIONS
# The figure of a row is the median of at least five rounds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
json= languages= type=-DCMAKE_BUILD_TYPE=Release
export LATCHKEY_CALLS=1000000 LATCHKEY_REQUESTS=5000
while [ $# -gt 0 ]; do
    case $1 in
    --short) LATCHKEY_CALLS=20000 LATCHKEY_REQUESTS=200 type= ;; # as the tests build it, so that it may be built already
    --json) json=$2 && shift ;;
    *) languages="$languages $1" ;;
    esac
    shift
done
[ -n "$json" ] || { echo "usage: sh bench/ffi/run.sh [--short] --json FILE [LANGUAGE...]" >&2; exit 2; }
[ -n "$languages" ] || languages=$(cd "$here" && for each in */run.sh; do dirname "$each"; done)
work=$(mktemp -d)
. "$root/tests/support/redis.sh"
. "$root/tests/support/prefix.sh"
trap 'redis_end; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
prefix_install "$root" "$work/library" $type
mkdir "$work/redis"
redis_start "$work/redis"
export LATCHKEY_REDIS_SOCKET="$redis_socket" LATCHKEY_REDIS_PID="$redis_pid"
export PYTHON=/usr/bin/python3 PYTHONDONTWRITEBYTECODE=1 # Debian's, which has Debian's packages
: >"$work/rows"
for language in $languages; do
    export LATCHKEY_WORK="$work/$language"
    mkdir -p "$LATCHKEY_WORK/built"
    [ ! -e "$root/src/bindings/$language/build.sh" ] ||
        sh "$root/src/bindings/$language/build.sh" "$LATCHKEY_WORK/built" >"$LATCHKEY_WORK/build.log" 2>&1 ||
        { cat "$LATCHKEY_WORK/build.log" >&2; exit 1; }
    sh "$here/$language/run.sh" "$LATCHKEY_WORK/built" >"$LATCHKEY_WORK/said" 2>"$LATCHKEY_WORK/complained" ||
        { cat "$LATCHKEY_WORK/said" "$LATCHKEY_WORK/complained" >&2; echo "$language failed" >&2; exit 1; }
    # Each language says something, and nothing that is not a row of six columns.
    awk -F '\t' -v language="$language" 'NF != 6 || $1 != "row" { bad = 1; print "not a row: " $0 > "/dev/stderr" }
        { $1 = language; print } END { exit bad || !NR }' OFS='\t' "$LATCHKEY_WORK/said" >>"$work/rows" ||
        { echo "$language: it says no rows" >&2; exit 1; }
done
python3 - "$work/rows" "$(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/')" >"$json" <<'PYTHON'
import json, os, platform, sys
number = lambda text: None if text == "-" else float(text)
with open(sys.argv[1], encoding="utf-8") as file:
    rows = [line.rstrip("\n").split("\t") for line in file]
with open("/proc/cpuinfo", encoding="utf-8") as file:
    processor = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
json.dump({"benchmark": "ffi",
           "machine": {"processor": processor, "cores": os.cpu_count(), "kernel": platform.release(), "redis": sys.argv[2],
                       "load": os.getloadavg()[0]},
           "calls": int(os.environ["LATCHKEY_CALLS"]), "requests": int(os.environ["LATCHKEY_REQUESTS"]),
           "rows": [{"language": row[0], "what": row[1], "hit_ns": number(row[2]), "request_us": number(row[3]),
                     "commands": number(row[4]), "versions": row[5]} for row in rows]}, sys.stdout, indent=1)
print()
PYTHON
