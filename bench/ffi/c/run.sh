#!/bin/sh
# SPDX-License-Identifier: MIT
# The yardstick: C itself.
set -eu
# shellcheck disable=SC2046 # flags are words
cc -std=c11 -D_GNU_SOURCE -O2 $(pkg-config --cflags latchkey) "$(dirname "$0")/hit.c" -o "$LATCHKEY_WORK/hit" $(pkg-config --libs latchkey)
"$LATCHKEY_WORK/hit"
