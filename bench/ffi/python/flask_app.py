# SPDX-License-Identifier: MIT
"""One page of Flask behind a session check: application("none"), application("latchkey") or application("flask-session")."""
import os

import flask
import flask_session
import redis

import latchkey
import latchkey.flask

SOCKET = os.environ["LATCHKEY_REDIS_SOCKET"]


def application(kind):
    app = flask.Flask(kind)
    if kind == "latchkey":
        latchkey.flask.Sessions(app, latchkey.open(f"unix://{SOCKET}?deadline_ms=10000", log=None))
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
