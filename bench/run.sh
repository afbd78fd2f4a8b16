#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, runs every benchmark, and renews bench/results and the tables of bench/README.md.
set -eu

usage() {
    cat <<'END'
usage: sh bench/run.sh [--short] [BENCHMARK OPTIONS]

  without options   every benchmark once, some five minutes; writes bench/results/*.json and *.svg, and the tables in
                    bench/README.md
  --short           a few seconds and 2,000 sessions, into a temporary directory that is removed: does everything
                    still run? Changes no tracked file
  --help            this

Other options go to the first benchmark: build-bench/bench/latchkey-bench-article --help lists them. For figures worth
keeping use --repeat 3.
END
}

short=
case " $* " in
*" --help "*) usage; exit 0 ;;
*" --short "*) short=yes ;;
esac
command="sh bench/run.sh${*:+ $*}"

cd "$(dirname "$0")/.."
sh tests/need.sh build-essential cmake pkg-config libhiredis-dev libsodium-dev libxxhash-dev libssl-dev redis-server \
    python3 python3-matplotlib g++ libtbb-dev liburcu-dev libck-dev libglib2.0-dev liblmdb-dev

# The first python3 of PATH need not be the system's, for which Debian's matplotlib is.
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import matplotlib' 2>/dev/null; then python=$candidate && break; fi
done
[ -n "$python" ] || { echo "no python3 has matplotlib" >&2; exit 1; }

cmake -S . -B build-bench -DCMAKE_BUILD_TYPE=Release -DLATCHKEY_BENCH=ON >/dev/null
cmake --build build-bench --parallel "$(nproc)" >/dev/null

results=bench/results
temporary=$(mktemp -d)
# The benchmark ends its own servers when it is interrupted.
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -z "$short" ] || results=$temporary
mkdir -p "$results"

# First into the temporary directory: a run that fails leaves the results as they were.
build-bench/bench/latchkey-bench-article "$@" --json "$temporary/new.json"
mv "$temporary/new.json" "$results/article.json"
build-bench/bench/l1/latchkey-bench-l1 ${short:+--short} --json "$temporary/new.json" --markdown "$temporary/l1.md"
mv "$temporary/new.json" "$results/l1.json"
if [ -n "$short" ]; then
    "$python" bench/l1/report_l1.py "$results/l1.json" --svg "$results"
    "$python" bench/report.py "$results/article.json" --svg "$results" >"$results/article.md"
    echo "benchmarks run, tables and plots made: $(wc -l <"$results/article.md") and $(wc -l <"$temporary/l1.md") lines, $(ls "$results" | grep -c svg) plots"
else
    "$python" bench/report.py "$results/article.json" --svg "$results" --readme bench/README.md --command "$command"
    "$python" bench/l1/report_l1.py "$results/l1.json" --svg "$results" --markdown "$temporary/l1.md" --readme bench/README.md --command "$command"
    echo "renewed: $results, and the tables of bench/README.md"
fi
