#!/bin/sh
# SPDX-License-Identifier: MIT
# Is everything formatted as .clang-format says?
#   sh tests/package/format.sh [--fix]
set -eu
cd "$(dirname "$0")/../.."
what='--dry-run --Werror'
[ "${1-}" != --fix ] || what=-i
find include src tests bench examples \( -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.hpp' \) -print0 |
    xargs -0 clang-format $what
