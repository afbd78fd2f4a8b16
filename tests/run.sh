#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, and tests everything. Ends with one line, "N passed, M failed".
set -eu
unset CDPATH # with it, cd prints where it went

usage() {
    cat <<'TEXT'
sh tests/run.sh [--quick | --long | --only PART]

  Everything that a commit needs. Each test runs where it can find something:
    gcc, as released      unit tests, the simulation, two in three of the system tests, half of those of the command
    clang                 all programs compile without a warning
    AddressSanitizer and UndefinedBehaviorSanitizer   the other system tests, one in three of the unit tests, the nth call failing
    ThreadSanitizer       one in four of the programs that use several threads
    valgrind              what parses what comes from outside
  Then: L1 in every order of memory, or fuzzers; the model of the lease, or mutants of the simulation; faults between real instances;
  exported symbols; the layers of src; documents, their links and programs; the installed library in strangers' projects and in a
  bare Debian; the examples; short benchmarks. What is long is taken in turns, by the commit. tests/README.md says what each part
  proves, and how long it takes.

  --long    all of that without turns, each test as released and under AddressSanitizer, each of several threads under
            ThreadSanitizer, a minute for each fuzzer, and five minutes of the soak; only the mutants stay four
  --quick   gcc alone: unit tests and the core of the system tests
  --only    one part alone: text, gcc, sanitizers, proofs, bindings (the library from other languages) or users
  --help    this

Ends with the ten slowest tests and one line, "N passed, M failed", which counts single tests and steps, and with status 0 only
when M is 0. Nothing is left out silently: a missing tool is a failure. Logs stay in build-tests/logs. Servers listen on loopback
or on unix sockets, on free ports, and are ended whatever happens; two runs at once do not disturb each other.
TEXT
}

quick= long= only= soak=20 fuzz=5
case ${1-} in
'') ;;
--quick) quick=yes ;;
--long) long=yes soak=300 fuzz=60 ;;
--only)
    only=${2-}
    case $only in text | gcc | sanitizers | proofs | bindings | users) ;; *) echo "--only '$only': there is no such part" >&2 && usage >&2 && exit 2 ;; esac
    ;;
-h | --help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

passed=0 failed=0 child= ticker= lanes=
began=$(date +%s)
end_step() {
    [ -z "$child" ] || kill -s TERM -- "-$child" 2>/dev/null || :
    [ -z "$ticker" ] || kill -s TERM -- "-$ticker" "$ticker" 2>/dev/null || :
}
finish() {
    status=$?
    trap '' INT TERM HUP
    end_step
    for lane in $lanes; do kill -s TERM "$lane" 2>/dev/null && wait "$lane" || :; done
    [ -z "${TMPDIR-}" ] || rm -rf "$TMPDIR"
    [ -z "${temporary_build-}" ] || [ "$failed" -gt 0 ] || rm -rf "$build"
    exit "$status"
}
TMPDIR=
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

sh tests/need.sh build-essential cmake pkg-config clang libclang-rt-14-dev clang-format libhiredis-dev libsodium-dev \
    libxxhash-dev libssl-dev postgresql libcmocka-dev liblua5.1-0-dev libmicrohttpd-dev libevent-dev wrk redis-server redis-tools curl python3 perl valgrind prometheus util-linux \
    php-cli php-redis php-illuminate-redis php-illuminate-session php-illuminate-cache php-illuminate-encryption ruby ruby-redis-actionpack \
    python3-django python3-django-redis python3-flask-session python3-redis python3-msgpack \
    python3-dev python3-setuptools python3-wheel python3-flask python3-fastapi mypy gunicorn uvicorn luajit2 libuv1-dev libasio-dev \
    faketime locales groff-base openssl ccache debootstrap spin qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
    nginx nginx-dev caddy haproxy libnginx-mod-http-lua ninja-build
sh tests/need_languages.sh

# A run that finds build-tests in use by another takes a directory of its own.
build=$root/build-tests
mkdir -p "$build"
exec 9>"$build/.lock"
if ! flock -n 9; then
    build=$root/build-tests.$$
    temporary_build=yes
    mkdir -p "$build"
fi
logs=$build/logs
rm -rf "$logs"
mkdir -p "$logs"
TMPDIR=$(mktemp -d /tmp/latchkey-XXXXXX)
export TMPDIR
jobs=$(nproc)
parallel=$((5 * jobs)) # most tests wait most of the time
export ASAN_OPTIONS=detect_leaks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=die_after_fork=0:second_deadlock_stack=1
export PYTHONDONTWRITEBYTECODE=1
# What is built here, by whichever script, is built by ninja, and shares its objects with what was built before.
export CMAKE_GENERATOR=Ninja CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_NOHASHDIR=1 CC=gcc CXX=g++

# ------------------------------------------------------------------------------------------------- steps --
# run LOG COMMAND...: in a session of its own, so that what it starts can be ended with it; its status.
run() {
    log=$1
    shift
    setsid sh -c 'times=$1 && shift && code=0 && { "$@" || code=$?; } && times >"$times" && exit "$code"' - "$log.times" "$@" \
        >"$log" 2>&1 </dev/null 9>&- &
    child=$!
    setsid sh tests/progress.sh "$log" "$name" 9>&- &
    ticker=$!
    code=0
    wait "$child" || code=$?
    child=
    kill -s TERM -- "-$ticker" "$ticker" 2>/dev/null || :
    wait "$ticker" 2>/dev/null || :
    ticker=
    return "$code"
}

# By the clock, and the processor time of the step alone, which depends less on what runs beside it.
took() {
    echo "$(($(date +%s) - step_began)) s, cpu $(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, "m"); sum += t[1] * 60 + t[2] } }
        END { printf "%.0f", sum }' "$log.times" 2>/dev/null) s"
}

# said NAME RESULT: the line of a step, and what comes from standard input; whole, whatever runs beside it.
said() { { printf '%-58s %s\n' "$1" "$2" && cat; } | flock "$logs/.said" cat; }

# The slowest tests of all that ctest ran here, and where.
slowest() {
    for file in "$logs"/tests-*.log; do
        [ ! -f "$file" ] || awk -v where="$(basename "$file" .log)" '
            / Test +#[0-9]+: / { for (i = 1; i <= NF; i++) if ($i == "sec") print $(i - 1), $0 ~ /Test +#/ ? name($0) : "", where }
            function name(line) { sub(/.*Test +#[0-9]+: /, "", line); sub(/ .*/, "", line); return line }' "$file"
    done | sort -rn | head -n 10 | while read -r seconds name where; do printf '  %6.1f s  %-32s %s\n' "$seconds" "$name" "$where"; done
}
show() {
    echo "------------------------------------------------------------ the end of $1"
    tail -n 120 "$1"
    echo "------------------------------------------------------------"
}

# step NAME COMMAND...: counts as one. Returns its status.
step() {
    name=$1
    step_began=$(date +%s)
    step_log=$logs/$(echo "$name" | tr -c 'a-zA-Z0-9\n' -).log
    shift
    if run "$step_log" "$@"; then
        passed=$((passed + 1))
        said "$name" "ok, $(took)" </dev/null
        return 0
    fi
    failed=$((failed + 1))
    show "$step_log" | said "$name" "FAILED, $(took)"
    return 1
}

# Counts what cmocka said, program by program; a program that failed without naming a test counts as one.
count() {
    awk '
        /^[0-9]+\/[0-9]+ Test: /                               { named = 0 }
        /^\[  PASSED  \] [0-9]+ test\(s\)\./                   { passed += $4 }
        /^\[  FAILED  \] [0-9]+ test\(s\), listed below:/      { failed += $4; named = 1 }
        /^(Test Failed|Test timeout|Test Not Run|.*\*\*\*)/    { if (!named) failed++; named = 1 }
        END                                                    { print passed + 0, failed + 0 }' "$1"
}

# What each program that failed said, of what ctest keeps of all of them: the end of it.
show_failed() {
    echo "------------------------------------------------------------ what failed"
    awk '
        /^[0-9]+\/[0-9]+ Test: / { count = 0 }
                                 { line[count++] = $0 }
        /^(Test Failed|Test timeout|Test Not Run|.*\*\*\*)/ {
            for (i = count > 80 ? count - 80 : 0; i < count; i++) print line[i]
            count = 0
        }' "$1" | tail -n 400
    echo "------------------------------------------------------------"
}

# again CODE PASSED FAILED: what failed beside the others runs once more, alone, since a machine may be slow. What failed is said in any
# case. What a sanitizer reported is not tried again. Into $counted and $code.
again() {
    code=$1 counted="$2 $3"
    last=$tested/Testing/Temporary/LastTest.log
    if [ "$1" = 0 ] || [ "$3" = 0 ] || [ "$3" -gt 8 ] || grep -qE 'Sanitizer|runtime error' "$last"; then return 0; fi
    {
        grep -E '^[0-9 ]+/[0-9]+ Test .*(Failed|Timeout|Exception)' "$step_log" || :
        show_failed "$last"
    } | said "$name" "$3 FAILED beside the others, and are run again, alone"
    code=0
    run "$step_log.again" ctest --test-dir "$tested" --rerun-failed --output-on-failure || code=$?
    bad=$(count "$last" || echo 0 1)
    bad=${bad#* }
    counted="$(($2 + $3 - bad)) $bad"
}

# tests NAME BUILD [CTEST OPTIONS]: runs a build's tests and counts the single ones.
tests() {
    name=$1
    step_began=$(date +%s)
    step_log=$logs/$(echo "$name" | tr -c 'a-zA-Z0-9\n' -).log
    tested=$2
    shift 2
    code=0
    rm -f "$tested"/Testing/Temporary/LastTest.log
    run "$step_log" ctest --test-dir "$tested" --output-on-failure --parallel "$parallel" "$@" || code=$?
    set -- $(count "$tested/Testing/Temporary/LastTest.log" || echo 0 1)
    again $code "$@"
    set -- $counted
    # ctest and the count must agree on whether anything failed, and something must have run.
    if [ "$code" != 0 ] && [ "$2" = 0 ] || [ "$1" = 0 ]; then set -- "$1" $(($2 + 1)); fi
    passed=$((passed + $1)) failed=$((failed + $2))
    if [ "$2" = 0 ]; then
        said "$name" "$1 passed, $(took)" </dev/null
    else
        {
            grep -E '^[0-9 ]+/[0-9]+ Test .*(Failed|Timeout|Exception|Not Run)' "$step_log" || :
            show_failed "$tested/Testing/Temporary/LastTest.log"
        } | said "$name" "$1 passed, $2 FAILED, $(took)"
    fi
}

# inject N COMMAND...: of the failures that are injected one in N, and which ones: not by what decides whether they run at all.
inject() {
    export LATCHKEY_INJECT="${chosen_inject:-$(one_in "$1")+$((0x$commit / 12))}"
    shift
    "$@"
}

# compile NAME TARGETS CMAKE OPTIONS...: into $build/NAME.
compile() {
    into=$1 targets=$2
    shift 2
    step "build: $into" sh -c '
        build=$1 root=$2 jobs=$3 targets=$4
        shift 4
        cmake -S "$root" -B "$build" -DLATCHKEY_WERROR=ON -DLATCHKEY_TESTS=ON "$@" &&
            cmake --build "$build" --parallel "$jobs" --target $targets' - "$build/$into" "$root" "$jobs" "$targets" "$@"
}

# lane FUNCTION: runs the steps of it beside the others; most wait most of the time, or keep one processor busy.
lane() {
    counts="${counts-} $logs/.$1"
    (
        passed=0 failed=0 child= ticker= lanes= mine=$logs/.$1
        trap 'trap "" INT TERM HUP; end_step; echo "$passed $failed" >"$mine"' EXIT
        trap 'exit 143' INT TERM HUP
        "$1"
    ) &
    lanes="$lanes $!"
}
# Waits for the lanes, and counts what they counted.
lanes_end() {
    for lane in $lanes; do wait "$lane" || failed=$((failed + 1)); done
    lanes=
    for file in $counts; do
        read -r lane_passed lane_failed <"$file"
        passed=$((passed + lane_passed)) failed=$((failed + lane_failed))
    done
}

# What is long and rarely finds anything is taken in turns: a run takes one in N of it, and the commit says which, so that in time all
# are taken, and everybody who tests this commit takes the same. With --long all are taken. On a slow machine N is three times as large.
turns=1
chosen_inject=${LATCHKEY_INJECT-}
commit=$(git rev-parse --short=7 HEAD 2>/dev/null) || commit=$(printf '%x' "$began")
# one_in N: how many in all
one_in() { if [ -n "$long" ]; then echo 1; else echo $(($1 * turns)); fi; }
# choose N: of the lines of standard input one in N, and one at least
choose() {
    awk -v n="$(one_in "$1")" -v commit="$((0x$commit))" '
        { line[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) if ((i + commit) % n == 0) { print line[i]; any = 1 }
            if (!any && NR) print line[commit % NR + 1]
        }'
}
# names BUILD LABEL: of tests; joined: as a regular expression
names() { ctest --test-dir "$1" -N -L "$2" | sed -n 's/^ *Test *#[0-9]*: *//p'; }
# programs: of those tests, as targets; some run twice, sealed or on a cluster
programs() { sed -E 's/^(system_.*)_(sealed|cluster)$/\1/; s/^(system_lies)_.*/\1/; s/^inject_.*/inject_faults/; s/^cli_.*/latchkey_cli latchkey_cli_app/' | sort -u; }
joined() { echo "^($(tr '\n' '|' | sed 's/|$//'))\$"; }

# How long it will take is what it took here the last time.
took_file=$build/.took${quick:+-quick}${long:+-long}${only:+-$only}
if [ -s "$took_file" ]; then expected="the last time it took $(($(cat "$took_file") / 60 + 1)) min"
elif [ -n "$quick" ]; then expected='some minutes'
else expected='a quarter of an hour on two quiet cores, as a rule'; fi
echo "latchkey: ${only:-all} tests$([ -z "$quick" ] || echo ', the quick half'): $expected; logs in ${logs#"$root"/}"
[ -n "$quick$only" ] || echo "(sh tests/run.sh --quick is gcc alone, without sanitizers, and takes a few minutes)"

# ------------------------------------------------------------------------------------------------- the parts --
if ! step "everything that is needed is here" sh tests/ready.sh ${quick:+--quick}; then
    echo "nothing was tested: give it what is missing, and start again"
    echo "$passed passed, $failed failed"
    exit 1
fi

part_text() {
    step "format" sh tests/package/format.sh || :
    step "layers: what may include what" sh tests/package/layers.sh || :
    step "layers: each broken rule is noticed" sh tests/package/test_layers.sh || :
    step "words: plain words, and atomics with their order" sh tests/package/words.sh || :
    step "the header alone, C11 and C++17, gcc and clang" sh tests/package/api/header.sh || :
    step "the programs of the documents compile" sh tests/package/readme.sh || :
    step "the links of the documents" python3 tests/package/links.py || :
}

# What runs under AddressSanitizer when it is its turn. A system test then does not run as released.
sanitized() { { names "$1" 'system|unit' && echo cli_import; } | choose 3; }
part_gcc() {
    if [ -n "$quick" ]; then tests "tests: gcc" "$build/gcc" -L 'unit|api|core'
    elif [ -n "$long" ]; then tests "tests: gcc" "$build/gcc"
    else
        names "$build/gcc" 'system|cli' >"$logs/.all"
        sanitized "$build/gcc" >"$logs/.address"
        { names "$build/gcc" system | choose 1 && names "$build/gcc" cli | choose 2; } | grep -vxFf "$logs/.address" >"$logs/.released"
        tests "tests: gcc" "$build/gcc" -LE inject -E "$(grep -vxFf "$logs/.released" "$logs/.all" | joined)"
    fi
    step "exported symbols" sh tests/package/api/symbols.sh "$build/gcc/src/liblatchkey.so" || :
}

# What sanitizers are given is little optimised: it compiles in half the time, and what they find does not depend on it.
piece_address() {
    which=$(printf '%s\n' servers nginx | choose 2)
    targets=all
    if [ -z "$long" ] && [ -n "$built" ]; then
        targets="latchkey latchkey_cli latchkey_cli_app latchkey_clock_shift inject_faults api_constants api_unload latchkey_options $(sanitized "$build/gcc" | programs)"
        case $which in *servers*) targets="$targets examples/all" ;; esac
        case $which in *nginx*) targets="$targets ngx_http_latchkey_module" ;; esac
    fi
    if compile address "$targets" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=None -DLATCHKEY_EXAMPLES=ON -DLATCHKEY_NGINX=ON \
        -DLATCHKEY_SANITIZE=address,undefined "-DCMAKE_C_FLAGS=-O1 -g1 -fno-sanitize-recover=all"; then
        # The simulation's worlds and the command are looked at as released, above: what they run runs here as well.
        if [ -n "$long" ]; then set -- ; else
            names "$build/address" 'system|unit|cli' >"$logs/.all-address"
            sanitized "$build/address" >"$logs/.here"
            set -- -LE sim -E "$(grep -vxFf "$logs/.here" "$logs/.all-address" | joined)"
        fi
        inject 8 tests "tests: AddressSanitizer, UndefinedBehaviorSanitizer" "$build/address" "$@"
    fi
    case $which in *servers*) step "the HTTP servers under load, AddressSanitizer" sh tests/package/examples.sh "$build/address" --servers || : ;; esac
    case $which in *nginx*) step "nginx: the module, AddressSanitizer" sh tests/nginx/run.sh "$build/address" access browsers config content faults status || : ;; esac
}

piece_thread() {
    targets=latchkey_threads evented=$(printf '%s\n' evented '' | choose 2)
    [ -z "$built" ] || targets=$(names "$build/gcc" threads | choose 4 | programs)
    if compile thread "$targets ${evented:+latchkey-server-evented}" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=None \
        -DLATCHKEY_EXAMPLES=ON -DLATCHKEY_SANITIZE=thread "-DCMAKE_C_FLAGS=-O1 -g1"; then
        inject 24 tests "tests: ThreadSanitizer" "$build/thread" -R "$(names "$build/thread" threads | choose 4 | joined)"
    fi
    [ -z "$evented" ] || step "the evented server under load, ThreadSanitizer" python3 tests/http/load.py "$build/thread" --seconds 1 \
        --only evented || :
}

part_sanitizers() {
    piece_address
    piece_thread
}

piece_clang() { step "no warning by clang, and none without assert" python3 tests/package/clang.py "$build/gcc" "$(one_in 3)+0x$commit" || :; }
# Two pieces that are not like each other, but each rarely finds anything.
piece_weak_or_fuzzers() {
    for which in $(printf '%s\n' weak fuzzers | choose 2); do "piece_$which"; done
}
piece_weak() { step "L1's reads in every order of memory, and on arm64" sh tests/proof/weak/run.sh || :; }
# The same. Which half of the model it is must not depend on what decides whether it is the model's turn: the last bit.
piece_model_or_mutants() {
    for which in $(printf '%s\n' mutants model | choose 2); do "piece_$which"; done
}
piece_model() { step "model: ticket, lease and replay" sh tests/proof/model/run.sh --some "$(one_in 2)+$((0x$commit / 2))" || :; }
piece_fuzzers() { step "fuzzers, $fuzz s each" sh tests/fuzz/run.sh --build "$build/fuzz" --seconds "$fuzz" || :; }
piece_faults() {
    step "faults: real instances, a real Redis" sh tests/faults/run.sh --build "$build/gcc/tests/faults" \
        --out "$build/faults" --some "$(one_in 2)+0x$commit" ${long:+--long} || :
    step "what proves the faults' rows still applies" python3 tests/faults/prove.py --list || :
}
piece_mutants() { step "the simulation notices what is broken" sh tests/proof/sim/mutants.sh --short || :; }
piece_valgrind() { step "valgrind, some of the tests" sh tests/valgrind.sh "$build/gcc" "$(one_in 3)+0x$commit" || :; }
proofs='clang weak_or_fuzzers model_or_mutants faults valgrind'

piece_installed() { step "installed: strangers' projects" sh tests/package/install/run.sh || :; }
piece_bindings() {
    step "bindings: one list, every language" sh tests/bindings/run.sh $(cd tests/bindings && ls -d */run.sh | cut -d/ -f1 | choose 3) || :
}
# The library takes from hiredis how commands are written, and nothing else.
piece_hiredis() {
    step "hiredis 1.x" sh tests/package/hiredis.sh "$build/hiredis" unit_resp unit_conn unit_mux unit_async_conn system_life \
        system_fields system_submit || :
}
piece_valkey() {
    valkey='life|durability|fields|sections|users|access|changes|rotation|everyone|replay|incarnation|limits|keys|foreign|seal|events|servers|scripts|map|moving'
    rows='--row cluster-numbers --row cluster-failover'
    [ -z "$long" ] || {
        valkey="$valkey|starter|shards|nodes|owners|asking|storm|lost_node|clocks|addresses|sentinel"
        rows=--long
    }
    # The tests of the build, with a log of their own: `tests: gcc` may run beside.
    mkdir -p "$build/valkey/tests"
    echo "subdirs(\"$build/gcc\")" >"$build/valkey/tests/CTestTestfile.cmake"
    step "Valkey 8: the system tests" sh tests/package/valkey.sh "$build/valkey" ctest --test-dir "$build/valkey/tests" --output-on-failure \
        --no-tests=error --parallel "$parallel" -R "^system_($(echo "$valkey" | tr '|' '\n' | choose 3 | joined | tr -d '^$'))\$" || :
    step "Valkey 8: faults of a cluster" sh tests/package/valkey.sh "$build/valkey" sh tests/faults/run.sh \
        --build "$build/gcc/tests/faults" --out "$build/valkey/faults" $rows || :
}
piece_examples() { step "examples" sh tests/package/examples.sh "$build/gcc" || :; }
piece_nginx() { step "nginx: the module's README, other proxies, Lua" sh tests/nginx/run.sh "$build/gcc" browsers readme lua many || :; }
# In a short one, rings that fill for the first time show: 1.1 MB, and no more in the next minute.
piece_soak() {
    [ -z "$(printf '%s\n' soak '' | choose 2)" ] || step "soak, $soak s" "$build/gcc/tests/soak/latchkey-soak" --seconds "$soak" $([ -n "$long" ] || echo --slack-kb 2048) || :
}
# It builds in a directory of its own, which two runs at once must not do together.
# With what a shell may have in its environment.
quickstart() { step "examples/quickstart.sh $1" flock "$root/build-tests/.shared" env CDPATH="$root" sh examples/quickstart.sh "$@" || :; }
piece_quickstart() { quickstart --sessions 300; }
piece_documents() {
    for which in $(printf '%s\n' bare --sentinel --cluster | choose 3); do
        case $which in
        bare) step "README.md's commands in a bare Debian" sh tests/package/bare.sh || : ;;
        *) quickstart "$which" ;;
        esac
    done
}
piece_bench() {
    for name in $(printf '%s\n' article l1 server http nginx ttl hygiene hot scripts ffi stores cluster | choose 5); do
        step "bench/run.sh --short --only $name" sh bench/run.sh --build "$build/gcc" --short --only "$name" || :
    done
}
users='bindings documents bench examples valkey quickstart hiredis installed soak nginx'

part_proofs() { for piece in $proofs; do "piece_$piece"; done; }
part_bindings() { piece_bindings; }
part_users() { for piece in $users; do "piece_$piece"; done; }

# Two lanes. Each has pieces of its own, and then takes the next of what is left, so that none is idle before the end.
take() { flock "$left.lock" sh -c 'head -n 1 "$1" && sed -i 1d "$1"' - "$left"; }
take_what_is_left() { while piece=$(take) && [ -n "$piece" ]; do "piece_$piece"; done; }

# --------------------------------------------------------------------------------------------- which of them --
built=
case $only in text | sanitizers | bindings) ;; *)
    targets=all
    [ -z "$quick" ] || targets='latchkey latchkey_core tests/unit/all api_constants api_unload latchkey_options' # what it runs
    compile gcc "$targets" -DCMAKE_C_COMPILER=gcc -DLATCHKEY_EXAMPLES=ON -DLATCHKEY_BENCH=ON -DLATCHKEY_NGINX=ON \
        -DCMAKE_EXPORT_COMPILE_COMMANDS=ON && built=yes || :
    # Without a warm ccache it takes two minutes on two quiet cores.
    if [ "$(($(date +%s) - step_began))" -gt 270 ] && [ -z "$long" ]; then
        turns=3 fuzz=2
        echo "this machine is slow: what is taken in turns is taken in a third of the portions"
    fi
    ;;
esac
if [ -n "$only" ]; then
    "part_$only"
elif [ -n "$quick" ]; then
    part_text
    [ -z "$built" ] || part_gcc
else
    left=$logs/.left
    printf '%s\n' $proofs $users >"$left"
    lane_one() {
        [ -z "$built" ] || part_gcc
        part_sanitizers
        take_what_is_left
    }
    lane_two() {
        part_text
        take_what_is_left
    }
    lane lane_one
    lane lane_two
    lanes_end
fi

echo "the slowest tests:"
slowest
echo "in $(($(date +%s) - began)) s"
echo "$(($(date +%s) - began))" >"$took_file"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
