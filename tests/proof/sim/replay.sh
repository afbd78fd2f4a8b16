#!/bin/sh
# SPDX-License-Identifier: MIT
# The same seed is the same world: in another process, at other addresses, with and without a printed trace.
#   sh tests/proof/sim/replay.sh path/to/sim
set -eu
sim=${1:?usage: replay.sh path/to/sim}
hash() { sed -n 's/^  trace //p'; }
one=$("$sim" --seed 3 --runs 2 --steps 200000 | hash)
two=$("$sim" --seed 3 --runs 2 --steps 200000 | hash)
printed=$("$sim" --seed 3 --runs 2 --steps 200000 --trace | hash)
other=$("$sim" --seed 4 --runs 1 --steps 200000 | hash)
echo "$one, $two, $printed; another world: $other"
[ -n "$one" ] && [ "$one" = "$two" ] && [ "$one" = "$printed" ] && [ "$one" != "$other" ]
