#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts the module into DIR, for LUA_PATH="DIR/?.lua;;". It finds the shared library where the loader looks.
#   sh src/bindings/lua/build.sh DIR
set -eu
mkdir -p "$1/resty"
cp "$(dirname "$0")/lib/resty/latchkey.lua" "$1/resty/"
