#!/bin/sh
# SPDX-License-Identifier: MIT
# Proves the model of ticket, lease and replay, and breaks it on purpose. Ends with one line, "N passed, M failed".
set -eu

usage() {
    cat <<'TEXT'
sh tests/model/run.sh [--deep | --show MUTANT]

  Everything: the model exhaustively, in three scenarios, each of which must hold and reach all that it must reach; and
  every mutant, each of which must break the property that it is there for. Needs spin and gcc.

  --deep          the same with larger bounds (some minutes, up to 16 GB)
  --show MUTANT   breaks that one, and prints the shortest counterexample and where its trail is
  --list          the mutants
  --help          this

Status 0 only when nothing failed.
TEXT
}

# The scenarios: name; what to define; the places that must be reached.
proofs() {
    if [ -n "$deep" ]; then
        bounds_elsewhere='-DS=3 -DOTHERS=1' bounds='-DS=2 -DOTHERS=1'
    else
        bounds_elsewhere='-DS=2 -DOTHERS=1' bounds='-DS=1 -DOTHERS=0'
    fi
    proof elsewhere "$bounds_elsewhere" ADMITTED LAPSED LATE REFUSED GAP REPLAY LOG_TOO_SHORT LEASE LEASE_AFTER
    proof here "$bounds -DREVOKED_HERE" ADMITTED ADMITTED_BY_L2 LAPSED AFTER REFUSED DENIED GAP REPLAY LEASE
    proof restart "$bounds -DRESTART" ADMITTED ADMITTED_BY_L2 LAPSED LATE REFUSED GAP REPLAY LEASE LEASE_AFTER ASSERTED \
        OTHER_SERVER
    proof numbers-alone '-DS=1 -DOTHERS=0 -DNUMBERS_ALONE' ADMITTED LAPSED LATE REFUSED GAP REPLAY LEASE LEASE_AFTER
}

# The mutants: name, the property that it must break, what to define. In the smallest bounds: so the shortest way is found.
mutants() {
    cat <<'TEXT'
no-ticket                   D     -DNO_TICKET
no-ticket-admits            C     -DNO_TICKET
lease-after-slot            C     -DLEASE_AFTER_SLOT
clock-before-slot           LOOK  -DCLOCK_BEFORE_SLOT
confirm-before-repair       C     -DCONFIRM_BEFORE_REPAIR
stamp-on-receipt            C     -DSTAMP_ON_RECEIPT
beat-off-subscription       C     -DBEAT_OFF_SUBSCRIPTION
no-number-in-beat           C     -DNO_NUMBER
reconnect-blind             C     -DRECONNECT_BLIND
log-unchecked               C     -DLOG_UNCHECKED -DLOG=0
no-denial                   B     -DNO_DENIAL -DREVOKED_HERE
denied-after-purge          B     -DDENIED_AFTER_PURGE -DREVOKED_HERE
denied-too-short            B     -DDENIED_TOO_SHORT -DREVOKED_HERE
no-assertion                C     -DNO_ASSERTION -DRESTART
no-incarnation              C     -DNO_INCARNATION -DRESTART
answers-of-any-server       C     -DANSWERS_OF_ANY_SERVER -DRESTART
TEXT
}

deep= show=
case ${1-} in
'') ;;
--deep) deep=yes ;;
--show) show=${2-} ;;
--list) mutants && exit 0 ;;
-h | --help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/tests/model/latchkey.pml
if [ -n "${show:-}" ] && ! mutants | grep -q "^$show "; then
    echo "no such mutant: $show; there are:" >&2
    mutants >&2
    exit 2
fi
if [ "${1-}" = --show ] && [ -z "$show" ]; then usage >&2 && exit 2; fi
for tool in spin gcc; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; echo '0 passed, 1 failed'; exit 1; }
done

work=$(mktemp -d /tmp/latchkey-model-XXXXXX)
child= passed=0 failed=0
finish() {
    status=$?
    trap '' INT TERM HUP
    [ -z "$child" ] || kill "$child" 2>/dev/null || :
    [ -n "$show" ] || rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

megabytes=3500
[ -z "$deep" ] || megabytes=16000

# check DIRECTORY "SPIN'S OPTIONS" "GCC'S OPTIONS": generates, compiles, runs; what pan says is in DIRECTORY/log.
check() {
    mkdir -p "$1"
    cd "$1"
    began=$(date +%s)
    # Split into words on purpose.
    if spin $2 -a "$model" >log 2>&1 && gcc -O2 -DSAFETY -DMEMLIM="$megabytes" $3 -o pan pan.c >>log 2>&1; then
        ./pan -m1000000 >log 2>&1 &
        child=$!
        wait "$child" || :
        child=
    fi
    cd "$root"
    states=$(awk '/states, stored/ { print $1 }' "$1/log")
    took=$(($(date +%s) - began))
}

good() {
    passed=$((passed + 1))
    printf '%-24s %9s states %4s s  %s\n' "$1" "${states:-no}" "$took" "$2"
}
bad() {
    failed=$((failed + 1))
    printf '%-24s %9s states %4s s  FAILED: %s\n' "$1" "${states:-no}" "$took" "$2"
    tail -n 40 "$3"
}

# proof NAME "DEFINES" PLACE...: holds in all states, and reaches every place.
proof() {
    name=$1 directory=$work/$1
    compression=
    [ -z "$deep" ] || compression=-DCOLLAPSE
    check "$directory" "-DCOUNT $2" "$compression"
    shift 2
    missed=
    for place in "$@"; do
        grep -q "^reached $place [1-9]" "$directory/log" || missed="$missed $place"
    done
    if ! grep -q 'errors: 0$' "$directory/log" || grep -qE 'max search depth too small|search not completed|MEMLIM' "$directory/log"; then
        bad "$name" 'it does not hold, or not all was looked at' "$directory/log"
    elif [ -n "$missed" ]; then bad "$name" "never reached:$missed" "$directory/log"
    else good "$name" 'holds'; fi
}

# mutant NAME PROPERTY DEFINES...: breaks that property; breadth first, so that the trail is a shortest one.
mutant() {
    name=$1 property=$2 directory=$work/$1
    shift 2
    defines="-DS=1 -DOTHERS=0 -DONLY_$property $*"
    check "$directory" "$defines" -DBFS
    if grep -q "assertion violated  *!(${property}_broken)" "$directory/log" && [ -s "$directory/latchkey.pml.trail" ]; then
        good "$name" "$property violated, as it must be"
    else bad "$name" "it should break $property and does not" "$directory/log"; fi
}

if [ -n "$show" ]; then
    mutant $(mutants | grep "^$show ")
    [ "$failed" = 0 ] || exit 1
    cd "$directory"
    spin $defines -k latchkey.pml.trail "$model" >story 2>&1 || :
    grep -E '^ +[a-z]+: ' story
    echo "every step: cd $directory && spin $defines -k latchkey.pml.trail -p -g $model"
    exit 0
fi

start=$(date +%s)
proofs
while read -r line; do
    mutant $line
done <<TEXT
$(mutants)
TEXT
echo "in $(($(date +%s) - start)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
