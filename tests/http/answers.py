#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the HTTP servers of examples/ answer where a request is not the usual one, on a private Redis.

    answers.py BUILD [--only NAME]

Several cookies of one name, tokens of another store, data that would break out of JSON, a logout while Redis is away.
Nothing here depends on how fast the machine is.
"""
import json
import os
import subprocess
import time

from load import Client, check, perform, wait_for

SECRET = "secret-secret-secret-"
FOREIGN = "foreign_until_ms=4102444800000"


class Key:
    """The hash in Redis of an own token's session, and its record."""

    def __init__(self, redis, cookie):
        self.cli = ["redis-cli", "-s", redis.socket]
        pattern = f"*:s:{cookie.partition('=')[2][:20]}"
        self.name = self.run("--scan", "--pattern", pattern).strip()
        check(self.name, f"there is no key {pattern}")

    def run(self, *words, **more):
        return subprocess.run([*self.cli, *words], capture_output=True, check=True, **more).stdout

    def write(self, at, data):
        record = bytearray(self.run("--raw", "HGET", self.name, "v")[:184])
        record[at:at + len(data)] = data
        self.run("-x", "HSET", self.name, "v", input=bytes(record))


def cookies(*tokens):
    return "; ".join(token if "=" in token else f"sid={token}" for token in tokens)


def who(client, cookie, lines=()):
    """The status of /whoami, and the user; with `lines` more headers named Cookie."""
    client.connection.putrequest("GET", "/whoami")
    for line in (cookie, *lines):
        client.connection.putheader("Cookie", line)
    client.connection.endheaders()
    response = client.connection.getresponse()
    body = json.loads(response.read())
    return response.status, body.get("user"), response.headers


def logout(client, cookie):
    status, body, headers = client.ask("POST", "/logout", cookie)
    return status, json.loads(body), headers["Set-Cookie"]


def scene_cookies(stage, kind):
    """Of several cookies named sid the one that is alive is found, whatever its place, and a logout ends all of them."""
    server, cold = stage.server(kind), stage.server(kind, config="deadline_ms=10000&l1_capacity=0")
    for instance in server, cold:
        client = Client(instance)
        dead, live, other = client.login(1), client.login(2), client.login(3)
        check(logout(client, dead)[0] == 200, f"{instance.name}: the logout of one session failed")
        for line in ([dead, live], [live, dead], ["sid=forged", dead, live], ["sid=", live, dead], ["a=b", dead, "xsid=1", live]):
            found = who(client, cookies(*line))[:2]
            check(found == (200, 2), f"{instance.name}: a live cookie among others was answered {found}")
        found = who(client, dead, [live])[:2]
        check(found == (200, 2), f"{instance.name}: a live cookie in a second header was answered {found}")
        found = who(client, cookies(live, other))[:2]
        check(found == (200, 2), f"{instance.name}: of two live cookies the first is to count, not {found}")
        check(who(client, cookies("sid=forged", dead))[0] == 401, f"{instance.name}: a session that is over is 401")
        check(who(client, cookies("sid=forged", "sid=false"))[0] == 401, f"{instance.name}: no session at all is 401")
        many = cookies(*[dead] * 8, live)
        check(who(client, many)[0] == 400 and logout(client, many)[0] == 400, f"{instance.name}: nine cookies are too many")

        status, body, cleared = logout(client, cookies("sid=forged", dead, live, other))
        check((status, body) == (200, {"ended": True}) and "Max-Age=0" in cleared, f"{instance.name}: logout: {status} {body}")
        for token in live, other:
            check(who(client, token)[0] == 401, f"{instance.name}: it said ended, and a session goes on")
    server.stop()
    cold.stop()
    return "the live one is found; one logout ends all"


def scene_renewal(stage, kind):
    """The token that is exchanged is the one that was admitted, not the first one."""
    server = stage.server(kind, config="deadline_ms=10000&renew_ms=3600000&l1_capacity=0")
    client = Client(server)
    dead, old = client.login(1), client.login(2)
    logout(client, dead)
    key = Key(stage.redis, old)
    made = int(time.time() * 1000) - 3700000
    key.write(112, made.to_bytes(8, "little"))
    status, user, headers = who(client, cookies(dead, old))
    check((status, user) == (200, 2) and headers["Set-Cookie"], f"{server.name}: {status}, not renewed")
    renewed = headers["Set-Cookie"].partition(";")[0]
    check(who(client, renewed)[:2] == (200, 2), f"{server.name}: the new token is no good")
    server.stop()
    return "the right one is exchanged"


def scene_data(stage, kind):
    """What a session holds stays data: the role cannot end its string, and a user's number loses no digit."""
    server = stage.server(kind, config="deadline_ms=10000&l1_capacity=0")
    client = Client(server)
    for role, read in ((b'","user":1,"a":"', '","user":1,"a":"'), (b'\\"}\n<script>&\'\x7f\x01', '\\"}\n<script>&\'\x7f\x01'),
                       ("h\u00e4\u20ac\U0001f511".encode(), "h\u00e4\u20ac\U0001f511"), (b"a\xffb\xc3\xc0\xafc", "a\ufffdb\ufffd\ufffd\ufffdc"),
                       (b"\xed\xa0\x80\xf4\x90\x80\x80", "\ufffd" * 7), (b"0123456789abcde\xc3", "0123456789abcde\ufffd"), (b"", "")):
        cookie = client.login(7)
        Key(stage.redis, cookie).write(24, role.ljust(16, b"\0"))
        status, body, _ = client.ask("GET", "/whoami", cookie)
        check(status == 200, f"{server.name}: {status} for the role {role}")
        check(not set(body) & set(b"<>&'\x7f\x01"), f"{server.name}: HTML in {body}")
        value = json.loads(body)
        check((value["user"], value["role"]) == (7, read), f"{server.name}: the role {role} was answered {body}")
        check(list(value) == ["user", "role", "created_at_ms", "expires_at_ms"], f"{server.name}: {body}")
    for user in 0, 2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1:
        status, body, headers = client.ask("POST", f"/login?user={user}")
        wanted = user if user < 2**53 else str(user)
        check(json.loads(body)["user"] == wanted, f"{server.name}: the login of {user} was answered {body}")
        found = who(client, headers["Set-Cookie"].partition(";")[0])[1]
        check(found == wanted, f"{server.name}: user {user} was answered {found!r}")
    server.stop()
    return "roles and numbers come back as they were"


def scene_foreign(stage, kind):
    """Tokens of another store, shorter and longer than our own: admitted, exchanged, and ended by a logout."""
    server, other = (stage.server(kind, config=f"deadline_ms=10000&{FOREIGN}") for _ in range(2))
    lengths = 16, 43, 44, 45, 100, 256
    tokens = [(f"{kind}-{use}-{length}-" + SECRET * 16)[:length] for use in ("renew", "logout") for length in lengths]
    lines = "".join(json.dumps({"token": token, "user_id": 500 + i, "expires_at_ms": int(time.time() * 1000) + 3600000}) + "\n"
                    for i, token in enumerate(tokens))
    moved = subprocess.run([os.path.join(stage.build, "src", "cli", "latchkey"), "import", "-"], input=lines,
                           env={**os.environ, "LATCHKEY_CONFIG": f"unix://{stage.redis.socket}?{FOREIGN}"}, capture_output=True,
                           text=True, check=False)
    check(moved.returncode == 0, f"latchkey import: {moved.returncode} {moved.stdout}{moved.stderr}")
    client, elsewhere = Client(server), Client(other)
    for i, token in enumerate(tokens):
        name = f"{server.name}: a token of {len(token)} bytes"
        if i < len(lengths):
            status, user, headers = who(client, cookies(token))
            check((status, user) == (200, 500 + i), f"{name} was answered {status} {user}")
            check(headers["Set-Cookie"], f"{name} was not exchanged")
            renewed = headers["Set-Cookie"].partition(";")[0]
            check(len(renewed) == 47 and who(client, renewed)[:2] == (200, 500 + i), f"{name}: {renewed[:24]} is no good")
        else:
            check(logout(client, cookies(token))[:2] == (200, {"ended": True}), f"{name}: no logout")
            for instance in client, elsewhere:
                wait_for(f"{name} is refused", lambda c=instance: who(c, cookies(token))[0] == 401)
    check(who(client, "sid=" + "x" * 257)[0] == 401, f"{server.name}: 257 bytes are no token")
    server.stop()
    other.stop()
    return f"tokens of {', '.join(map(str, lengths))} bytes"


def scene_pending(stage, kind):
    """A logout while Redis is away: 202 and no cookie any more; and the server does not stop before Redis has heard of it."""
    server = stage.server(kind, config=f"deadline_ms=500&{FOREIGN}")
    client = Client(server)
    cookie, other = client.login(1), client.login(2)
    stage.redis.kill()
    status, body, cleared = logout(client, cookies("s" * 30, other))
    check(status == 503 and not cleared, f"{server.name}: nothing is promised of a foreign token, and it says {status} {body}")
    status, body, cleared = logout(client, cookie)
    check(status == 202 and "Max-Age=0" in cleared, f"{server.name}: a logout without Redis: {status} {body}")
    check(who(client, cookie)[0] == 401, f"{server.name} admits a session whose logout it has answered (B)")
    client.connection.close()
    server.process.terminate()
    time.sleep(0.5)  # one that does not wait is gone by now, and what follows shows it
    stage.redis.boot()
    check(server.end() == 0 and not server.said(), f"{server.name} said: {server.said()}")
    after = stage.server(kind)
    check(who(Client(after), cookie)[0] == 401, f"{server.name} stopped, and a session that it had ended goes on")
    after.stop()
    return "202, and waited for"


def scene_given_up(stage, kind):
    """Redis stays away: the server stops all the same, and says what is lost."""
    server = stage.server(kind, config="deadline_ms=500")
    client = Client(server)
    cookie = client.login(1)
    stage.redis.kill()
    check(logout(client, cookie)[0] == 202, f"{server.name}: no 202")
    client.connection.close()
    server.process.terminate()
    check(server.end() == 1 and "has not heard of 1 logouts" in server.said(), f"{server.name} said: {server.said()}")
    stage.redis.boot()
    return "said, status 1"


SCENES = [(name, scene, kind) for kind in ("threaded", "evented")
          for name, scene in (("cookies", scene_cookies), ("renewal", scene_renewal), ("data", scene_data),
                              ("foreign", scene_foreign), ("pending", scene_pending))]
SCENES += [("given-up", scene_given_up, "threaded")]


if __name__ == "__main__":
    perform(__doc__, SCENES, None)
