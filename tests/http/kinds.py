# SPDX-License-Identifier: MIT
"""The applications that browsers.py visits: how each is started, and what the documents say of it that does not hold for all.

Each has the same routes, behind its middleware:

    /page                    needs a session; the answer has X-App, X-User, and does what the header X-Do says (see `Do` in browsers.py)
    POST /login?user=N       makes a session
    POST /logout             ends those of the request
    POST /end?user=N         ends all of a user; without a user, of everybody
    /ready                   needs none
"""
import dataclasses
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BINDINGS = f"{HERE}/../bindings"
BUILD = os.environ.get("LATCHKEY_BUILD", ".")  # of the library, for the servers in C and the module for nginx
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")  # Debian's: it has Debian's Django, Flask and FastAPI
SECURE = ("path=/", "samesite=Lax", "httponly", "secure")


@dataclasses.dataclass
class Kind:
    name: str
    argv: list
    cwd: str = HERE
    environment: dict = dataclasses.field(default_factory=dict)
    cookie: str = "sid"
    attributes: tuple = ("path=/", "samesite=Lax", "httponly")
    login_ends: bool = False     # a login ends the sessions that the browser sent
    loses: frozenset = frozenset()  # what an application may do so that a renewed token is lost, as documented
    sockets_renew: bool = False  # what answers a WebSocket's handshake sends the cookie
    renews: bool = True
    hasty: bool = False          # a login sends the cookie also where Redis did not take the session
    is_django: bool = False      # a "no" deletes the cookie; a login goes on with a session of the same user
    several: bool = True         # of several cookies of one name each is tried
    written: str = "(.*)"        # what a cookie holds, and the token in it
    page: str = "/page"
    does: bool = True            # it does what X-Do says
    adapt: object = None         # makes the headers X-App and X-User of an answer
    ends: str = "/end"           # None: it cannot end the sessions of others
    ends_here: bool = True       # with the handle that checks them; False: with another one
    ends_for_all: bool = True    # it can end everybody's

    def token(self, value):
        found = re.fullmatch(self.written, value)
        return found[1] if found else value


def python(name, *server, **more):
    return Kind(name, [PYTHON, "-B", "-m", *server], f"{BINDINGS}/python/apps", {"PYTHONDONTWRITEBYTECODE": "1"}, **more)


def example(name):
    def adapt(answer):
        """It says in JSON whose page it is."""
        if answer.status == 200:
            answer.headers["X-App"] = "1"
            user = re.match(rb'{"user":"?(\d+)', answer.body)
            if user:
                answer.headers["X-User"] = user[1].decode()
    return Kind(name, [f"{BUILD}/examples/latchkey-server-{name}", "--port", "{port}", "--redis", "{url}", "--insecure-cookie"],
                environment={"ASAN_OPTIONS": "verify_asan_link_order=0"},  # the clock is loaded before it
                page="/whoami", login_ends=True, sockets_renew=True, does=False, adapt=adapt, ends=None)


def nginx(name, *more):
    return Kind(name, [sys.executable, "-B", f"{HERE}/../nginx/browsed_nginx.py", "{port}", "{url}", "{dir}", *more], sockets_renew=True,
                ends_here=False, ends_for_all=False, attributes=SECURE)


def uvicorn(name, **more):
    return python(name, "uvicorn", "--port", "{port}", "--log-level", "warning", f"browsed_{name}:app", **more)


def gunicorn(name, **more):
    return python(name, "gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "6", "--timeout", "0", "--log-level", "warning", "--graceful-timeout", "5",
                  "--worker-tmp-dir", "{dir}", f"browsed_{name}:app", login_ends=True, **more)


def node(name, **more):
    return Kind(name, ["node", "browsed.mjs", name], os.environ.get("LATCHKEY_BROWSED", "."), login_ends=True, **more)


def program(name, **more):
    return Kind(name, ["./browsed"], os.environ.get("LATCHKEY_BROWSED", "."), attributes=SECURE, **more)


KINDS = {kind.name: kind for kind in (
    uvicorn("asgi"), uvicorn("fastapi", login_ends=True, loses=frozenset(("raise",))), gunicorn("flask"), gunicorn("django", is_django=True),
    nginx("nginx"), nginx("lua", "lua"),
    example("threaded"), example("evented"),
    program("go", login_ends=True), program("rust", login_ends=True, sockets_renew=True),
    node("express"), node("fastify"), node("node"),
    node("store", cookie="connect.sid", renews=False, several=False, hasty=True, written=r"s%3A([\w-]{43})\..*"),
)}
