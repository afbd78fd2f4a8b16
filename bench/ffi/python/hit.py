# SPDX-License-Identifier: MIT
"""What a hit costs in Python, and what a request costs in Flask: without sessions, with latchkey, with Flask-Session on Redis.

A request is one call of the WSGI application, without a network."""
import asyncio
import io
import os
import platform
import statistics
import timeit
import warnings

import flask
import flask_session
import redis

import latchkey
import latchkey.flask

warnings.simplefilter("ignore")
SOCKET = os.environ["LATCHKEY_REDIS_SOCKET"]
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


def application(kind):
    app = flask.Flask(kind)
    if kind == "latchkey":
        latchkey.flask.Sessions(app, lk)
    if kind == "flask-session":
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(unix_socket_path=SOCKET))
        flask_session.Session(app)

    @app.get("/login")
    def login():
        if kind == "latchkey":
            flask.session.login(42, role="member")
        elif kind == "flask-session":
            flask.session["user"] = 42
        return "welcome"

    @app.get("/")
    def page():
        if kind == "latchkey":
            return str(flask.session.entry.user_id)
        return str(flask.session["user"]) if kind == "flask-session" else "42"
    return app


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
for kind, what in kinds.items():
    versions = f"{PYTHON}, Flask {flask.__version__}" + (f", Flask-Session {flask_session.__version__}" if kind == "flask-session" else "")
    row(what, request_us=statistics.median(times[kind]), commands=asked[kind] / 7 / REQUESTS, versions=versions)
