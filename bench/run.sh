#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, runs every benchmark, and renews bench/results and the tables of bench/README.md.
set -eu
unset CDPATH # with it, cd prints where it went

usage() {
    cat <<'END'
usage: sh bench/run.sh [--only NAME] [--short] [BENCHMARK OPTIONS]

  without options   every benchmark once, some quarter of an hour; writes bench/results/*.json and *.svg, and the tables in
                    bench/README.md
  --only NAME       one of them: article (two minutes), l1 (two and a half), server (seven), http (two), nginx (three),
                    ttl (two), hygiene (three), hot (two),
                    scripts (half), ffi (one: other languages), stores (two) or cluster (one)
  --runs N          l1 so often, one run after the other (1): which of its goals are met in all of them?
  --build DIR       the benchmarks that are built there already, instead of building them into build-bench
  --short           a minute and few sessions, into a temporary directory that is removed: does everything still run?
                    Changes no tracked file
  --help            this

Other options go to the benchmark that is named, or to the first: build-bench/bench/latchkey-bench-article --help lists
them. For figures worth keeping use --repeat 3.
END
}

build=build-bench built= short= only= runs=1 command="sh bench/run.sh${*:+ $*}"
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    case $argument in
    --help) usage; exit 0 ;;
    --only)
        [ "$count" -gt 0 ] || { usage >&2; exit 2; }
        only=$1
        shift
        count=$((count - 1))
        ;;
    --build)
        [ "$count" -gt 0 ] || { usage >&2; exit 2; }
        build=$(cd "$1" && pwd) built=yes
        shift
        count=$((count - 1))
        ;;
    --runs)
        runs=${1-}
        case $runs in [1-9] | [1-9][0-9]) ;; *) usage >&2; exit 2 ;; esac
        shift
        count=$((count - 1))
        ;;
    *)
        [ "$argument" != --short ] || short=yes
        set -- "$@" "$argument" # the benchmark's
        ;;
    esac
done
case $only in
'' | article | l1 | server | http | nginx | ttl | hygiene | hot | scripts | ffi | stores | cluster) ;;
*) echo "there is no benchmark '$only'" >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
sh tests/need.sh build-essential cmake pkg-config libhiredis-dev libsodium-dev libxxhash-dev libssl-dev redis-server \
    nginx nginx-dev libnginx-mod-http-lua curl python3 python3-matplotlib g++ libtbb-dev liburcu-dev libck-dev libglib2.0-dev liblmdb-dev libevent-dev wrk \
    redis-tools util-linux memcached libmemcached-dev postgresql libpq-dev python3-dev python3-setuptools python3-flask python3-flask-session python3-redis gunicorn luajit2
sh tests/need_languages.sh

# The first python3 of PATH need not be the system's, for which Debian's matplotlib is.
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import matplotlib' 2>/dev/null; then python=$candidate && break; fi
done
[ -n "$python" ] || { echo "no python3 has matplotlib" >&2; exit 1; }

if [ -z "$built" ]; then
    cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DLATCHKEY_BENCH=ON -DLATCHKEY_NGINX=ON >/dev/null
    cmake --build "$build" --parallel "$(nproc)" >/dev/null
fi

results=bench/results
temporary=$(mktemp -d)
# The benchmark ends its own servers when it is interrupted.
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -z "$short" ] || results=$temporary
mkdir -p "$results"

# run NAME PROGRAM OPTIONS...: first into the temporary directory: a run that fails leaves the results as they were.
run() {
    name=$1
    shift
    "$@" --json "$temporary/new.json"
    mv "$temporary/new.json" "$results/$name.json"
}

# report NAME PROGRAM OPTIONS...: its plots, and its tables into bench/README.md.
report() {
    name=$1
    shift
    if [ -n "$short" ]; then
        "$@" --svg "$results" >"$temporary/$name.tables"
    else
        "$@" --svg "$results" --readme bench/README.md --command "$command"
    fi
}

wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

if wanted article; then
    run article "$build"/bench/latchkey-bench-article "$@"
    report article "$python" bench/support/report.py "$results/article.json"
    [ -n "$only" ] || set -- ${short:+--short} # what else there was, was for the first
fi
if wanted l1; then
    earlier=
    while [ "$runs" -gt 1 ]; do
        "$build"/bench/l1/latchkey-bench-l1 "$@" --markdown "$temporary/l1.md" --json "$temporary/l1-$runs.json"
        earlier="$earlier $temporary/l1-$runs.json"
        runs=$((runs - 1))
    done
    run l1 "$build"/bench/l1/latchkey-bench-l1 "$@" --markdown "$temporary/l1.md"
    # shellcheck disable=SC2086 # several names
    report l1 "$python" bench/l1/report_l1.py $earlier "$results/l1.json" --markdown "$temporary/l1.md"
fi
if wanted server; then
    run server "$build"/bench/load/latchkey-bench-server "$@"
    report server "$python" bench/support/report.py "$results/server.json"
fi
if wanted http; then
    run http "$python" bench/http/run.py "$build"/bench/http/latchkey-bench-http "$@"
    report http "$python" bench/support/report.py "$results/http.json"
fi
if wanted nginx; then
    run nginx "$python" bench/nginx/run.py "$build" "$@"
    report nginx "$python" bench/support/report.py "$results/nginx.json"
fi
if wanted ttl; then
    run ttl "$build"/bench/latchkey-bench-ttl "$@" >"$temporary/ttl.tables"
    [ -n "$short" ] || PYTHONPATH=bench/support "$python" -c 'import sys, report
report.put_between_markers("bench/README.md", "ttl", f"`{sys.argv[2]}`\n\n" + open(sys.argv[1]).read().rstrip())' \
        "$temporary/ttl.tables" "$command"
    "$build"/bench/latchkey-bench-ttl --commands ${short:+--short} >"$temporary/commands.tables"
    [ -n "$short" ] || PYTHONPATH=bench/support "$python" -c 'import sys, report
report.put_between_markers("bench/README.md", "commands", f"`{sys.argv[2]}`\n\n" + open(sys.argv[1]).read().rstrip())' \
        "$temporary/commands.tables" "$command"
fi
if wanted scripts; then
    run scripts "$build"/bench/latchkey-bench-scripts "$@" >"$temporary/scripts.tables"
    [ -n "$short" ] || PYTHONPATH=bench/support "$python" -c 'import sys, report
report.put_between_markers("bench/README.md", "scripts", f"`{sys.argv[2]}`\n\n" + open(sys.argv[1]).read().rstrip())' \
        "$temporary/scripts.tables" "$command"
fi
if wanted ffi; then
    sh bench/ffi/run.sh ${short:+--short} --json "$temporary/new.json"
    mv "$temporary/new.json" "$results/ffi.json"
    report ffi "$python" bench/support/report.py "$results/ffi.json"
fi
if wanted hygiene; then
    run hygiene "$build"/bench/latchkey-bench-hygiene "$@" >"$temporary/hygiene.tables"
    [ -n "$short" ] || PYTHONPATH=bench/support "$python" -c 'import sys, report
report.put_between_markers("bench/README.md", "hygiene", f"`{sys.argv[2]}`\n\n" + open(sys.argv[1]).read().rstrip())' \
        "$temporary/hygiene.tables" "$command"
fi
if wanted hot; then
    run hot "$build"/bench/latchkey-bench-hot "$@" >"$temporary/hot.tables"
    [ -n "$short" ] || PYTHONPATH=bench/support "$python" -c 'import sys, report
report.put_between_markers("bench/README.md", "hot", f"`{sys.argv[2]}`\n\n" + open(sys.argv[1]).read().rstrip())' \
        "$temporary/hot.tables" "$command"
fi
if wanted stores; then
    run stores "$python" bench/stores/run.py "$build"/bench/stores/latchkey-bench-stores "$@"
    report stores "$python" bench/support/report.py "$results/stores.json"
fi
if wanted cluster; then
    run cluster "$python" bench/cluster/run.py "$build"/bench/latchkey-bench-cluster "$@"
    report cluster "$python" bench/support/report.py "$results/cluster.json"
fi
if [ -n "$short" ]; then
    echo "benchmarks run, tables and plots made: $(cat "$temporary"/*.tables | wc -l) lines, $(ls "$results" | grep -c svg) plots"
else
    echo "renewed: $results, and the tables of bench/README.md"
fi
