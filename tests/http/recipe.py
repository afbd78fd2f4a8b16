#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs examples/recipe.c on a private Redis, behind a proxy that can cut the line between two scripts.

    recipe.py BUILD

What the page says of it is what it answers: 200, 401, 503, 202; rights that change, where the second step fails; a stop that
waits. Nothing here depends on how fast the machine is.
"""
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from answers import Key
from load import PATIENCE_S, Failed, Redis, check, start, wait_for


class Proxy:
    """Between a program and Redis. After `scripts` more scripts every line is cut and none is accepted."""

    def __init__(self, directory, redis):
        self.path, self.redis = os.path.join(directory, "proxy.sock"), redis
        self.scripts, self.count, self.lock = None, 0, threading.Lock()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listening.accept()[0]
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def allowed(self, data):
        """A request is small and comes whole."""
        with self.lock:
            script = b"EVAL" in data
            self.count += script
            if self.scripts is None:
                return True
            self.scripts -= script
            return self.scripts >= 0

    def serve(self, client):
        try:
            with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as both:
                server.connect(self.redis.socket)
                both.register(client, selectors.EVENT_READ, server)
                both.register(server, selectors.EVENT_READ, client)
                while True:
                    for key, _ in both.select():
                        data = key.fileobj.recv(65536)
                        if not data or (key.fileobj is client and not self.allowed(data)):
                            return
                        key.data.sendall(data)
        except OSError:
            return  # Redis is away, or the program hung up


class Recipe:
    def __init__(self, build, config, directory):
        self.err = os.path.join(directory, "recipe.err")
        with open(self.err, "wb") as err:
            self.process = start([os.path.join(build, "examples", "latchkey-recipe"), config], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=err, text=True)

    def ask(self, *words):
        """The HTTP status, the user, and the cookie: None where none is set, "" where it is deleted."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        check(line, f"the recipe ended: {self.said()}")
        fields = dict(word.split("=", 1) for word in line[1:])
        return int(line[0]), int(fields["user"]), fields.get("sid")

    def wanted(self, status, *words):
        """The answer, which may be 503 for a while: the machine is busy, or Redis has just come back."""
        answer = self.ask(*words)
        if status != 503 and answer[0] == 503:
            found = []
            wait_for(f"{words[0]} is {status}", lambda: found.append(self.ask(*words)) or found[-1][0] != 503)
            answer = found[-1]
        check(answer[0] == status, f"{words[0]}: {answer[0]}, not {status}")
        return answer

    def said(self):
        with open(self.err, encoding="utf-8") as err:
            return err.read()

    def stop(self):
        self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed("the recipe does not end") from None


def role(redis, token):
    return Key(redis, "sid=" + token).run("--raw", "HGET", Key(redis, "sid=" + token).name, "v")[24:40].rstrip(b"\0").decode()


def grow_older(redis, token, ms):
    key = Key(redis, "sid=" + token)
    made = int.from_bytes(key.run("--raw", "HGET", key.name, "v")[112:120], "little") - ms
    key.write(112, made.to_bytes(8, "little"))


def life(recipe, redis):
    _, user, token = recipe.wanted(200, "login", "7")
    check(user == 7 and len(token) == 43, f"login: user {user}, {token}")
    check(recipe.wanted(200, "get", token)[1:] == (7, None), "a session that is not old")
    check(recipe.wanted(401, "get", "forged")[2] is None, "not a token")
    again = recipe.wanted(200, "login", "8", token)[2]
    recipe.wanted(401, "get", token)  # the login ended what was in this browser before
    check(recipe.wanted(200, "get", again)[1] == 8, "the second login")
    check(recipe.wanted(200, "logout", again)[2] == "", "a logout deletes the cookie")
    recipe.wanted(401, "get", again)
    recipe.wanted(200, "logout", again)
    recipe.wanted(400, "get")
    recipe.wanted(404, "put", again)

    old = recipe.wanted(200, "login", "9")[2]
    grow_older(redis, old, 3600000)
    renewed = recipe.wanted(200, "get", old)[2]
    check(renewed and renewed != old, "an old token is exchanged")
    check(recipe.wanted(200, "get", old) == (200, 9, None), "in its grace the old token goes on, and is not exchanged again")
    check(recipe.wanted(200, "get", renewed) == (200, 9, None), "the new token")
    recipe.wanted(409, "promote", old)  # the answer with the new one is on its way


def rights(recipe, redis, proxy):
    token = recipe.wanted(200, "login", "7")[2]
    check(role(redis, token) == "member", "the role of a login")
    more = recipe.wanted(200, "promote", token)[2]
    recipe.wanted(401, "get", token)
    check(role(redis, more) == "admin", "more rights")
    less = recipe.wanted(200, "demote", more)[2]
    recipe.wanted(401, "get", more)
    check(role(redis, less) == "member", "fewer rights")

    before = proxy.count
    less = recipe.wanted(200, "demote", recipe.wanted(200, "promote", less)[2])[2]
    access = (proxy.count - before) // 2 - 1  # so many scripts are a set_access; a rotate is one
    check(access > 0, f"{proxy.count - before} scripts for two rotations and two changes")

    proxy.scripts = 1  # the first step is done, the second is not
    fresh = recipe.wanted(503, "promote", less)[2]
    proxy.scripts = None
    check(fresh, "the old token is over: the client needs the new one, whatever follows")
    recipe.wanted(200, "get", fresh)
    recipe.wanted(401, "get", less)
    check(role(redis, fresh) == "member", "half of it leaves the old rights")
    admin = recipe.wanted(200, "promote", fresh)[2]
    check(role(redis, admin) == "admin", "tried again")

    proxy.scripts = access
    check(recipe.wanted(503, "demote", admin)[2] is None, "the token is as it was")
    proxy.scripts = None
    recipe.wanted(200, "get", admin)
    check(role(redis, admin) == "member", "fewer rights come first")
    recipe.wanted(200, "demote", admin)


def outage(recipe, redis):
    token, other = recipe.wanted(200, "login", "7")[2], recipe.wanted(200, "login", "8")[2]
    redis.kill()
    check(recipe.wanted(503, "login", "9")[2] is None, "a login without Redis")
    wait_for("a session is neither admitted nor refused", lambda: recipe.ask("get", other)[0] == 503)
    check(recipe.wanted(503, "get", other)[2] is None, "without an answer the cookie stays")
    check(recipe.wanted(503, "logout", "s" * 30)[2] is None, "of a token of another store nothing is promised: the cookie stays")
    check(recipe.wanted(202, "logout", token)[2] == "", "a logout without Redis")
    recipe.wanted(401, "get", token)
    recipe.process.stdin.close()
    redis.boot()
    check(recipe.process.wait(PATIENCE_S) == 0 and not recipe.said(), f"the recipe said: {recipe.said()}")
    return token, other


def main():
    build = os.path.abspath(sys.argv[1])
    directory = tempfile.mkdtemp(prefix="latchkey-recipe-")
    code = 0
    try:
        redis = Redis(directory)
        proxy = Proxy(directory, redis)
        config = f"unix://{proxy.path}?foreign_until_ms=4102444800000&renew_ms=3600000&deadline_ms="
        recipe = Recipe(build, config + "10000&l1_capacity=0", directory)  # as the record is read, so it is answered
        life(recipe, redis)
        rights(recipe, redis, proxy)
        check(recipe.stop() == 0 and not recipe.said(), f"the recipe said: {recipe.said()}")
        token, other = outage(Recipe(build, config + "1000", directory), redis)
        after = Recipe(build, config + "1000", directory)
        after.wanted(401, "get", token)  # it waited for Redis before it stopped
        after.wanted(200, "get", other)
        redis.kill()
        after.wanted(202, "logout", other)
        check(after.stop() == 1 and "1 logouts are lost" in after.said(), f"the recipe said: {after.said()}")
        print("the recipe: login, requests, renewal, rights, logout, an outage, two stops")
    except Failed as failure:
        print(f"recipe.py: WRONG: {failure}", file=sys.stderr)
        code = 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    os._exit(code)  # our children end with us


if __name__ == "__main__":
    main()
