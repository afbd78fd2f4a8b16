#!/bin/sh
# SPDX-License-Identifier: MIT
# Proves the model of ticket, lease and replay, and breaks it on purpose. Ends with one line, "N passed, M failed".
set -eu

usage() {
    cat <<'TEXT'
sh tests/proof/model/run.sh [--deep | --some N+K | --show MUTANT | --list | --help]

  Everything: the model exhaustively, each scenario of which must hold and reach all that it must reach; and every mutant,
  each of which must break the property that it is there for. Two at a time; a minute, 1.6 GB. Needs spin and gcc.

  --deep          the same with larger bounds, the proofs first (five minutes; up to 4 GB)
  --some N+K      of the scenarios and of the mutants one in N, beginning with the Kth
  --show MUTANT   breaks that one, and prints the shortest counterexample and where its trail is
  --list          the mutants
  --help          this

Status 0 only when nothing failed.
TEXT
}

# The scenarios: name; what to define; the places that must be reached.
proofs() {
    small='-DS=1 -DOTHERS=0'
    elsewhere='-DS=2 -DOTHERS=1' here=$small restart=$small
    [ -z "$deep" ] || { elsewhere='-DS=3 -DOTHERS=1' here='-DS=2 -DOTHERS=0' restart='-DS=2 -DOTHERS=0'; }
    proof restart "$restart -DRESTART" ADMITTED ADMITTED_BY_L2 LAPSED LATE REFUSED GAP REPLAY LEASE LEASE_AFTER ASSERTED \
        OTHER_SERVER FOREIGN
    proof elsewhere "$elsewhere" ADMITTED LAPSED LATE REFUSED GAP REPLAY LOG_TOO_SHORT LEASE LEASE_AFTER
    proof here "$here -DREVOKED_HERE" ADMITTED ADMITTED_BY_L2 LAPSED AFTER REFUSED DENIED GAP REPLAY LEASE
    proof replaced "$small $replaced" ADMITTED ADMITTED_BY_L2 LAPSED LATE REFUSED LEASE LEASE_AFTER FORGOT REMEMBERED
    proof deaf "$small -DDEAF" ADMITTED LAPSED LATE REFUSED GAP REPLAY LEASE LEASE_AFTER DEAFENED
    proof numbers-alone "$small -DBEAT_OFF_SUBSCRIPTION -DDEAF -DONLY_C -DONLY_LOOK -DONLY_D" ADMITTED LAPSED LATE REFUSED GAP \
        REPLAY LEASE LEASE_AFTER DEAFENED
    [ -z "$deep" ] || proof here-restart "$small -DREVOKED_HERE -DRESTART -DONLY_B" AFTER REFUSED DENIED GAP REPLAY \
        LOG_TOO_SHORT LEASE ASSERTED OTHER_SERVER FOREIGN
    proof nonce-alone "$small $nonce_alone" ADMITTED LAPSED LATE REFUSED LEASE LEASE_AFTER
    # Of the other model: two primaries at once.
    proof deposed '-DS=2' LAPSED EMPTY LEASE_OF_X LEASE_OF_Y TWO_PRIMARIES LEASE_AFTER REVOKED_AT_Y MOVED
    proof deposed-durable '-DDURABLE=1' LAPSED EMPTY LEASE_OF_X LEASE_OF_Y TWO_PRIMARIES LEASE_AFTER REVOKED_AT_Y MOVED
    proof deposed-durable-of-four '-DDURABLE=2 -DOTHERS=2' LAPSED EMPTY LEASE_OF_X LEASE_OF_Y TWO_PRIMARIES REVOKED_AT_Y MOVED
    proof deposed-told '-DTOLD -DS=1' LAPSED EMPTY LEASE_OF_X LEASE_OF_Y MOVED ASSERTED
    # Of the third: a cluster.
    proof moves '-DS=2' ADMITTED ADMITTED_BY_L2 LAPSED LEASE_OF_X LEASE_OF_Y LEASE_AS_COUNTED LEASE_AFTER GAP HEARD TRYAGAIN ASK \
        MOVED REVOKED_AT_X REVOKED_AT_Y GIVEN_UP TOLD
    proof moves-everyone '-DS=2 -DEVERYONE' ADMITTED ADMITTED_BY_L2 LAPSED LEASE_OF_X LEASE_OF_Y LEASE_IN_A_MOVE LEASE_AS_COUNTED \
        LEASE_AFTER GAP LOG_TOO_SHORT HEARD TRYAGAIN ASK MOVED REVOKED_AT_X REVOKED_AT_Y GIVEN_UP TOLD
    proof moves-taken '-DS=2 -DTAKEN' ADMITTED ADMITTED_BY_L2 LAPSED LEASE_OF_X LEASE_OF_Y LEASE_AFTER GAP HEARD MOVED \
        REVOKED_AT_X REVOKED_AT_Y LOST TOLD
}

# Where a message is lost only with its connection, and every connection starts with an empty L1, no number is needed.
nonce_alone='-DRELIABLE -DRECONNECT_EMPTY -DNO_NUMBER'

# Where the data set is replaced in place: no message is lost, and no connection.
replaced='-DREPLACED -DRELIABLE -DCONNECTED'

# The mutants: name, the property that it must break, what to define. In the smallest bounds.
mutants() {
    cat <<TEXT
no-ticket                   D     -DNO_TICKET
no-ticket-admits            C     -DNO_TICKET
lease-after-slot            C     -DLEASE_AFTER_SLOT
clock-before-slot           LOOK  -DCLOCK_BEFORE_SLOT
confirm-before-repair       C     -DCONFIRM_BEFORE_REPAIR
stamp-on-receipt            C     -DSTAMP_ON_RECEIPT
beat-off-subscription       HEARS -DBEAT_OFF_SUBSCRIPTION -DDEAF
nonce-off-subscription      C     -DBEAT_OFF_SUBSCRIPTION $nonce_alone
no-number-in-beat           C     -DNO_NUMBER
first-beat-keeps-l1         C     -DFIRST_BEAT_KEEPS
reconnect-blind             C     -DRECONNECT_BLIND
log-unchecked               C     -DLOG_UNCHECKED -DLOG=0
no-denial                   B     -DNO_DENIAL -DREVOKED_HERE
denied-after-purge          B     -DDENIED_AFTER_PURGE -DREVOKED_HERE
denied-too-short            B     -DDENIED_TOO_SHORT -DREVOKED_HERE
no-assertion                C     -DNO_ASSERTION -DRESTART
no-incarnation              C     -DNO_INCARNATION -DRESTART
answers-of-any-server       C     -DANSWERS_OF_ANY_SERVER -DRESTART
answer-checked-after        C     -DANSWER_CHECKED_AFTER -DRESTART
remembered-not-denied       C     -DREMEMBERED_NOT_DENIED $replaced
looked-once                 C     -DLOOKED_ONCE $replaced
forgot-unnoticed            TOLD  -DFORGOT_UNNOTICED $replaced
forgot-not-told             TOLD  -DNO_ASSERTION $replaced
deposed-believed            C     -DNO_SENTINEL
deposed-asked-before        C     -DASKED_BEFORE
deposed-one-sentinel        C     -DMINORITY
deposed-sentinel-goes-back  C     -DGOES_BACK
deposed-wait-of-half        C     -DDURABLE=1 -DOTHERS=2
deposed-not-told            C     -DTOLD -DNO_WAIT
moves-no-probe              C     -DNO_PROBE
moves-ask-followed          C     -DASK_FOLLOWED
moves-lease-of-another      C     -DLEASE_OF_ANOTHER
moves-without-empty         C     -DWITHOUT_EMPTY
moves-though-counted        C     -DTHOUGH_COUNTED -DEVERYONE
moves-without-recents       C     -DWITHOUT_RECENTS -DTAKEN
TEXT
}

deep= show= n=1 k=0
case ${1-} in
'') ;;
--deep) deep=yes ;;
--some) n=${2%+*} k=$((${2#*+})) ;;
--show)
    show=${2-}
    if ! mutants | cut -d' ' -f1 | grep -qxF -e "$show"; then
        echo "no such mutant: $show; there are:" >&2
        mutants >&2
        exit 2
    fi
    ;;
--list) mutants && exit 0 ;;
-h | --help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac
root=$(cd "$(dirname "$0")/../../.." && pwd)
model_of() {
    case $1 in
    deposed*) echo "$root/tests/proof/model/deposed.pml" ;;
    moves*) echo "$root/tests/proof/model/moves.pml" ;;
    *) echo "$root/tests/proof/model/latchkey.pml" ;;
    esac
}
for tool in spin gcc; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; echo '0 passed, 1 failed'; exit 1; }
done

work=$(mktemp -d /tmp/latchkey-model-XXXXXX)
child= side= keep=
finish() {
    status=$?
    trap '' INT TERM HUP
    for pid in $child $side; do kill "$pid" 2>/dev/null && wait "$pid" || :; done
    [ -n "$keep" ] || rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

megabytes=2000
[ -z "$deep" ] || megabytes=4000

# check DIRECTORY "SPIN'S OPTIONS" "GCC'S OPTIONS": generates, compiles, runs; what pan says is in DIRECTORY/log.
# A proof has millions of states to visit: -O1. A mutant as a rule ends after some thousands: compiling takes longer than running.
check() {
    mkdir -p "$1"
    model=$(model_of "${1##*/}")
    cd "$1"
    began=$(date +%s)
    # Split into words on purpose.
    if spin $2 -a "$model" >log 2>&1 && gcc -DSAFETY -DMEMLIM="$megabytes" $3 -o pan pan.c >>log 2>&1; then
        ./pan -m1000000 >log 2>&1 &
        child=$!
        wait "$child" || :
        child=
    fi
    cd "$root"
    states=$(awk '/states, stored/ { print $1 }' "$1/log")
    took=$(($(date +%s) - began))
}

good() { printf 'ok    %-24s %9s states %4s s  %s\n' "$1" "${states:-no}" "$took" "$2"; }
bad() {
    printf 'FAIL  %-24s %9s states %4s s  %s\n' "$1" "${states:-no}" "$took" "$2"
    tail -n 40 "$3" | sed 's/^/    /'
}

# proof NAME "DEFINES" PLACE...: holds in all states, and reaches every place.
proof() {
    proofs_at=$((${proofs_at-0} + 1))
    [ $(((proofs_at + k) % n)) = 0 ] || return 0
    name=$1 directory=$work/$1
    compression=
    [ -z "$deep" ] || compression=-DCOLLAPSE
    check "$directory" "-DCOUNT $2" "-O1 $compression"
    shift 2
    missed=
    for place in "$@"; do
        grep -q "^reached $place [1-9]" "$directory/log" || missed="$missed $place"
    done
    if ! grep -q 'errors: 0$' "$directory/log" || grep -qE 'max search depth too small|not completed|MEMLIM' "$directory/log"; then
        bad "$name" 'it does not hold, or not all was looked at' "$directory/log"
    elif [ -n "$missed" ]; then bad "$name" "never reached:$missed" "$directory/log"
    else good "$name" 'holds'; fi
}

# mutant HOW NAME PROPERTY DEFINES...: breaks that property. -DREVERSE: depth first, which is quick when the link runs
# before the callers. -DBFS: breadth first, so that the trail is a shortest one.
mutant() {
    how=$1 name=$2 property=$3 directory=$work/$2
    shift 3
    defines="-DS=1 -DOTHERS=0 -DONLY_$property $*"
    case $name in deposed* | moves*) defines="-DS=1 $*" ;; esac
    # Those that restart visit millions as well.
    case $* in *-DRESTART*) how="-O1 $how" ;; esac
    check "$directory" "$defines" "$how"
    if grep -q "assertion violated  *!(${property}_broken)" "$directory/log" && [ -s "$directory/${model##*/}.trail" ]; then
        good "$name" "$property violated, as it must be"
    else bad "$name" "it should break $property and does not" "$directory/log"; fi
}

if [ -n "$show" ]; then
    mutant -DBFS $(mutants | grep "^$show ") >"$work/result"
    cat "$work/result"
    grep -q '^ok' "$work/result" || exit 1
    keep=yes
    cd "$directory"
    spin $defines -k "${model##*/}.trail" "$model" >story 2>&1 || :
    grep -E '^ +([A-Za-z0-9]+: |[a-z]+ is |[A-Z].* moved|the )' story
    echo "every step: cd $directory && spin $defines -k ${model##*/}.trail -p -g $model"
    exit 0
fi

start=$(date +%s)
mutants | awk -v n="$n" -v k="$k" '(NR + k) % n == 0' >"$work/mutants"
# The proofs at the same time as the mutants, in a shell of their own; with --deep, before them.
(
    trap - EXIT
    trap '[ -z "$child" ] || kill "$child"; exit 143' TERM
    proofs
) >"$work/of-proofs" &
side=$! broken=0
of_proofs() { wait "$side" || broken=1; side=; }
[ -z "$deep" ] || of_proofs
while read -r line; do
    mutant -DREVERSE $line
done <"$work/mutants" >"$work/of-mutants"
[ -z "$side" ] || of_proofs
cat "$work/of-proofs" "$work/of-mutants"
passed=$(cat "$work/of-proofs" "$work/of-mutants" | grep -c '^ok ') || :
failed=$(($(cat "$work/of-proofs" "$work/of-mutants" | grep -c '^FAIL ' || :) + broken))
echo "in $(($(date +%s) - start)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
