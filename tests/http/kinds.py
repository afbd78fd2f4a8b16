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

HERE = os.path.dirname(os.path.abspath(__file__))
BINDINGS = f"{HERE}/../bindings"
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")  # Debian's: it has Debian's Django, Flask and FastAPI


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


def python(name, *server, **more):
    return Kind(name, [PYTHON, "-B", "-m", *server], f"{BINDINGS}/python/apps", {"PYTHONDONTWRITEBYTECODE": "1"}, **more)


def uvicorn(name, **more):
    return python(name, "uvicorn", "--port", "{port}", "--log-level", "warning", f"browsed_{name}:app", **more)


KINDS = {kind.name: kind for kind in (
    uvicorn("asgi"),
    Kind("go", ["./browsed"], os.environ.get("LATCHKEY_BROWSED", "."), attributes=("path=/", "samesite=Lax", "httponly", "secure")),
)}
