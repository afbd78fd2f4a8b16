#!/bin/sh
# SPDX-License-Identifier: MIT
# Does layers.sh notice each rule that is broken? All are broken at once, in a copy of src.
#   sh tests/package/test_layers.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
mkdir "$work/broken"
cp -r "$root/src" "$root/include" "$work/broken"
cd "$work/broken/src"

echo '#include "l2/l2.h"' >>l1/l1.c
echo '#include "l1/l1.h"' >>l2/pool.c
echo '#include "session/judge.h"' >>base/log.c
echo '#include "log.h"' >>base/token.c
echo '#include "base/nothing.h"' >>base/token.c
printf 'typedef struct lk_alone { lk_not_declared at; } lk_alone;\n' >base/alone.h
echo '#include <hiredis/hiredis.h>' >>l2/pool.c
echo '#include <openssl/ssl.h>' >>redis/net.c
echo '#include <sodium.h>' >>base/token.c
echo '#include <sys/socket.h>' >>session/begin.c
printf '#include "base/circle_b.h"\n' >base/circle_a.h
printf '#include "base/circle_a.h"\n' >base/circle_b.h
printf '\nint lk_wipe(int a)\n{\n    return a;\n}\n' >>base/token.c
printf '\nenum lk_net_io lk_lookup_ask(int a,\n                             int b)\n{\n    return a + b;\n}\n' >>base/token.c
mkdir elsewhere
echo 'int lk_lost;' >lost.c

code=0
sh "$root/tests/package/layers.sh" "$work/broken" >"$work/said" 2>&1 || code=$?
# notices WHAT LINE
notices() {
    if [ "$code" = 1 ] && grep -qF "$2" "$work/said"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not noticed: $1 (status $code)"
    fi
}
notices "L1 includes L2" 'src/l1/l1.c: l1 may not include l2: "l2/l2.h"'
notices "L2 includes L1" 'src/l2/pool.c: l2 may not include l1'
notices "the bottom includes the top" 'src/base/log.c: base may not include session'
notices "an include without a folder" 'src/base/token.c: #include "log.h" names no folder'
notices "a file that is not there" 'there is no src/base/nothing.h'
notices "a header that does not compile alone" 'src/base/alone.h: it does not compile alone'
notices "hiredis elsewhere" 'hiredis is included in redis/resp.c alone'
notices "libssl elsewhere" 'libssl is included in redis/tls* alone'
notices "libsodium elsewhere" 'libsodium is included in base/crypto.c alone'
notices "a socket in a session" 'src/session/begin.c:'
notices "headers in a circle" 'it is in a circle of headers'
notices "a function's name twice" 'lk_wipe(): src/base/crypto.c src/base/token.c: one name in several files'
notices "a function of two lines, twice" 'lk_lookup_ask(): src/base/token.c src/redis/lookup.c: one name in several files'
notices "a folder without a rule" 'src/elsewhere: no rule says what it may include'
notices "a file in no folder" 'src/lost.c: it lies in no folder'
[ "$failed" = 0 ] || cat "$work/said"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
