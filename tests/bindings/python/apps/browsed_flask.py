# SPDX-License-Identifier: MIT
"""The application that tests/http/browsers.py visits, in Flask."""
import time

import flask
from flask import request, session

import latchkey.flask
from browsed import Fault, Handled, plan
from opened import opened

app = flask.Flask(__name__)
app.config["SESSION_COOKIE_NAME"] = "sid"
auth = latchkey.flask.Sessions(app, opened())
METHODS = ["GET", "HEAD", "POST", "OPTIONS"]


def in_pieces(pieces, cut):
    for piece in pieces:
        yield piece
        time.sleep(0.01)
        if cut:
            raise Fault


def page():
    if session.entry is None:
        return "", 401, {"Cache-Control": "no-store"}
    request.get_data()
    do, user = request.headers.get("X-Do", ""), session.entry.user_id
    if "slow" in do:
        time.sleep(0.05)
        session["seen"] = session.get("seen", 0) + 1
    status, headers, pieces = plan(do, request.headers.get("X-Value"), user)
    response = flask.Response(in_pieces(pieces, "cut" in do) if "stream" in do or "cut" in do else pieces, status)
    for name, value in headers:
        if name == "Content-Type":
            response.headers[name] = value
        else:
            response.headers.add(name, value)
    return response


app.add_url_rule("/page", view_func=page, methods=METHODS, provide_automatic_options=False)
app.add_url_rule("/page", "socket", page, websocket=True)


@app.errorhandler(Handled)
def handled(_):
    return "", 418, {"X-App": "1", "X-User": str(session.entry.user_id)}


@app.post("/login")
def login():
    session.login(int(request.args["user"]), role="member")
    return "", {"X-App": "1"}


@app.post("/logout")
def logout():
    session.logout()
    return "", {"X-App": "1"}


@app.post("/end")
def end():
    if "user" in request.args:
        auth.lk.revoke_user(int(request.args["user"]))
    else:
        auth.lk.revoke_everyone()
    return "", {"X-App": "1"}


@app.get("/ready")
def ready():
    return ""
