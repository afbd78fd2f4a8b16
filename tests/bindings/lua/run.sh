#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the LuaJIT binding that lies in DIR.
#   sh tests/bindings/lua/run.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
export LUA_PATH="$1/?.lua;;"
awk '/^```lua/ { inside = 1; next } /^```/ { if (inside) exit } inside' "$root/src/bindings/lua/README.md" >"$LATCHKEY_WORK/readme.lines"
[ "$(wc -l <"$LATCHKEY_WORK/readme.lines")" -le 10 ]
sed "s|redis://127.0.0.1:6379|unix://$LATCHKEY_REDIS_SOCKET?deadline_ms=10000|" "$LATCHKEY_WORK/readme.lines" >"$LATCHKEY_WORK/readme.lua"
[ "$(luajit "$LATCHKEY_WORK/readme.lua" 2>/dev/null)" = "$(printf '42\tmember\ntrue')" ]
echo "ok 25 the README's first lines"
luajit "$here/list.lua"
