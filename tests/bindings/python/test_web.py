# SPDX-License-Identifier: MIT
"""Flask and Django under gunicorn, FastAPI and the ASGI middleware under uvicorn: Debian's versions, real sockets, several processes."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings

import latchkey
from support import REDIS_PID, SHORT, URL, WORK, point, redis_stopped, run, wait_until

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
SECONDS = 60  # nothing here takes so long, however slow the machine is


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read().decode()
        self.set_cookies = response.headers.get_all("Set-Cookie") or []


class Client:
    """A browser: one cookie."""

    def __init__(self, path, cookie=None):
        self.path, self.cookie = path, cookie

    def ask(self, method, path, cookie=None, headers=()):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(SECONDS)
        sent = cookie or (f"session={self.cookie}" if self.cookie else None)
        with contextlib.closing(connection):
            connection.sock.connect(self.path)
            connection.request(method, path, headers={"Cookie": sent, **dict(headers)} if sent else {})
            answer = Answer(connection.getresponse())
        for line in answer.set_cookies:
            self.cookie = re.match(r"session=([^;]*)", line)[1].strip('"') or None
        return answer

    def get(self, path, status=200, **how):
        answer = self.ask("GET", path, **how)
        assert answer.status == status, (path, answer.status, answer.body)
        return answer

    def post(self, path, status=200, **how):
        answer = self.ask("POST", path, **how)
        assert answer.status == status, (path, answer.status, answer.body)
        return answer


class Server:
    """with Server("flask", "--threads", "8") as socket_path"""
    number = 0

    def __init__(self, kind, *options, url=SHORT):
        self.kind = kind
        Server.number += 1
        self.path = os.path.join(WORK, f"{kind}{Server.number}.sock")
        self.log = os.path.join(WORK, f"{kind}{Server.number}.log")
        program = [sys.executable, "-B", "-m"]
        if kind == "fastapi":
            program += ["uvicorn", "--uds", self.path, "--log-level", "warning", *options, "with_fastapi:app"]
        else:
            program += ["gunicorn", "--bind", f"unix:{self.path}", "--log-level", "warning", "--graceful-timeout", "5",
                        "--worker-tmp-dir", WORK, *options, f"with_{kind}:app"]
        self.program, self.environ = program, {**os.environ, "LATCHKEY_URL": url}

    def __enter__(self):
        if self.kind == "django":
            subprocess.run([sys.executable, "-B", os.path.join(APPS, "with_django.py")], env=self.environ, check=True)
        self.file = open(self.log, "w", encoding="utf-8")
        self.process = subprocess.Popen(self.program, cwd=APPS, env=self.environ, stdout=self.file, stderr=self.file)
        end = time.monotonic() + SECONDS
        while True:
            try:
                Client(self.path).ask("GET", "/stats")
                return self.path
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__(True)
                    raise AssertionError("the server does not start") from None
                time.sleep(0.05)

    def __exit__(self, failed, *_):
        self.process.terminate()
        self.process.wait(SECONDS)
        self.file.close()
        if failed:
            with open(self.log, encoding="utf-8") as file:
                print(file.read())


def rules(path, login="/login", me="/me", logout="/logout"):
    """What holds for every middleware."""
    here = latchkey.open(URL)
    client = Client(path)
    client.get(me, 401)
    assert not client.get(me, 401).set_cookies
    line = client.post(login + "?user=42").set_cookies
    assert len(line) == 1 and "httponly" in line[0].lower() and "samesite=lax" in line[0].lower(), line
    assert client.get(me).body == "42" and not client.get(me).set_cookies
    assert here.validate(client.cookie).user_id == 42
    # A second cookie of the name, that is dead, before or behind.
    dead = here.create(1)
    here.revoke(dead)
    for cookie in (f"session={dead}; session={client.cookie}", f"other=1; session={client.cookie}; session={dead}"):
        assert client.get(me, cookie=cookie).body == "42"
    # What a client makes up is 401 for that client alone.
    for forged in (dead, "x", "", client.cookie[:-1], client.cookie[:30] + "0" * 13, "\u00e9" * 43):
        answer = Client(path).ask("GET", me, cookie=f"session={forged}")
        assert answer.status == 401, (forged, answer.status, answer.body)
    # No answer: 503, and the cookie is left alone.
    other = Client(path, here.create(43))
    unknown = here.create(44)
    with redis_stopped():
        answer = other.ask("GET", me, cookie=f"session={unknown}")
        assert answer.status == 503 and not answer.set_cookies, (answer.status, answer.set_cookies)
        assert Client(path).ask("POST", login + "?user=9").status == 503
    wait_until("it answers again", lambda: client.ask("GET", me).body == "42")
    # A logout here ends it in every process.
    kept = client.cookie
    client.post(logout)
    assert client.cookie is None
    wait_until("every process refuses it", lambda: all(Client(path, kept).ask("GET", me).status == 401 for _ in range(10)))
    assert here.validate(kept) is None
    # Of several sessions that the browser sent none goes on after a logout, in whatever order.
    for order in (1, -1):
        client.post(login + "?user=42")
        kept, other = client.cookie, here.create(43)
        client.post(logout, cookie="; ".join(f"session={token}" for token in (kept, other)[::order]))
        assert here.validate_fresh(kept) is None and here.validate_fresh(other) is None
    # More of them than a browser sends are none.
    client.post(login + "?user=42")
    client.get(me, 401, cookie="; ".join([f"session={client.cookie}"] * 9))
    # A session that ended elsewhere.
    client.post(login + "?user=42")
    client.get(me)
    here.revoke(client.cookie)
    wait_until("it ends here", lambda: Client(path, client.cookie).ask("GET", me).status == 401)
    here.close()


def keeps_its_cookie(path, fails):
    """The cookie of a login is sent also where the end of the session before is pending, and where something answers 503."""
    here = latchkey.open(URL)
    client = Client(path)
    client.post("/data?a=1")
    for request, status in [("/login?user=31&stop=1", 200), *fails]:
        client.get("/stats")
        before = client.cookie
        try:
            answer = client.ask("POST", request)
        finally:
            os.kill(REDIS_PID, signal.SIGCONT)
        assert answer.status == status and client.cookie not in (None, before), (request, answer.status, answer.set_cookies)
        wait_until("Redis is there again", lambda: client.ask("GET", "/me").body == "31")
        wait_until("the session before ends", lambda before=before: here.validate_fresh(before) is None)
    here.close()


def costs_no_redis(path, me="/me", requests=50):
    client = Client(path)
    client.post("/login?user=7")
    client.get(me)
    before = json.loads(client.get("/stats").body)
    for _ in range(requests):
        assert client.get(me).body == "7"
    after = json.loads(client.get("/stats").body)
    assert after["l1_hits"] >= before["l1_hits"] + requests and after["l2_reads"] == before["l2_reads"], (before, after)


def data(path):
    """A session's data: lazily read, saved by compare-and-set, never raised from the dead."""
    here = latchkey.open(URL)
    client = Client(path)
    assert not client.post("/data?a=1").body.count("a")  # nobody yet, and there is a session now
    anonymous = client.cookie
    assert here.validate(anonymous).role == "anonymous"
    client.get("/me", 401)
    assert json.loads(client.get("/data").body) == {"a": "1"}
    client.post("/login?user=8")  # the data goes along, the token does not
    assert client.cookie != anonymous
    wait_until("the one before has ended", lambda: here.validate(anonymous) is None)
    assert json.loads(client.get("/data").body) == {"a": "1"} and client.get("/me").body == "8"
    # Eight requests have read the same before the first of them writes: no change is lost.
    client.post("/gate?parties=8")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: Client(path, client.cookie).post(f"/data?hold=1&n{n}={n}").body, range(8)))
    assert all(json.loads(each) == {"a": "1"} for each in found), found
    assert json.loads(client.get("/data").body) == {"a": "1", **{f"n{n}": str(n) for n in range(8)}}
    # A logout while a request is under way: its data is not written, the session does not rise again.
    client.post("/gate?parties=2")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(Client(path, client.cookie).ask, "POST", "/data?hold=1&late=1")
        token = client.cookie
        wait_until("it has read its data", lambda: client.get("/gate").body == "1")
        here.revoke(token)
        Client(path, here.create(1)).ask("POST", "/data?hold=1")
        answer = slow.result()
    assert answer.status in (200, 400) and here.validate(token) is None and here.load(token) is None, answer.status
    assert not answer.set_cookies  # the browser may have another by now
    here.close()


aging = []  # (server, what is asked, its client, when it logged in): looked at when the tokens are old
servers = contextlib.ExitStack()  # those that wait for it


def grow_old(path, me="/me", then=None):
    client = Client(path)
    client.post("/login?user=12")
    aging.append((then or renewed, path, me, client, time.monotonic()))


def renewed(path, me, client):
    """The token has grown old: an answer has the new one, one of several at once."""
    old = client.cookie
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: Client(path, old).get(me), range(4)))
    assert [answer.body for answer in answers] == ["12"] * 4
    for answer in answers:  # the application says "public": a cache would give the token to others
        caching = answer.headers.get_all("Cache-Control")
        assert any("no-store" in line for line in caching) == bool(answer.set_cookies), (caching, answer.set_cookies)
    lines = [line for answer in answers for line in answer.set_cookies]
    assert len(lines) == 1 and "httponly" in lines[0].lower(), lines
    new = re.match(r"session=([^;]*)", lines[0])[1]
    assert new != old and Client(path, new).get(me).body == "12" and Client(path, old).get(me).body == "12"


def renewed_for_as_long(path, what, client):
    """The cookie of the new token lasts for as long as the session: set_expiry."""
    expiry, me, age = what
    old = client.cookie
    lines = client.get(me).set_cookies
    assert client.cookie != old and len(lines) == 1 and re.search("Max-Age=[0-9]*|$", lines[0])[0] == age, (expiry, lines)


def renewed_where_it_fails(path, what, client):
    """An HTTPException answers, and has the new token."""
    old = client.cookie
    client.get(what, 404)
    assert client.cookie not in (None, old) and client.get("/me").body == "12"


def renewed_where_it_raises(path, what, client):
    """The application raises, and what is around the middleware answers 500: the client has the new token."""
    old = client.cookie
    client.get(what, 500)
    assert client.cookie not in (None, old) and client.get("/me").body == "12"


def renewed_beside_a_login(path, what, client):
    """The application's own cookie is the last, which counts."""
    lines = client.get(what).set_cookies
    assert len(lines) == 2 and lines[1] == "session=a-login", lines


def not_by_a_websocket(path, what, client):
    """The handshake of a WebSocket exchanges no token: what answers it may send no cookie, and nobody would have the new one."""
    old = client.cookie
    answer = client.ask("GET", what, headers={"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13",
                                              "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert answer.status in (101, 200) and not answer.set_cookies, (answer.status, answer.set_cookies)
    assert client.get("/me").body == "12" and client.cookie not in (None, old)


@point(24, "Flask: a hit asks Redis nothing; data")
def flask_data():
    path = servers.enter_context(Server("flask", "--workers", "1", "--threads", "12", url=URL + "&renew_ms=10000"))
    costs_no_redis(path)
    data(path)
    grow_old(path)
    grow_old(path, me="/socket", then=not_by_a_websocket)
    with Server("flask", "--workers", "1", "--threads", "4") as path:
        client = Client(path)
        client.post("/login?user=13&data=1")
        found = json.loads(client.get("/twice").body)
        assert found == ["13", "no answer", "no answer"], found
        keeps_its_cookie(path, [("/login?user=31&fail=1", 503), ("/login?user=31&stop=1&data=1", 503)])


@point(24, "Django: request.user asks Redis nothing; data; passwords; expiry")
def django_data():
    path = servers.enter_context(Server("django", "--workers", "1", "--threads", "12", url=URL + "&renew_ms=10000"))
    costs_no_redis(path)
    data(path)
    # A change of the password ends all sessions but the one that keeps itself.
    here, one, two = latchkey.open(URL), Client(path), Client(path)
    one.post("/login?user=21")
    two.post("/login?user=21")
    before = one.cookie
    one.post("/password?password=new&keep=1")
    assert one.cookie != before and one.get("/me").body == "21"
    wait_until("the token before has ended", lambda: here.validate(before) is None)
    two.get("/me", 401)
    # Another expiry is another session: set_expiry holds.
    before = one.cookie
    one.post("/data?expiry=1000")
    entry = here.validate(one.cookie)
    assert one.cookie != before
    wait_until("the session before has ended", lambda: here.validate(before) is None)
    assert 990000 < entry.expires_at_ms - entry.created_at_ms <= 1000000 and one.get("/me").body == "21"
    one.post(f"/data?expiry={20 * 365 * 86400}")  # ten years is the most that a session can have
    assert one.get("/me").body == "21"
    here.close()
    grow_old(path)
    for expiry, age in ((0, ""), (1000, "Max-Age=1000")):
        client = Client(path)
        client.post("/login?user=12")
        client.post(f"/data?expiry={expiry}")
        aging.append((renewed_for_as_long, path, (expiry, "/me", age), client, time.monotonic()))
    with Server("django", "--workers", "1", "--threads", "4") as path:
        keeps_its_cookie(path, [(f"/password?keep=1&fail={status}", status) for status in (503, 500)])
        for call in ("aflush", "acycle_key"):
            with latchkey.open(URL) as here:
                tokens = [here.create(1), here.create(2)]
                Client(path).post(f"/async?call={call}", cookie="; ".join(f"session={token}" for token in tokens))
                wait_until("the sessions of all cookies have ended", lambda: not any(here.validate(token) for token in tokens))
        client = Client(path)
        client.post("/login?user=12")
        with latchkey.open(URL) as here:
            unknown = here.create(12)
        with redis_stopped():  # what a middleware asks, before any view
            answer = client.get("/me?look=1", 503, cookie=f"session={unknown}")
            assert not answer.set_cookies and answer.headers["Retry-After"]
        wait_until("it answers again", lambda: client.ask("GET", "/me?look=1").body == "12")


@point(24, "Django: imported sessions, beside other requests and with another serializer")
def django_imported():
    url, name = URL + "&foreign_until_ms=4102444800000", "abcdefghijklmnopqrstuvwxyz012345"
    for serializer in ("JSON", "Pickle"):
        os.environ["SERIALIZER"] = serializer
        with Server("django", "--workers", "1", "--threads", "4", url=url) as path, latchkey.open(url) as here:
            client = Client(path)
            client.post("/login?user=41")
            login = {"_auth_user_id": "41", "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
                     "_auth_user_hash": here.validate(client.cookie).permissions_hash.hex()}
            token = serializer + name
            assert here.import_session(token, 41, fields={"django": json.dumps({**login, "cart": "eggs"}).encode()}) is True
            client = Client(path, token)
            client.post("/data?more=1")
            # A page's other requests still have the token of before.
            assert client.cookie == token and here.validate(token).flags & 0x8000 and Client(path, token).get("/me").body == "41"
            assert json.loads(client.get("/data").body) == {"cart": "eggs", "more": "1"}
            client = Client(path, token)
            client.post("/logout")
            assert here.validate(token) is None


@point(24, "Django: SESSION_SERIALIZER changes, from pickle to JSON and back, as an upgrade to Django 5 asks for")
def django_other_serializer():
    clients = {}
    for serializer in ("Pickle", "JSON", "Pickle"):
        os.environ["SERIALIZER"] = serializer
        with Server("django", "--workers", "1") as path:
            for before, client in clients.items():
                client.path = path
                assert client.get("/me").body == "43"  # the login is in the entry
                assert json.loads(client.get("/data").body) == ({} if before == "Pickle" and serializer == "JSON" else {"cart": before})
                client.post("/data?cart=" + before)
                assert json.loads(client.get("/data").body) == {"cart": before}
                client.post("/login?user=43")  # one who logs in again is not locked out
            if serializer not in clients:
                clients[serializer] = client = Client(path)
                client.post("/login?user=43")
                client.post("/data?cart=" + serializer)


@point(24, "Flask under gunicorn, two processes that were forked with the handle open")
def flask():
    with Server("flask", "--workers", "2", "--threads", "4", "--preload") as path:
        rules(path)


@point(24, "Django under gunicorn, two processes")
def django():
    with Server("django", "--workers", "2", "--threads", "4", "--preload") as path:
        rules(path)


@point(24, "a cookie that no browser takes is refused")
def refused_cookies():
    with warnings.catch_warnings():  # the frameworks' own
        warnings.simplefilter("ignore")
        from django.conf import settings
        settings.configure(SESSION_ENGINE="latchkey.django", LATCHKEY=URL)
        from django.core.exceptions import ImproperlyConfigured
        from flask import Flask
        import latchkey.asgi
        import latchkey.django
        import latchkey.fastapi
        import latchkey.flask
    here = latchkey.open(URL)

    def of_flask(name, secure=True, path="/", domain=None):
        app = Flask("refused")
        latchkey.flask.Sessions(app, here)
        app.config.update(SESSION_COOKIE_NAME=name, SESSION_COOKIE_SECURE=secure, SESSION_COOKIE_PATH=path, SESSION_COOKIE_DOMAIN=domain)
        with app.test_request_context():
            pass

    def of_django(name, secure=True, path="/", domain=None):
        settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE = name, secure
        settings.SESSION_COOKIE_PATH, settings.SESSION_COOKIE_DOMAIN = path, domain
        latchkey.django.SessionMiddleware(lambda request: None)

    for make in (lambda name, **rest: latchkey.asgi.Middleware(None, here, name, **rest),
                 lambda name, **rest: latchkey.fastapi.Auth(here, name, **rest), of_flask, of_django):
        for name, attributes in (("__Host-sid", {"domain": "example.org"}), ("__Host-sid", {"secure": False}),
                                 ("__host-sid", {"path": "/app"}), ("__Secure-sid", {"secure": False})):
            try:
                make(name, **attributes)
            except (ValueError, ImproperlyConfigured) as error:
                assert "browsers take it only with Secure" in str(error), error
            else:
                raise AssertionError((make, name, attributes))
        make("__Host-sid")
        make("__Secure-sid", path="/app", domain="example.org")
    here.close()


@point(24, "FastAPI's dependency and the ASGI middleware under uvicorn")
def asgi():
    path = servers.enter_context(Server("fastapi", url=SHORT + "&renew_ms=10000"))
    rules(path)
    rules(path, me="/behind")
    costs_no_redis(path)
    costs_no_redis(path, me="/behind")
    assert Client(path).get("/maybe").body == Client(path).get("/behind/maybe").body == "None"
    assert Client(path).get("/behind/alone").body == "None"
    client = Client(path)
    client.post("/failed", 503)
    assert client.get("/me").body == "14"
    grow_old(path)
    grow_old(path, me="/behind")
    grow_old(path, me="/lost", then=renewed_where_it_fails)
    grow_old(path, me="/behind/login", then=renewed_beside_a_login)
    grow_old(path, me="/behind/fails", then=renewed_where_it_raises)
    grow_old(path, me="/socket", then=not_by_a_websocket)


@point(24, "a token that has grown old is renewed")
def renewals():
    assert len(aging) == 11
    for then, path, what, client, began in aging:
        time.sleep(max(0, 10.1 - (time.monotonic() - began)))  # time itself is what is asked for: the handles have renew_ms=10000
        then(path, what, client)


if __name__ == "__main__":
    with servers:
        run()
