#!/bin/sh
# SPDX-License-Identifier: MIT
# The nginx module in Debian's nginx, on a private Redis.
#   sh tests/nginx/run.sh BUILD [PATTERN]     a build with -DLATCHKEY_NGINX=ON
set -u
here=$(cd "$(dirname "$0")" && pwd)
LATCHKEY_BUILD=$(cd "$1" && pwd)
export LATCHKEY_BUILD
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# Side by side, since most of them wait most of the time.
for test in "$here"/test_*${2-}*.py; do
    name=$(basename "$test" .py)
    { python3 -B "$test" >"$logs/$name.log" 2>&1 && : >"$logs/$name.ok"; } &
done
wait
failed=0
for test in "$here"/test_*${2-}*.py; do
    name=$(basename "$test" .py)
    echo "$name:"
    cat "$logs/$name.log"
    [ -e "$logs/$name.ok" ] || failed=1
done
exit $failed
