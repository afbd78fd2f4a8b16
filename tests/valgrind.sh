#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs under valgrind what parses what comes from outside, and a whole life: it sees uses of memory that was never
# written, which the sanitizers here do not. Of the command it also sees each leak: LeakSanitizer may find the lost memory's
# address on the stack of main, and says nothing. (Not unit_tls: its children, forked in the middle of other threads, leave behind what
# those held.)
#   sh tests/valgrind.sh BUILD [N+K]     N+K: of the programs one in N, beginning with the Kth
set -eu
cd "$1/tests"
n=${2:-1+0} at=0 ran=
k=$((${n#*+})) n=${n%+*}
for program in system_life system_fields system_tokens system_config system_arguments api_constants unit/unit_token \
    unit/unit_record unit/unit_resp unit/unit_conn unit/unit_handshake unit/unit_config; do
    at=$((at + 1))
    [ $(((at + k) % n)) = 0 ] || continue
    echo "--- $program"
    ran=yes
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
        --child-silent-after-fork=yes "./$program"
done
for words in '--help' '' 'keygen x' 'list 7 --config redis://127.0.0.1:1' 'doctor --json --config=redis://:secret@127.0.0.1:1'; do
    echo "--- latchkey $words"
    # shellcheck disable=SC2086 # they are words
    said=$(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect ../src/cli/latchkey $words 2>&1) ||
        [ $? != 99 ] || { printf '%s\n' "$said" && exit 1; }
done
[ -n "$ran" ] || { echo "none of them: $2" && exit 1; }
