#!/bin/sh
# SPDX-License-Identifier: MIT
# lua-resty-latchkey in LuaJIT.
set -eu
LUA_PATH="$1/?.lua;;" exec luajit "$(dirname "$0")/hit.lua"
