#!/bin/sh
# SPDX-License-Identifier: MIT
# latchkey.hpp.
set -eu
# shellcheck disable=SC2046 # flags are words
c++ -std=c++17 -O2 $(pkg-config --cflags latchkey) "$(dirname "$0")/hit.cpp" -o "$LATCHKEY_WORK/hit" $(pkg-config --libs latchkey) -pthread
"$LATCHKEY_WORK/hit"
