#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the fuzzers (clang, libFuzzer, AddressSanitizer, UndefinedBehaviorSanitizer) and runs each: first over its whole
# corpus, then for a short time from there. Ends with one line, "N passed, M failed".
set -eu

all='token record resp config handshake pulse slots link'
usage() {
    cat <<TEXT
sh tests/fuzz/run.sh [--seconds N] [--target NAME] [--build DIRECTORY] [--minimise]

  --seconds N    fuzz each target for so long (5); 0: the corpus alone
  --target NAME  only this one of $all
  --build DIR    where to build (build-fuzz)
  --minimise     afterwards, take into tests/fuzz/corpus what reaches code that nothing there does
  --help         this

The input that a target fails on is kept, and its path printed with the command that replays it.
TEXT
}

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-fuzz seconds=5 targets="$all" minimise=
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 && shift 2 ;;
    --target) targets=$2 && shift 2 ;;
    --build) build=$2 && shift 2 ;;
    --minimise) minimise=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

mkdir -p "$build"
build=$(cd "$build" && pwd)
if ! { cmake -S "$root" -B "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=None "-DCMAKE_C_FLAGS=-O1 -g1" -DLATCHKEY_FUZZ=ON \
    -DLATCHKEY_CLI=OFF -DLATCHKEY_WERROR=ON &&
    cmake --build "$build" --parallel "$(nproc)"; } >"$build/build.log" 2>&1; then
    tail -n 50 "$build/build.log"
    echo "0 passed, 1 failed"
    exit 1
fi

export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0
export UBSAN_OPTIONS=print_stacktrace=1
passed=0 failed=0 crashes=$build/crashes
mkdir -p "$crashes"

# run NAME WHAT OPTIONS...: one run of a target; a minute for one input, or 2 GB, is a failure.
run() {
    name=$1 what=$2 log=$build/$1-$2.log
    shift 2
    code=0
    "$build/tests/fuzz/fuzz_$name" -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$crashes/$name-" "$@" >"$log" 2>&1 </dev/null || code=$?
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" = 0 ] && [ "${executed:-0}" -gt 1 ]; then
        passed=$((passed + 1))
        printf '%-8s %-8s ok, %s inputs\n' "$name" "$what" "$executed"
        return
    fi
    failed=$((failed + 1))
    printf '%-8s %-8s FAILED\n' "$name" "$what"
    tail -n 60 "$log"
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    [ -z "$input" ] || printf 'the input is kept: %s\nreplay it with:    %s %s\n' "$input" \
        "$build/tests/fuzz/fuzz_$name" "$input"
}

# minimise NAME: of what was found, what reaches code that the inputs with names of their own do not. Those stay.
minimise() {
    small=$build/$1.small
    rm -rf "$small" && mkdir "$small"
    for input in "$corpus"/*; do
        basename "$input" | grep -Eqx '[0-9a-f]{40}' || cp "$input" "$small"
    done
    "$build/tests/fuzz/fuzz_$1" -merge=1 -use_counters=0 "$small" "$corpus" "$found" >"$build/$1-merge.log" 2>&1 </dev/null
    rm -rf "$corpus" && mv "$small" "$corpus"
}

for target in $targets; do
    corpus=$root/tests/fuzz/corpus/$target found=$build/corpus/$target
    if [ ! -x "$build/tests/fuzz/fuzz_$target" ] || [ ! -d "$corpus" ]; then
        echo "there is no target '$target'" && failed=$((failed + 1))
        continue
    fi
    mkdir -p "$found"
    dict=$root/tests/fuzz/$target.dict
    set --
    [ ! -f "$dict" ] || set -- "-dict=$dict"
    run "$target" corpus -runs=0 "$corpus"
    [ "$seconds" = 0 ] || run "$target" fuzz "-max_total_time=$seconds" "$@" "$found" "$corpus"
    [ -z "$minimise" ] || minimise "$target"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
