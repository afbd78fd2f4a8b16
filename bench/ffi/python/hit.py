# SPDX-License-Identifier: MIT
"""What a hit costs in Python, and what a request costs in Flask: without sessions, with latchkey, with Flask-Session on Redis. First as a
call of the WSGI application, then under gunicorn (one process, two threads), with wrk on one connection."""
import asyncio
import contextlib
import http.client
import io
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time
import timeit
import warnings

import flask
import flask_session
import redis

import latchkey
from flask_app import SOCKET, application

warnings.simplefilter("ignore")
CALLS, REQUESTS = int(os.environ["LATCHKEY_CALLS"]), int(os.environ["LATCHKEY_REQUESTS"])
PYTHON = f"CPython {platform.python_version()}"
lk = latchkey.open(f"unix://{SOCKET}?deadline_ms=10000", log=None)
token = lk.create(42, role="member")
store = redis.Redis(unix_socket_path=SOCKET)


def median_ns(code, number, **names):
    """Of one execution of the code, without the loop around it."""
    loop = min(timeit.repeat("pass", number=number, repeat=5))
    return (statistics.median(timeit.repeat(code, globals=names, number=number, repeat=5)) - loop) / number * 1e9


def row(what, hit_ns=None, request_us=None, commands=None, versions=PYTHON):
    cells = [f"{value:.1f}" if value is not None else "-" for value in (hit_ns, request_us, commands)]
    print("row", what, *cells, versions, sep="\t")


row("lk.validate(token)", median_ns("lk.validate(token)", CALLS, lk=lk, token=token))
row("lk.validate(token), and four members",
    median_ns("entry = lk.validate(token); entry.user_id; entry.role; entry.device; entry.expires_at_ms", CALLS, lk=lk, token=token))


async def awaited():
    aio, rounds = lk.aio, []
    for _ in range(5):
        began = timeit.default_timer()
        for _ in range(CALLS // 10):
            await aio.validate(token)
        rounds.append((timeit.default_timer() - began) / (CALLS // 10))
    return statistics.median(rounds) * 1e9


row("await lk.aio.validate(token)", asyncio.run(awaited()))
store.set("a session", "x" * 120)
versions = f"{PYTHON}, redis-py {redis.__version__}"
row("redis-py: GET of 120 bytes", median_ns("store.get('a session')", max(CALLS // 500, 100), store=store), commands=1, versions=versions)


def caller(app):
    """A function that makes one request, with the cookie of a login."""
    def ask(path, cookie=""):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": "localhost",
                   "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.input": io.BytesIO(),
                   "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
                   "HTTP_COOKIE": cookie}
        said = []
        body = b"".join(app(environ, lambda status, headers, info=None: said.append((status, headers))))
        return body, said[0]
    login = ask("/login")[1]
    cookie = "; ".join(value.split(";")[0] for name, value in login[1] if name == "Set-Cookie")

    def once():
        assert ask("/", cookie)[0] == b"42"
    return once


def commands():
    return store.info("stats")["total_commands_processed"]


# Round by round, one beside the other, so that the machine's moods fall on all of them.
kinds = {"none": "Flask, no session", "latchkey": "Flask, latchkey", "flask-session": "Flask, Flask-Session on Redis"}
callers = {kind: caller(application(kind)) for kind in kinds}
times, asked = {kind: [] for kind in kinds}, dict.fromkeys(kinds, 0)
for _ in range(7):
    for kind, once in callers.items():
        before = commands()
        times[kind].append(timeit.timeit(once, number=REQUESTS) / REQUESTS * 1e6)
        asked[kind] += commands() - before - 1
versions = f"{PYTHON}, Flask {flask.__version__}"
more = {"flask-session": f", Flask-Session {flask_session.__version__}"}
for kind, what in kinds.items():
    row(f"{what}: the application alone", request_us=statistics.median(times[kind]), commands=asked[kind] / 7 / REQUESTS,
        versions=versions + more.get(kind, ""))


@contextlib.contextmanager
def gunicorn(kind):
    """(port, cookie) of a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-B", "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "2",
                               "--log-level", "error", "--chdir", os.path.dirname(os.path.abspath(__file__)),
                               f"flask_app:application('{kind}')"])
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/login")
                response = connection.getresponse()
                break
            except OSError:
                time.sleep(0.05)
        cookies = response.headers.get_all("Set-Cookie") or [""]
        connection.close()
        yield port, cookies[0].split(";")[0]
    finally:
        server.terminate()
        server.wait()


def wrk(port, cookie):
    """Microseconds a request."""
    said = subprocess.run(["wrk", "-t1", "-c1", f"-d{SECONDS}", "-H", f"Cookie: {cookie}", f"http://127.0.0.1:{port}/"], check=True,
                          capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    return 1e6 / float(re.search(r"Requests/sec: +([0-9.]+)", said)[1])


SECONDS = max(REQUESTS // 2500, 1)
with contextlib.ExitStack() as stack:
    servers = {kind: stack.enter_context(gunicorn(kind)) for kind in kinds}
    times, asked, made = {kind: [] for kind in kinds}, dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    for _ in range(5):
        for kind, (port, cookie) in servers.items():
            before = commands()
            times[kind].append(wrk(port, cookie))
            asked[kind] += commands() - before - 1
            made[kind] += SECONDS * 1e6 / times[kind][-1]
for kind, what in kinds.items():
    row(f"{what}: under gunicorn", request_us=statistics.median(times[kind]), commands=asked[kind] / made[kind],
        versions=versions + more.get(kind, ""))
