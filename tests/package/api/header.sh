#!/bin/sh
# SPDX-License-Identifier: MIT
# The header stands alone: as C11 and C++17, pedantic, with nothing included before it; twice in one unit.
#   sh tests/package/api/header.sh
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
flags="-I$root/include -pedantic-errors -Wall -Wextra -Werror -Wshadow -Wundef -fsyntax-only"
unit='#include "latchkey.h"
#include "latchkey.h"
int main(void) { return latchkey_version() == 0; }'
for compiler in gcc clang; do
    for standard in c11 c17; do
        printf '%s\n' "$unit" | $compiler -x c -std=$standard -Wstrict-prototypes -Wc++-compat $flags -
    done
done
for compiler in g++ clang++; do
    for standard in c++17 c++20; do
        printf '%s\n' "$unit" | $compiler -x c++ -std=$standard -Wold-style-cast $flags -
    done
done
