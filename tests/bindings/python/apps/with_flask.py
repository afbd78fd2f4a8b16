# SPDX-License-Identifier: MIT
"""The application that test_web.py speaks to, in Flask."""
import os
import signal
import threading

import flask
from flask import request, session

import latchkey.flask
from opened import Stopping, opened

app = flask.Flask(__name__)
auth = latchkey.flask.Sessions(app, opened())


@app.post("/login")
def login():
    if "stop" in request.args:
        session._lk = Stopping(auth.lk)
    session.login(int(request.args["user"]), role="member")
    if "fail" in request.args:
        raise latchkey.Unavailable("something else that the login needs")
    if "data" in request.args:
        session["data"] = request.args["data"]
    return "welcome"


@app.get("/me")
def me():
    return (str(session.entry.user_id), {"Cache-Control": "public, max-age=60"}) if session.entry else ("no", 401)


@app.route("/socket", websocket=True)
def socket():
    return me()


@app.post("/logout")
def logout():
    session.logout()
    return "bye"


@app.get("/data")
def data():
    return dict(session)


@app.post("/data")
def change():
    # Everything that is read is read before the others have written: see `hold`.
    before = dict(session)
    hold()
    for name, value in request.args.items():
        if name != "hold":
            session[name] = value
    return before


@app.get("/twice")
def twice():
    """Reads the data twice while Redis stands still."""
    found = [str(session.entry.user_id)]
    os.kill(int(os.environ["LATCHKEY_REDIS_PID"]), signal.SIGSTOP)
    try:
        for _ in range(2):
            try:
                found.append(session.get("a"))
            except latchkey.Unavailable:
                found.append("no answer")
    finally:
        os.kill(int(os.environ["LATCHKEY_REDIS_PID"]), signal.SIGCONT)
    return found


def hold():
    """Waits until so many requests have come as far as this."""
    if "hold" in request.args:
        auth.gate.wait(30)


@app.get("/stats")
def stats():
    return auth.lk.stats()


@app.post("/gate")
def gate():
    auth.gate = threading.Barrier(int(request.args["parties"]))
    return ""


@app.get("/gate")
def waiting():
    return str(auth.gate.n_waiting)
