#!/bin/sh
# SPDX-License-Identifier: MIT
# The binding for Node; Express with it, without sessions, and with express-session on Redis.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
app=$LATCHKEY_WORK/app
mkdir -p "$app"
cp "$here"/*.json "$here"/*.mjs "$app/"
cd "$app"
npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
ln -s "$1/node_modules/latchkey" node_modules/latchkey
NODE_ENV=production NODE_NO_WARNINGS=1 exec node --preserve-symlinks hit.mjs
