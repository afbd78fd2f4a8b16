#!/bin/sh
# SPDX-License-Identifier: MIT
# The nginx module in Debian's nginx, on a private Redis.
#   sh tests/nginx/run.sh BUILD [PATTERN]     a build with -DLATCHKEY_NGINX=ON
set -u
here=$(cd "$(dirname "$0")" && pwd)
LATCHKEY_BUILD=$(cd "$1" && pwd)
export LATCHKEY_BUILD
failed=0
for test in "$here"/test_*${2-}*.py; do
    echo "$(basename "$test"):"
    python3 -B "$test" || failed=1
done
exit $failed
