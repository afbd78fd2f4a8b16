#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the C++ header, as it is installed: g++ and clang, with AddressSanitizer, and without exceptions.
#   sh tests/bindings/cpp/run.sh DIR      (DIR is not used: the library installs the header)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$LATCHKEY_WORK
strict="-std=c++17 -Wall -Wextra -Wshadow -Wpedantic -Werror"
flags="$(pkg-config --cflags latchkey)" libs="$(pkg-config --libs latchkey) -pthread"

# build NAME COMPILER SOURCE OPTIONS...
build() {
    name=$1 compiler=$2 source=$3
    shift 3
    # shellcheck disable=SC2086 # flags are words
    $compiler $strict "$@" $flags "$source" -o "$work/$name" $libs
}
# README.md's first lines, as a program.
awk '/^```cpp/ { inside = 1; next } /^```/ { if (inside) exit } inside' "$root/src/bindings/cpp/README.md" >"$work/readme.lines"
[ "$(wc -l <"$work/readme.lines")" -le 10 ]
sed "s|redis://127.0.0.1:6379|unix://$LATCHKEY_REDIS_SOCKET?deadline_ms=10000|" "$work/readme.lines" |
    awk '/^#include/ { print; next } !begun { print "int main()\n{"; begun = 1 } { print } END { print "}" }' >"$work/readme.cpp"

build list g++ "$here/list.cpp" -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all &
one=$!
build list-clang clang++ "$here/list.cpp" -O2 &
two=$!
wait $one && wait $two
build bare g++ "$here/bare.cpp" -fno-exceptions -fno-rtti
build bare-clang clang++ "$here/bare.cpp" -fno-exceptions
libs="$libs $(pkg-config --libs libevent libuv)"
build adapters g++ "$here/adapters.cpp" -DASIO_STANDALONE
build readme g++ "$work/readme.cpp"
for adapter in libevent libuv; do # they are C as well
    printf '#include <latchkey/adapters/%s.h>\nint main(void) { return 0; }\n' $adapter >"$work/adapter.c"
    # shellcheck disable=SC2086
    cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function $flags "$work/adapter.c" -o "$work/adapter" $libs
done

"$work/bare" && "$work/bare-clang"
"$work/adapters"
[ "$("$work/readme")" = "42 member" ]
echo "ok 25 the README's first lines"
"$work/list-clang" --quick >"$work/clang.log" 2>&1 || { cat "$work/clang.log"; exit 1; }
"$work/list"
