#!/bin/sh
# SPDX-License-Identifier: MIT
# Is everything here that the tests need? Names all that is missing, each with what it is for. tests/run.sh begins with it.
#   sh tests/ready.sh [--quick]
set -u
quick=${1-} missing=0
lacks() {
    echo "missing: $1"
    missing=$((missing + 1))
}

tools="gcc g++ clang clang++ cmake ctest ninja ccache pkg-config clang-format nm redis-server redis-cli curl python3 perl setsid flock taskset faketime groff psql"
[ "$quick" = --quick ] || tools="$tools luajit mypy gunicorn uvicorn debootstrap chroot wrk valgrind promtool spin qemu-aarch64 aarch64-linux-gnu-gcc caddy haproxy node npm go cargo"
PATH=$PATH:/usr/sbin
for tool in $tools; do
    command -v "$tool" >/dev/null || lacks "the program $tool"
done
[ -x /usr/sbin/nginx ] && [ -e /usr/share/nginx/src/conf_flags ] || lacks "nginx, and nginx-dev, for the module"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || lacks "a PostgreSQL server, for what moves in from one"
php -r 'exit(!extension_loaded("redis") || !is_dir("/usr/share/php/Illuminate/Redis"));' 2>/dev/null ||
    lacks "PHP with phpredis and Laravel's illuminate-redis, for what moves in from them"
ruby -e 'Gem::Specification.find_by_name("redis-actionpack")' 2>/dev/null || lacks "Ruby with redis-actionpack, for what moves in from Rails"
/usr/bin/python3 -c 'import django_redis, flask_session, msgpack' 2>/dev/null || lacks "Django, django-redis, Flask-Session and msgpack for /usr/bin/python3, for what moves in from them"
[ "$quick" = --quick ] || /usr/bin/python3 -c 'import setuptools, wheel, flask, fastapi' 2>/dev/null ||
    lacks "setuptools, wheel, Flask and FastAPI for /usr/bin/python3, for the Python binding"
if command -v pkg-config >/dev/null; then
    for library in hiredis libsodium libxxhash openssl cmocka lua5.1 libmicrohttpd libevent; do
        pkg-config --exists "$library" || lacks "the library $library, with its headers"
    done
fi

if command -v python3 >/dev/null; then
    python3 -c 'import pty, os; pty.openpty()' 2>/dev/null ||
        lacks "a pseudo-terminal, for the command on a terminal: mount -t devpts devpts /dev/pts"
    python3 -c 'import socket; socket.create_server(("127.0.0.1", 0))' 2>/dev/null ||
        lacks "a port on 127.0.0.1, for servers: is the loopback interface up?"
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).close()' 2>/dev/null || lacks "unix sockets, for servers"
fi
[ -w /dev/full ] || lacks "/dev/full, for output that cannot be written"
probe=$(mktemp "${TMPDIR:-/tmp}/latchkey-XXXXXX") && printf '#!/bin/sh\n' >"$probe" && chmod +x "$probe" && "$probe" 2>/dev/null ||
    lacks "a ${TMPDIR:-/tmp} where programs may be made and run: set TMPDIR to another folder"
rm -f "$probe"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 1024 ] || lacks "1024 open files for a process: ulimit -n 1024"
room=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
[ "$room" -ge 4000 ] || lacks "4 GB of disk for what is built: there are $room MB"

[ "$missing" = 0 ] && echo "all that is needed is here"
[ "$missing" = 0 ]
