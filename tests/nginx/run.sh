#!/bin/sh
# SPDX-License-Identifier: MIT
# The nginx module in Debian's nginx, on a private Redis.
#   sh tests/nginx/run.sh BUILD [NAME...]     BUILD: one with -DLATCHKEY_NGINX=ON; NAME: test_NAME.py alone
set -u
here=$(cd "$(dirname "$0")" && pwd)
LATCHKEY_BUILD=$(cd "$1" && pwd)
export LATCHKEY_BUILD
shift
[ $# -gt 0 ] || set -- $(cd "$here" && ls test_*.py | sed 's/^test_//; s/\.py$//')
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# Side by side, since most of them wait most of the time.
for name in "$@"; do
    { python3 -B "$here/test_$name.py" >"$logs/$name.log" 2>&1 && : >"$logs/$name.ok"; } &
done
wait
failed=0
for name in "$@"; do
    echo "$name:"
    cat "$logs/$name.log"
    [ -e "$logs/$name.ok" ] || failed=1
done
exit $failed
