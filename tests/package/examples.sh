#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the examples of a build on a private Redis: the short programs, which the documents quote (readme.sh), each HTTP server as two
# instances spoken to with curl and then under the load of wrk. (The demo in Python is run by tests/bindings.)
#   sh tests/package/examples.sh BUILD [--servers]     --servers: the HTTP servers alone, for a build with a sanitizer
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
servers_alone=${2-}
case $servers_alone in '' | --servers) ;; *) echo "usage: sh tests/package/examples.sh BUILD [--servers]" >&2 && exit 2 ;; esac
work=$(mktemp -d)
servers=
. "$root/tests/support/redis.sh"
cleanup() {
    for pid in $servers; do kill "$pid" 2>/dev/null && wait "$pid" || :; done
    redis_end
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
redis_start "$work"
config="unix://$redis_socket?deadline_ms=10000"

# start NAME KIND: its address is left in $url
start() {
    : >"$work/$1.out" # the one before had the same name
    "$build/examples/latchkey-server-$2" --port 0 --insecure-cookie --redis "$config" >"$work/$1.out" 2>"$work/$1.err" &
    pid=$!
    servers="$servers $pid"
    tries=0
    until url=$(sed -n 's/^listening on //p' "$work/$1.out") && [ -n "$url" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$work/$1.err" >&2
            exit 1
        fi
        sleep 0.1
    done
}
# ask JAR CODE OPTIONS...: the answer's body is left in $work/body; another code than CODE ends the run
ask() {
    jar=$work/$1 wanted=$2
    shift 2
    code=$(curl -q -s -S --noproxy '*' --max-time 60 -b "$jar" -c "$jar" -o "$work/body" -w '%{http_code}' "$@")
    [ "$code" = "$wanted" ] || { echo "wanted $wanted, got $code for $*: $(cat "$work/body")" >&2; exit 1; }
}
# talk KIND: two instances of one server
talk() {
    start one "$1" && one=$url
    start two "$1" && two=$url
    rm -f "$work"/jar "$work"/none
    ask jar 401 "$one/whoami"
    ask jar 200 -X POST "$one/login?user=7"
    ask jar 200 "$one/whoami"
    grep -q '"user":7' "$work/body"
    ask jar 200 "$two/whoami"
    grep -q '"user":7' "$work/body"
    grep -q sid "$work/jar"
    cp "$work/jar" "$work/kept"
    ask jar 200 -X POST "$two/logout"
    cp "$work/kept" "$work/jar"
    ask jar 401 "$two/whoami" # where the logout was: at once
    cp "$work/kept" "$work/jar"
    tries=0                   # and on the other: as soon as the message is there
    while code=$(curl -q -s --noproxy '*' --max-time 60 -b "$work/jar" -o "$work/body" -w '%{http_code}' "$one/whoami") &&
        [ "$code" != 401 ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "the other instance still answers $code" >&2; exit 1; }
        sleep 0.1
    done
    ask none 404 "$one/no-such-route"
    ask none 404 "$one/login?user=7" # wants POST
    ask none 400 -X POST "$one/login"
    ask none 400 -X POST "$one/login?user=18446744073709551616"
    ask none 401 -H 'Cookie: sid=forged' "$one/whoami"
    ask none 401 -X POST -H 'Cookie: a=b; sid=forged; c=d' "$one/logout"
    ask none 401 -X POST -H "Cookie: sid=$(printf 'A%.0s' $(seq 4000))" "$one/logout"
    ask none 401 -H 'Cookie: xsid=1; sid' "$one/whoami"
    ask none 200 "$one/healthz"
    ask none 200 "$one/metrics"
    promtool check metrics <"$work/body"
    for pid in $servers; do
        kill -TERM "$pid"
        wait "$pid" || { echo "a server ended with status $?" >&2; exit 1; }
    done
    servers=
    if grep . "$work/one.err" "$work/two.err"; then echo "the servers complained, see above" >&2 && exit 1; fi
}
for kind in threaded evented; do
    echo "--- the $kind server, two instances"
    talk "$kind"
done
echo "--- what the servers answer where a request is not the usual one"
python3 -B "$root/tests/http/answers.py" "$build"
echo "--- browsers, proxies and faults at random"
LATCHKEY_BUILD="$build" python3 -B "$root/tests/http/browsers.py" --seconds "${LATCHKEY_BROWSERS_S:-8}" threaded evented
echo "--- the servers under load"
python3 "$root/tests/http/load.py" "$build" --seconds 1
[ -z "$servers_alone" ] || exit 0

echo "--- the recipe"
python3 -B "$root/tests/http/recipe.py" "$build"

# run NAME [CONFIG]: what it prints is left in $work/said
run() {
    echo "--- $1"
    "$build/examples/latchkey-$1" "${2-$config}" >"$work/said" || { echo "latchkey-$1 ended with status $?" >&2; exit 1; }
    cat "$work/said"
}
run minimal
grep -q 'user 42' "$work/said"
grep -q NOT_FOUND "$work/said"
run event-loop "$config&l1_capacity=0" # or the session that was just made would be answered from memory, and nothing by the loop
[ "$(grep -c 'OK.*user 42' "$work/said")" = 8 ]
run workers
[ "$(grep -c 'worker .*OK' "$work/said")" = 4 ]
run move-in
grep -q OK "$work/said"

echo "the examples ran"
