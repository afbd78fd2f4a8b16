#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the package against the installed library, which pkg-config finds, into DIR/node_modules/latchkey.
#   sh src/bindings/node/build.sh DIR
#
# Where liblatchkey.a and the static libraries below it are installed, they are linked in: the package then runs on machines that
# have none of them. That is also the safer form: node has an OpenSSL of its own, and exports its names.
#   CC, CFLAGS             as usual
#   LATCHKEY_NODE_SHARED   1: link with liblatchkey.so all the same
#   NODE_INCLUDE           where node_api.h is, if not beside node or in /usr/include/node
set -eu
unset CDPATH # with it, cd prints where it went
[ $# = 1 ] || { echo "usage: sh $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1"
package=$(cd "$1" && pwd)/node_modules/latchkey
command -v node >/dev/null || { echo "node is missing" >&2; exit 1; }
pkg-config --exists latchkey || { echo "pkg-config does not find latchkey: install it, or set PKG_CONFIG_PATH" >&2; exit 1; }

include=${NODE_INCLUDE-}
for each in "$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node" /usr/include/node; do
    [ -z "$include" ] && [ -e "$each/node_api.h" ] && include=$each
done
[ -n "$include" ] || { echo "node_api.h is missing: install libnode-dev, or set NODE_INCLUDE" >&2; exit 1; }

# The linker looks for lib*.a alone between -Bstatic and -Bdynamic. The C library stays shared.
libdir=$(pkg-config --variable=libdir latchkey)
libs=$(pkg-config --libs latchkey)
if [ -z "${LATCHKEY_NODE_SHARED-}" ] && [ -e "$libdir/liblatchkey.a" ]; then
    libs=
    for each in $(pkg-config --static --libs latchkey); do
        case $each in -lpthread | -pthread | -ldl | -lm) ;; *) libs="$libs $each" ;; esac
    done
    libs="-Wl,-Bstatic $libs -Wl,-Bdynamic -lpthread -ldl -Wl,--exclude-libs,ALL"
fi

machine=$(node -p 'process.platform + "-" + process.arch')
rm -rf "$package"
mkdir -p "$package/prebuilds/$machine"
cp -R "$here/lib" "$here/index.mjs" "$here/index.d.ts" "$here/express-session.d.ts" "$here/package.json" "$here/README.md" \
    "$root/LICENSE" "$package/"
# nodelete: the library has threads and handlers of fork, which must outlive a worker that loaded it first.
# shellcheck disable=SC2086 # flags are words
${CC:-cc} -std=gnu11 -O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -Wshadow -Wcast-qual ${CFLAGS-} -shared \
    -I"$include" $(pkg-config --cflags latchkey) "$here"/addon/*.c -o "$package/prebuilds/$machine/latchkey.node" \
    $libs -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections ${LDFLAGS-}
[ -n "${LATCHKEY_NODE_DEBUG-}" ] || strip --strip-unneeded "$package/prebuilds/$machine/latchkey.node"
