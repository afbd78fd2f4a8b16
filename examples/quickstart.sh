#!/bin/sh
# SPDX-License-Identifier: MIT
# From nothing to the main job on real HTTP requests, on one machine.
#   sh examples/quickstart.sh [--sessions N | --sentinel | --cluster]
set -eu
unset CDPATH # with it, cd prints where it went
sentinel='' cluster=''
case ${1-} in
-h | --help)
    cat <<'TEXT'
sh examples/quickstart.sh [--sessions N | --sentinel | --cluster]

Installs the Debian packages that are missing, builds the library and two examples into build-quickstart/, starts a
private Redis and three HTTP servers on loopback, on free ports, and shows on real requests: logins with key material,
what a request waits for on a hit and on a miss, how many commands Redis is spared, how fast a logout on one instance
is refused by another, and what a session costs in memory. Everything it started is ended and removed at the end,
also on Ctrl-C; build-quickstart/ stays, so that the next run starts at once.

  --sessions N   logins to make, 100 to 100,000 (2,000)
  --sentinel     instead of all that: three sentinels, a primary that is killed under load, and a picture of the
                 requests that were answered and refused meanwhile
  --cluster      instead of all that: a cluster of six nodes, slots that move and a primary that is killed under load,
                 and the same picture

It ends with status 0 only if every answer on the way was the right one.
TEXT
    exit 0
    ;;
'') sessions=2000 ;;
--sentinel) sessions=2000 sentinel=yes ;;
--cluster) sessions=2000 cluster=yes ;;
--sessions) sessions=${2:-} ;;
*) sessions= ;;
esac
case $sessions in
'' | *[!0-9]* | ???????*) echo "usage: sh examples/quickstart.sh [--sessions N | --sentinel | --cluster]; --help tells more" >&2 && exit 2 ;;
esac
if [ "$sessions" -lt 100 ] || [ "$sessions" -gt 100000 ]; then
    echo "quickstart: --sessions wants a number from 100 to 100000" >&2
    exit 2
fi

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
build=$root/build-quickstart
tmp=$(mktemp -d)
pids='' running=''

# Whatever happens: the servers are asked to stop, then Redis, each by its id, and waited for.
cleanup() {
    trap '' INT TERM HUP
    for pid in $running $pids; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || :
    done
    rm -rf "$tmp"
}
trap cleanup EXIT
exec 3>&2 # what runs when the signal comes may have its errors redirected
trap 'echo "quickstart: interrupted; cleaning up" >&3; exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

fail() {
    [ $# -lt 2 ] || [ ! -s "$2" ] || tail -n 40 "$2" | sed 's/^/    | /' >&2
    echo "quickstart: $1" >&2
    exit 1
}
bold='' normal=''
if [ -t 1 ]; then bold=$(printf '\033[1m') normal=$(printf '\033[0m'); fi
step() { printf '\n%s%2s  %s%s\n' "$bold" "$1" "$2" "$normal"; }
say() { printf '    %s\n' "$*"; }

echo "latchkey: is this session valid, and whose is it? Answered from the process's own memory."

# ------------------------------------------------------------------------------------------------ build --
step 1 "Build"
sh "$root/tests/need.sh" build-essential cmake pkg-config libhiredis-dev libsodium-dev libxxhash-dev libssl-dev \
    libmicrohttpd-dev libevent-dev redis-server redis-tools curl python3 || fail "packages are missing, see above"
began=$(date +%s)
[ ! -t 1 ] || printf '    compiling ...\r'
{
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DLATCHKEY_EXAMPLES=ON -DBUILD_SHARED_LIBS=ON &&
        cmake --build "$build" --parallel "$(nproc)" --target latchkey-server-threaded latchkey-minimal
} >"$tmp/build.log" 2>&1 || fail "the build failed, see above; if $build is from another compiler or place, remove it and try again" "$tmp/build.log"
say "the library, the 20-line program and an HTTP server, in build-quickstart/, $(($(date +%s) - began)) s"

# In the background and waited for: a shell acts on a signal while it waits, and not while a command runs.
attend() {
    "$@" &
    running=$!
    wait "$running"
    running=
}

if [ -n "$sentinel" ]; then
    attend python3 "$here/failover.py" --server "$build/examples/latchkey-server-threaded"
    printf '\n    What a failover can lose, and how to order one without loss: include/guarantees.md\n'
    exit 0
fi

if [ -n "$cluster" ]; then
    attend python3 -B "$here/resharding.py" --server "$build/examples/latchkey-server-threaded"
    printf '\n    How to choose partitions, and what holds while slots move: include/configuration.md, "Cluster", and include/guarantees.md, "Cluster"\n'
    exit 0
fi

# ------------------------------------------------------------------------------------------------ start --
step 2 "Start a private Redis and three instances of the HTTP server"

# Between asking for a free port and using it another process may take it, so that a few are tried; the process id
# tells our Redis from somebody else's.
start_redis() {
    for _ in $(seq 5); do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --daemonize no --dir "$tmp" \
            >"$tmp/redis.log" 2>&1 &
        pids=$!
        for _ in $(seq 50); do
            sleep 0.1
            kill -0 "$pids" 2>/dev/null || break
            if redis-cli -p "$port" INFO server 2>/dev/null | tr -d '\r' | grep -qx "process_id:$pids"; then return 0; fi
        done
        kill "$pids" 2>/dev/null && wait "$pids"
        pids=
    done
    fail "Redis did not start on any of five free ports of 127.0.0.1; what it said is above" "$tmp/redis.log"
}

# start_server NAME OPTIONS: its address is left in $url.
start_server() {
    "$build/examples/latchkey-server-threaded" --port 0 --insecure-cookie --redis "redis://127.0.0.1:$port?$2" \
        >"$tmp/$1.out" 2>"$tmp/$1.err" &
    pids="$! $pids"
    for _ in $(seq 50); do
        url=$(sed -n 's/^listening on //p' "$tmp/$1.out")
        [ -z "$url" ] || return 0
        kill -0 "$!" 2>/dev/null || break
        sleep 0.1
    done
    fail "server $1 did not start; if 127.0.0.1 has no free port, end what holds them and try again" "$tmp/$1.err"
}

start_redis
# A wider deadline than the usual 250 ms: a machine that is busy with other things should not fail what is shown here.
start_server a 'deadline_ms=1000' && a=$url
start_server b 'deadline_ms=1000' && b=$url
start_server c 'deadline_ms=1000&l1_capacity=0' && c=$url
say "Redis  127.0.0.1:$port, $(redis-server --version | sed 's/.* v=\([^ ]*\).*/version \1/'), nothing written to disk"
say "A      $a"
say "B      $b"
say "C      $c   without L1 (l1_capacity=0), for comparison"

# --------------------------------------------------------------------------------------------- by hand --
step 3 "One session, by hand"
# What curl printed, without the secret half of the token and the lines that say nothing here.
show() { tr -d '\r' | sed -n -e 's/\(sid=[^;]\{20\}\)[^;]*;/\1...;/' -e '/^HTTP\|^Set-Cookie\|^X-Latchkey\|^{/s/^/      /p'; }
# The user's own curlrc and proxy have no say on loopback.
ask() { curl -q -s -S --noproxy '*' --max-time 5 -b "$tmp/jar" -c "$tmp/jar" "$@"; }
request() {
    say "$1"
    shift
    ask -i "$@" >"$tmp/curl.out" 2>&1 || fail "curl had no answer" "$tmp/curl.out"
    show <"$tmp/curl.out"
}
expect() { grep -q "$1" "$tmp/curl.out" || fail "WRONG: $2"; }
request "A: POST /login?user=42" -X POST "$a/login?user=42"
expect '"user":42' "the login failed"
request "B: GET /whoami, its first sight of this session: Redis is asked" "$b/whoami"
expect '"user":42' "B does not know whose session this is"
request "B: GET /whoami, again: from its own memory" "$b/whoami"
expect '"user":42' "B does not know whose session this is"
cp "$tmp/jar" "$tmp/stolen"
request "A: POST /logout" -X POST "$a/logout"
expect '"ended":true' "the logout failed"
cp "$tmp/stolen" "$tmp/jar"
for _ in $(seq 10); do # step 7 tells how long it takes; here it has a second, on a machine however busy
    [ "$(ask -o "$tmp/body" -w '%{http_code}' "$b/whoami")" = 200 ] || break
    sleep 0.1
done
request "B: GET /whoami, with the cookie that somebody kept" "$b/whoami"
expect '^HTTP/1.1 401' "B took the cookie of a session that was logged out on A"

# ----------------------------------------------------------------------------------------- by the thousand --
attend python3 "$here/quickstart.py" --redis-port "$port" --a "$a" --b "$b" --c "$c" --sessions "$sessions" --step 4

step 9 "The 20-line program (examples/minimal.c)"
config=redis://127.0.0.1:$port
attend "$build/examples/latchkey-minimal" "$config" >"$tmp/minimal.out" 2>&1 || fail "latchkey-minimal failed" "$tmp/minimal.out"
sed 's/^/    /' "$tmp/minimal.out"

printf '\n    Every answer was the right one. Next: README.md, include/latchkey.h, examples/server_threaded.c\n'
