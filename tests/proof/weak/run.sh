#!/bin/sh
# SPDX-License-Identifier: MIT
# L1's lock-free reads on weakly ordered machines: the real code under every order that C11 allows, the same with one
# thing broken at a time, and under load here and on an emulated arm64.
set -eu

usage() {
    cat <<'TEXT'
sh tests/proof/weak/run.sh [--stress SECONDS] [--show MUTANT]

  Every order of memory that C11 allows, for the reads in each scenario of weak.c: exhaustively. Then with one thing
  broken at a time, each of which must be found. Then readers beside writers, here and on an emulated arm64.

  --stress SECONDS  how long readers run beside writers on this machine (2). 600 are billions of reads
  --show MUTANT     the reads by which that one was found
  --list            the mutants
  --help            this

Ends with one line, "N passed, M failed", and with status 0 only when M is 0.
TEXT
}

seconds=2 show=
while [ $# -gt 0 ]; do
    case $1 in
    --stress) seconds=${2:?--stress wants seconds} && shift ;;
    --show) show=${2:?--show wants a mutant} && shift ;;
    --list) show=--list ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
root=$(cd "$(dirname "$0")/../../.." && pwd)
here=$root/tests/proof/weak
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
flags="-std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -I$root/include"

say() { printf '%-66s ' "$1"; }
pass() { passed=$((passed + 1)) && echo "$1"; }
fail() { failed=$((failed + 1)) && echo "FAILED: $1" && sed 's/^/    /' "$work/log" | tail -n 30; }

# Name, file, sed program, what it breaks. The program must change the file, or the row fails.
mutants() {
    cat <<'TEXT'
R1-relaxed~l1/l1_read.h l1/l1_table.c~/R1 \*\//s/memory_order_acquire/memory_order_relaxed/~the version is read without acquire
R2-relaxed~l1/l1_copy.h l1/l1_read.h l1/l1_table.h l1/l1_table.c~/(from, memory_order_acquire\|(w, memory_order_acquire\|(stored, memory_order_acquire\|s->last, memory_order_acquire\|s->due_[a-z]*, memory_order_acquire/s/acquire/relaxed/~the words are read without acquire
no-R3~l1/l1_read.h l1/l1_table.c~s/differs |= version ^ .*/;/;s/ && atomic_load_explicit(&s->version, memory_order_relaxed) == version) return/) return/~the version is not looked at again
odd-is-good~l1/l1_read.h l1/l1_table.c~s/differs |= version & 1;//;s/!(version & 1) && //~a slot that is being written is believed
no-W1~l1/l1_table.c~/W1 \*\//d~the version is not made odd
W2-relaxed~l1/l1_table.c~/&s->entry\[i\], c->entry\|&s->token\[i\], token\|&s->due_[a-z]*, (\|&s->last, last/s/release/relaxed/~the words are written without release
W3-relaxed~l1/l1_table.c~/W3 \*\//s/release/relaxed/~the version is made even without release
one-look~l1/l1_table.c~s/if (!(moves & 1) .*== moves) break;/(void)moves; break;/~who finds nothing does not look at moves again
moves-stay-even~l1/l1_table.c~/moves + 1, memory_order_relaxed/d~moves is not odd while entries are being moved
half-a-token~l1/l1_copy.h l1/l1_table.c~s/lk_l1_word_differs(stored + 2, token + 16) | lk_l1_word_differs(stored + 3, token + 24) |/0 |/;s/lk_equal(c->token, token, LATCHKEY_TOKEN_LENGTH)/!memcmp(c->token, token, 20)/~the verifier is compared in part
TEXT
}
[ "$show" != --list ] || { mutants | cut -d'~' -f1,4 | tr '~' '	' && exit 0; }

# weak SRC OUT SCENARIO
weak() {
    gcc $flags -I"$1" "$here/weak.c" -o "$2" -pthread
}

scenarios() { "$work/weak" --list; }
sh "$root/tests/need.sh" gcc libc6-dev libxxhash-dev qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross

if ! weak "$root/src" "$work/weak" >"$work/log" 2>&1; then
    say "weak.c compiles" && fail "" && echo "$passed passed, $failed failed" && exit 1
fi
for scenario in $(scenarios); do
    [ -z "$show" ] || continue
    say "every order of memory: $scenario"
    if timeout 120 "$work/weak" "$scenario" >"$work/log" 2>&1; then pass "$(cat "$work/log")"; else fail "$scenario"; fi
done

mutants >"$work/mutants"
while IFS='~' read -r name files program what; do
    [ -z "$show" ] || [ "$show" = "$name" ] || continue
    say "broken on purpose: $what"
    rm -rf "$work/src" && cp -r "$root/src" "$work/src"
    for file in $files; do sed -i "$program" "$work/src/$file"; done
    if diff -rq "$root/src" "$work/src" >/dev/null; then
        echo "$program changes nothing in $files" >"$work/log"
        fail "$name is out of date"
        continue
    fi
    if ! weak "$work/src" "$work/mutant" >"$work/log" 2>&1; then fail "does not compile" && continue; fi
    found=
    for scenario in $(scenarios); do
        code=0
        timeout 60 "$work/mutant" "$scenario" >"$work/log" 2>&1 || code=$?
        if [ "$code" = 1 ] && grep -q '^BROKEN' "$work/log"; then found=$scenario && break; fi
    done
    if [ -n "$found" ]; then pass "found by $found"; else fail "$name was not found"; fi
    [ -z "$show" ] || sed 's/^/    /' "$work/log"
done <"$work/mutants"
[ -z "$show" ] || exit 0

stress() { # NAME COMMAND...
    say "$1"
    shift
    if "$@" >"$work/log" 2>&1; then pass "$(tail -n 1 "$work/log")"; else fail ""; fi
}
gcc $flags -I"$root/src" "$here/stress.c" -o "$work/stress" -pthread
stress "readers beside writers, $seconds s" "$work/stress" --seconds "$seconds"
gcc $flags -DLK_L1_COPY_C11 -I"$root/src" "$here/stress.c" -o "$work/stress-c11" -pthread
stress "the same, as on machines other than x86-64" "$work/stress-c11" --seconds 2
aarch64-linux-gnu-gcc $flags -isystem /usr/include/"$(gcc -print-multiarch)"/.. -idirafter /usr/include \
    -I"$root/src" "$here/stress.c" -o "$work/stress-arm64" -pthread -static
stress "the same, on an emulated arm64" qemu-aarch64 "$work/stress-arm64" --seconds 2

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
