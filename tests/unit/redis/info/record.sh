#!/bin/sh
# SPDX-License-Identifier: MIT
# Records what the installed redis-server answers to INFO under different settings, for test_server_check.c.
#   sh tests/unit/redis/info/record.sh DIRECTORY     (tests/unit/redis/info, to replace what is there)
set -eu
out=$(cd "$1" && pwd)
work=$(mktemp -d)
servers=
cleanup() {
    for pid in $servers; do kill -9 "$pid" 2>/dev/null && wait "$pid" || :; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ask() {
    socket=$work/$1.sock
    shift
    redis-cli -s "$socket" "$@"
}
# start NAME OPTIONS...: and waits until it answers
start() {
    name=$1
    shift
    mkdir -p "$work/$name"
    # What exceeds FILE_BLOCKS is refused to the server, as a full disk would, instead of ending it.
    (trap '' XFSZ && ulimit -f "${FILE_BLOCKS-unlimited}" && cd "$work/$name" && exec /usr/bin/redis-server --port 0 \
        --unixsocket "$work/$name.sock" --save '' --enable-protected-configs yes "$@" >"$work/$name.log") &
    servers="$servers $!"
    until ask "$name" ping >"$work/pong" 2>&1; do sleep 0.05; done
}
until_info() { until ask "$1" info | tr -d '\r' | grep -q "$2"; do sleep 0.05; done; }
# The lines that server_check.c reads, and those that say which server it was; sections that have none of them go.
record() {
    ask "$1" info | awk '
        /^# /     { section = $0; next }
        !NF       { next }
        /^(redis_version|run_id|role|master_replid|slave[0-9]+|loading|maxmemory|maxmemory_policy|aof_enabled|aof_last_write_status|rdb_last_bgsave_status|connected_slaves|min_slaves_good_slaves):/ {
            if (section) { print (some++ ? "\r\n" : "") section; section = "" }
            print
        }' >"$out/$2.txt"
}

start plain
record plain nothing-kept
ask plain config set save '3600 1'
ask plain set k v
ask plain save
record plain snapshots
ask plain config set appendonly yes
until_info plain aof_rewrite_in_progress:0
ask plain config set maxmemory 100mb
record plain good
for policy in allkeys-lru volatile-ttl; do
    ask plain config set maxmemory-policy "$policy"
    record plain "$policy"
done
ask plain config set maxmemory 0
record plain unlimited-volatile-ttl

start snapshot
mkdir "$work/snapshot/gone" && ask snapshot config set dir "$work/snapshot/gone" && rmdir "$work/snapshot/gone"
ask snapshot bgsave
until_info snapshot rdb_last_bgsave_status:err
record snapshot snapshot-failed

FILE_BLOCKS=64
start full --appendonly yes --appendfsync everysec --loglevel warning
unset FILE_BLOCKS
value=$(head -c 3000 /dev/zero | tr '\0' x)
until ask full info | grep -q aof_last_write_status:err; do ask full set k "$value" >"$work/answer"; done
record full write-failed

port=$(shuf -i 20000-30000 -n 1)
start primary --port "$port" --appendonly yes --repl-diskless-sync-delay 0
start one --replicaof 127.0.0.1 "$port"
until_info primary state=online
record primary one-replica
ask primary config set min-replicas-to-write 1
until_info primary min_slaves_good_slaves:1
record primary one-replica-min
# A replica that has not got its first copy yet.
ask primary config set repl-diskless-sync-delay 1000
start two --replicaof 127.0.0.1 "$port"
until_info primary state=wait_bgsave
record primary one-of-two-replicas
ls -l "$out"
