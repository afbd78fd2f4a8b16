# SPDX-License-Identifier: MIT
# For shell scripts: a private redis-server on a unix socket alone, in a directory of its own.
#   . support/redis.sh; redis_start DIR   sets redis_pid and redis_socket;   redis_end
redis_pid=
redis_start() {
    redis_socket=$1/redis.sock
    redis-server --port 0 --unixsocket "$redis_socket" --dir "$1" --save '' --appendonly no --daemonize no \
        >"$1/redis.log" 2>&1 &
    redis_pid=$!
    tries=0
    until redis-cli -s "$redis_socket" PING 2>/dev/null | grep -q PONG; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$redis_pid" 2>/dev/null; then
            cat "$1/redis.log" >&2
            echo "redis-server does not start" >&2
            return 1
        fi
        sleep 0.1
    done
}
redis_end() {
    [ -z "$redis_pid" ] || { kill "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || :
    redis_pid=
}
