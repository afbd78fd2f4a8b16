#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests with hiredis 1.x, of which this Debian has none: built from the source package of the next one, into a directory
# of its own. And a mixture of two versions, headers of one and the library of the other, neither compiles nor links.
#   sh tests/package/hiredis.sh BUILD TEST...
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
suite=trixie version=1.2.0
prefix=$build/hiredis-$version

fetch() { # what apt knows of the suite, beside what the system knows; nothing of the system's is changed
    apt=$build/apt
    archive=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' | awk '$2 == "main" && !/security/ { print $1; exit }')
    rm -rf "$apt" && mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$apt/sources.list"
    set -- -q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$apt/lists" \
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
    apt-get "$@" update
    (cd "$apt" && apt-get "$@" source --download-only hiredis)
    tar xzf "$apt/hiredis_$version.orig.tar.gz" -C "$apt"
    make -C "$apt/hiredis-$version" -j2 PREFIX="$prefix" LIBRARY_PATH=lib install
    rm -rf "$apt"
}

[ -e "$prefix/lib/pkgconfig/hiredis.pc" ] || fetch
[ "$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --modversion hiredis)" = "$version" ]

# ------------------------------------------------------------------------------------------------ a mixture --
# try WHAT HEADERS MAJOR MINOR: resp.c compiled; its object stays.
object=$build/resp.o
try() {
    cc -std=c11 -D_GNU_SOURCE -fPIC -I"$root/src" -I"$root/include" "$1" -DLATCHKEY_HIREDIS_MAJOR="$2" \
        -DLATCHKEY_HIREDIS_MINOR="$3" -c "$root/src/redis/resp.c" -o "$object"
}
links() { cc -shared -Wl,--no-undefined "$object" "$build/rest.o" -L"$1" -lhiredis -lsodium -o "$build/resp.so"; }
must_fail() {
    if "$@" >"$build/mixture.log" 2>&1; then echo "a mixture is taken: $*" && exit 1; fi
}

here=$(pkg-config --variable=libdir hiredis)
of_here=$(pkg-config --modversion hiredis)
major=${of_here%%.*} minor=${of_here#*.}
minor=${minor%%.*}
cat >"$build/rest.c" <<'TEXT'
#include "redis/reply.h"
void lk_wipe(void *at, size_t size) { (void)at, (void)size; }
lk_reply *lk_reply_new(enum lk_reply_type type, const char *text, size_t size) { return (void)type, (void)text, (void)size, NULL; }
lk_reply *lk_reply_new_array(size_t count) { return (void)count, NULL; }
void lk_reply_free(lk_reply *reply) { (void)reply; }
TEXT
cc -std=c11 -D_GNU_SOURCE -fPIC -I"$root/src" -I"$root/include" -c "$build/rest.c" -o "$build/rest.o"
must_fail try -I"$prefix/include" "$major" "$minor"
must_fail try -I/usr/include 1 2
try -I"$prefix/include" 1 2
links "$prefix/lib"
must_fail links "$here"
try -I/usr/include "$major" "$minor"
links "$here"
must_fail links "$prefix/lib"

# ---------------------------------------------------------------------------------------------- the tests --
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
cmake -S "$root" -B "$build/build" -DLATCHKEY_WERROR=ON -DLATCHKEY_TESTS=ON -DCMAKE_BUILD_RPATH="$prefix/lib" \
    -DCMAKE_C_COMPILER_LAUNCHER="$(command -v ccache || :)"
cmake --build "$build/build" --parallel "$(nproc)" --target "$@"
ldd "$build/build/src/liblatchkey.so" | grep "$prefix/lib/libhiredis"
names="$*"
ctest --test-dir "$build/build" --output-on-failure --no-tests=error --parallel "$(nproc)" -R "^($(echo "$names" | tr ' ' '|'))\$"
