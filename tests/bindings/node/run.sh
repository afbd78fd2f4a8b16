#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests the package in DIR/node_modules/latchkey as a user gets it: packed, and installed from the tarball, with nothing of the
# library in the environment. tests/bindings/README.md says what run.sh there passes on.
#   sh tests/bindings/node/run.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
built=$(cd "$1" && pwd)/node_modules/latchkey
app=$LATCHKEY_WORK/app
export LATCHKEY_POINTS="$LATCHKEY_WORK/points"
: >"$LATCHKEY_POINTS"
say() { echo "--- $*"; }

say "packed, and installed"
mkdir -p "$app"
cp "$here"/package.json "$here"/package-lock.json "$here"/*.mjs "$here"/types.ts "$app/"
cd "$app"
npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
tarball=$(npm pack --silent --pack-destination "$app" "$built")
npm install --no-save --ignore-scripts --no-audit --no-fund --prefer-offline "./$tarball" >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
node -e 'const { scripts, dependencies } = require("latchkey/package.json"); process.exit(scripts || dependencies ? 1 : 0)' ||
    { echo "the package has scripts or dependencies" >&2; exit 1; }

# The addon needs the C library alone, and shows its own functions alone.
addon=$(ls node_modules/latchkey/prebuilds/*/latchkey.node)
if env -u LD_LIBRARY_PATH ldd "$addon" | grep -E 'latchkey|hiredis|sodium|xxhash|ssl|crypto|not found'; then
    echo "the addon needs libraries that a machine may not have" >&2 && exit 1
fi
if nm -D --defined-only "$addon" | grep -v ' T \(napi_register_module_v1\|node_api_module_get_api_version_v1\)$'; then
    echo "the addon shows names that are not its own" >&2 && exit 1
fi
if grep -n latchkey_set_log "$root"/src/bindings/node/addon/*.c; then echo "the log function is the program's, not a binding's" >&2 && exit 1; fi

alone() { env -u LD_LIBRARY_PATH -u PKG_CONFIG_PATH "$@"; }
failed=
check() { # WHAT COMMAND...
    say "$1"
    shift
    "$@" || { failed="$failed, $*"; echo "FAILED: $*"; }
}

# One after the other: they stop the same Redis.
check "the list" alone node --test-reporter=spec conformance.mjs
check "http" alone node --test-reporter=spec http.mjs
# One arena of malloc: with many, each thread that comes and goes may leave its pieces in another.
check "memory, and workers" alone env MALLOC_ARENA_MAX=1 LATCHKEY_POINT="23 memory" node --expose-gc memory.mjs

# Browsers, proxies and faults at random, in front of each middleware.
check "browsers" alone env LATCHKEY_BROWSED="$app" python3 -B "$root/tests/http/browsers.py" --seconds "${LATCHKEY_BROWSERS_S:-8}" express fastify node store

# The README: its first block is run as it stands, but for where Redis is; the second is a server.
sed "s|redis://127.0.0.1:6379|unix://$LATCHKEY_REDIS_SOCKET|" "$root/src/bindings/node/README.md" |
    awk '/^```js/ { n++; inside = 1; next } /^```/ { inside = 0 } inside { print > ("readme" n ".mjs") }'
readme() {
    said=$(alone node readme1.mjs) || return 1
    [ "$said" = "$(printf '42n member\nnull')" ] || { echo "it says: $said" >&2; return 1; }
    [ "$(wc -l <readme1.mjs)" -le 10 ] || { echo "these are more than ten lines" >&2; return 1; }
    alone node readme-server.mjs || return 1
    alone node -e 'require("latchkey").checkConfig("redis://h")' || return 1 # for those who do not import
    echo "ok 25 the README" >>"$LATCHKEY_POINTS"
}
check "the README" readme
check "types" node_modules/.bin/tsc --noEmit --strict --target es2022 --module nodenext --moduleResolution nodenext \
    --esModuleInterop --types node types.ts

# The same under AddressSanitizer, and linked with the shared library.
sanitized() {
    CFLAGS='-fsanitize=address -fno-omit-frame-pointer' LATCHKEY_NODE_DEBUG=1 LATCHKEY_NODE_SHARED=1 \
        sh "$root/src/bindings/node/build.sh" "$LATCHKEY_WORK/address" || return 1
    cp "$here"/*.mjs "$LATCHKEY_WORK/address/"
    # What V8 keeps at the end is not lost memory; the rounds above look for that.
    ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$(${CC:-cc} -print-file-name=libasan.so) ROUNDS=${LATCHKEY_ROUNDS:-15} \
        node --expose-gc "$LATCHKEY_WORK/address/memory.mjs"
}
check "memory, and workers, under AddressSanitizer" sanitized

cat "$LATCHKEY_POINTS"
[ -z "$failed" ] || { echo "failed${failed}"; exit 1; }
