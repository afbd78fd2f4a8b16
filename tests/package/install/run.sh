#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the library, shared and static, into a temporary prefix and builds strangers' projects against it, in C and in
# C++, found by CMake's find_package and by pkg-config; each is run on a private Redis.
#   sh tests/package/install/run.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$(dirname "$here")")")
work=$(mktemp -d)
. "$here/../../support/redis.sh"
trap 'redis_end; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
redis_start "$work"
config="unix://$redis_socket?deadline_ms=10000"

one() { # KIND on|off
    kind=$1
    prefix=$work/$kind/prefix
    cmake -S "$root" -B "$work/$kind/build" -DBUILD_SHARED_LIBS="$2" -DCMAKE_INSTALL_PREFIX="$work/elsewhere" -DLATCHKEY_WERROR=ON \
        -DCMAKE_INSTALL_LIBDIR=lib
    cmake --build "$work/$kind/build" --parallel 2
    cmake --install "$work/$kind/build" --prefix "$prefix"
    for language in c cxx; do
        echo "--- $kind, $language, find_package"
        cmake -S "$here/$language" -B "$work/$kind/$language" -DCMAKE_PREFIX_PATH="$prefix"
        cmake --build "$work/$kind/$language"
        "$work/$kind/$language/stranger" "$config"
    done
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    export PKG_CONFIG_PATH
    version=$(pkg-config --modversion latchkey)
    grep -q "\"$version\"" "$prefix/include/latchkey.h" || { echo "pkg-config says $version" >&2; return 1; }
    static=
    [ "$kind" = shared ] || static=--static
    flags="$(pkg-config --cflags latchkey)"
    libs="$(pkg-config --libs $static latchkey)"
    echo "--- $kind, pkg-config: $flags $libs"
    cc -std=c11 -Wall -Wextra -Werror $flags "$here/c/main.c" -o "$work/$kind/main-c" $libs -Wl,-rpath,"$prefix/lib"
    c++ -std=c++17 -Wall -Wextra -Werror $flags "$here/cxx/main.cpp" -o "$work/$kind/main-cxx" $libs \
        -Wl,-rpath,"$prefix/lib"
    "$work/$kind/main-c" "$config"
    "$work/$kind/main-cxx" "$config"
    # The command, where nobody told the loader of the library.
    env -u LD_LIBRARY_PATH "$prefix/bin/latchkey" --version | grep -qx "latchkey $version"
    code=0
    said=$(LATCHKEY_CONFIG=$config "$prefix/bin/latchkey" list 424242) || code=$?
    [ "$code" = 1 ] && [ "$said" = "User 424242 has no sessions." ] ||
        { echo "the command ends with $code: $said" >&2; return 1; }
    "$prefix/bin/latchkey" keygen check | grep -qxE '[0-9a-f]{32}'
    [ -s "$prefix/share/man/man1/latchkey.1" ] || { echo "no manual page was installed" >&2; return 1; }
    # And a page for each function, without a complaint of the formatter.
    while read -r name; do
        page=$prefix/share/man/man3/$name.3
        [ -s "$page" ] || { echo "no manual page of $name was installed" >&2; return 1; }
        [ -z "$(groff -man -ww -z -Tutf8 "$page" 2>&1)" ] || { groff -man -ww -z -Tutf8 "$page"; return 1; }
    done <"$root/tests/package/api/symbols.txt"
    # Each kind is what it says.
    if ldd "$work/$kind/main-c" | grep -q liblatchkey; then linked=shared; else linked=static; fi
    [ "$linked" = "$kind" ] || { echo "$kind is linked $linked" >&2; return 1; }
}
one shared ON
one static OFF
echo "--- within another project, which says nothing of shared libraries"
cmake -S "$here/within" -B "$work/within" -DLATCHKEY_CLI=OFF -DCMAKE_UNITY_BUILD=ON -DCMAKE_INSTALL_LIBDIR=lib
cmake --build "$work/within" --parallel 2
cmake --install "$work/within" --prefix "$work/within/prefix"
"$work/within/stranger" "$config"
if grep BUILD_SHARED_LIBS "$work/within/CMakeCache.txt"; then echo "it is in the cache of the other project" >&2; exit 1; fi
cmake -S "$here/c" -B "$work/within/c" -DCMAKE_PREFIX_PATH="$work/within/prefix"
cmake --build "$work/within/c"
"$work/within/c/stranger" "$config"
echo "ten strangers built and ran"
