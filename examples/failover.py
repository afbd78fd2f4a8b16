# SPDX-License-Identifier: MIT
"""The other half of `quickstart.sh --sentinel`: a primary dies under load, and what requests notice of it.

Starts a primary, two replicas, three sentinels and two HTTP servers on loopback, each a process that ends with this one. Every answer is
checked: a session that was logged out is refused throughout, one that lives is never refused. The first wrong answer ends the run with
status 1.
"""
import argparse
import collections
import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

SESSIONS, LOOK_S, BEFORE_S, AFTER_S, WIDTH = 200, 0.25, 2, 8, 50
LIBC = ctypes.CDLL(None)


def wrong(text):
    sys.exit(f"\nquickstart: WRONG: {text}")


def say(text=""):
    print(f"    {text}".rstrip(), flush=True)


def step(number, text):
    bold, normal = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{number:>2}  {text}{normal}", flush=True)


def wait_for(what, condition, patience_s=60):
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"quickstart: waited in vain until {what}")
        time.sleep(0.02)


def start(argv, log, **more):
    with open(log, "ab") as out:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=more.get("stdout", out), stderr=out,
                                preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, *words):
    done = subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Redis:
    def __init__(self, directory, name, *arguments):
        self.port, path = free_port(), os.path.join(directory, name)
        os.mkdir(path)
        self.process = start(["redis-server", *[word.format(dir=path) for word in arguments], "--port", str(self.port), "--bind",
                              "127.0.0.1", "--dir", path], os.path.join(path, "log"))
        wait_for(f"{name} answers", lambda: ask(self.port, "PING") == "PONG")


def sentinel(directory, name, primary):
    with open(os.path.join(directory, name + ".conf"), "w", encoding="ascii") as file:
        file.write(f"sentinel monitor mymaster 127.0.0.1 {primary.port} 2\nsentinel down-after-milliseconds mymaster 500\n"
                   "sentinel failover-timeout mymaster 3000\n")
    return Redis(directory, name, os.path.join(directory, name + ".conf"), "--sentinel")


class Server:
    """An HTTP server of the examples."""

    def __init__(self, program, directory, name, url):
        out = os.path.join(directory, name + ".out")
        with open(out, "wb") as pipe:
            self.process = start([program, "--port", "0", "--insecure-cookie", "--redis", url], os.path.join(directory, name + ".err"),
                                 stdout=pipe)

        def address():
            with open(out, encoding="ascii") as file:
                return next((line.split()[-1] for line in file if line.startswith("listening on ")), None)
        wait_for(f"{name} listens", address)
        self.where = urllib.parse.urlparse(address()).netloc

    def connect(self):
        return http.client.HTTPConnection(self.where, timeout=5)


def request(connection, method, path, cookie=None):
    connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    response.read()
    return response.status, (response.headers["Set-Cookie"] or "").partition(";")[0]


def make_sessions(server, count):
    """Logins, every second of them logged out again: the cookie of each, and whether its session lives."""
    connection, sessions = server.connect(), []
    for user in range(count):
        status, cookie = request(connection, "POST", f"/login?user={1000 + user}")
        if status != 200:
            wrong(f"a login was answered {status}")
        if user % 2:
            request(connection, "POST", "/logout", cookie)
        sessions.append((cookie, user % 2 == 0))
    return sessions


class Load(threading.Thread):
    """Asks one server for one session after the other. `alive` says what the answer must be, where there is one."""

    def __init__(self, server, sessions, began):
        super().__init__(daemon=True)
        self.server, self.sessions, self.began, self.stop = server, sessions, began, False
        self.seen, self.mistakes, self.longest = collections.Counter(), [], 0

    def run(self):
        connection = self.server.connect()
        while not self.stop:
            for cookie, alive in self.sessions:
                asked = time.monotonic()
                status, _ = request(connection, "GET", "/whoami", cookie)
                took = time.monotonic() - asked
                self.longest = max(self.longest, took)
                kind = "answered" if status in (200, 401) else "refused"
                self.seen[int((asked - self.began) / LOOK_S), kind] += 1
                if kind == "answered" and (status == 200) != alive:
                    self.mistakes.append(f"{status} for a session that {'lives' if alive else 'was logged out'}, "
                                         f"{asked - self.began:.2f} s after the start")
                if self.stop:
                    return
                time.sleep(0.001)


def start_loads(servers, sessions, began):
    loads = [Load(server, sessions, began) for server in servers]
    for load in loads:
        load.start()
    return loads


def end_loads(loads):
    for load in loads:
        load.stop = True
    for load in loads:
        load.join()


def picture(loads, events, zero, after_s=AFTER_S):
    """`events`: when, and what happened. Times are printed from `zero`."""
    looks = int((BEFORE_S + after_s) / LOOK_S)
    most = max(sum(load.seen[at, "answered"] + load.seen[at, "refused"] for load in loads) for at in range(looks))
    say("each line is a quarter of a second: # answered (yes or no), . no answer (503)")
    say()
    for at in range(looks):
        answered, refused = (sum(load.seen[at, kind] for load in loads) for kind in ("answered", "refused"))
        began = at * LOOK_S
        note = "".join(f"<- {text}" for when, text in events if began <= when < began + LOOK_S)
        bar = "#" * round(WIDTH * answered / most) + "." * (round(WIDTH * refused / most) or (1 if refused else 0))
        say(f"{began - zero:>6.2f} s  {bar:<{WIDTH}}  {answered:>5} {refused or '':>5}  {note}")


def judge(loads, looks):
    for load in loads:
        if load.mistakes:
            wrong(load.mistakes[0])
    dark = [at for at in range(looks) if any(load.seen[at, "refused"] for load in loads)]
    total = sum(sum(load.seen.values()) for load in loads)
    refused = sum(count for load in loads for (_, kind), count in load.seen.items() if kind == "refused")
    say(f"{total:,} requests; {refused:,} had no answer (503, try again), in {len(dark) * LOOK_S:.2f} s; the longest took "
        f"{max(load.longest for load in loads) * 1000:.0f} ms")
    say("nobody who was logged out was let in, and nobody who is logged in was sent to the login")


def failover(program, directory):
    step(2, "Start a primary, two replicas, three sentinels, and two instances of the HTTP server")
    servers = [Redis(directory, name, "--save", "", "--repl-diskless-sync-delay", "0") for name in ("primary", "first", "second")]
    for replica in servers[1:]:
        ask(replica.port, "REPLICAOF", "127.0.0.1", servers[0].port)
    wait_for("the replicas follow", lambda: ask(servers[0].port, "WAIT", 2, 100) == "2")
    sentinels = [sentinel(directory, name, servers[0]) for name in ("one", "two", "three")]
    wait_for("the sentinels know each other",
             lambda: all("OK 3 usable" in ask(one.port, "SENTINEL", "CKQUORUM", "mymaster") for one in sentinels))
    url = "redis+sentinel://" + ",".join(f"127.0.0.1:{one.port}" for one in sentinels) + "/mymaster"
    a, b = (Server(program, directory, name, url) for name in "ab")
    say(f"A, B   {url}")

    step(3, f"{SESSIONS} logins, half of them logged out again")
    sessions = make_sessions(a, SESSIONS)
    wait_for("the replicas have them", lambda: ask(servers[0].port, "WAIT", 2, 1000) == "2")
    say("every second request from here on shows the cookie of a session that was logged out")

    step(4, "kill -9 of the primary, under load")
    began = time.monotonic()
    loads = start_loads((a, b), sessions, began)
    time.sleep(BEFORE_S)
    servers[0].process.kill()
    killed = time.monotonic() - began

    def another():
        ports = [ask(one.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").split()[1] for one in sentinels]
        return sum(port != str(servers[0].port) for port in ports) >= 2
    wait_for("the sentinels name another", another)
    named = time.monotonic() - began
    time.sleep(max(0, BEFORE_S + AFTER_S - (time.monotonic() - began)))
    end_loads(loads)
    picture(loads, [(killed, "the primary is killed"), (named, "the sentinels name another")], killed)

    step(5, "What was seen")
    judge(loads, int((BEFORE_S + AFTER_S) / LOOK_S))
    status, cookie = request(a.connect(), "POST", "/login?user=7")
    if status != 200 or request(b.connect(), "GET", "/whoami", cookie)[0] != 200:
        wrong(f"a login on the new primary was answered {status}")
    say("a new login on A is known to B: both are with the new primary")


def main(story, about):
    """`story(program, directory)`, with what it started ended and its directory removed."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--server", required=True, metavar="PROGRAM")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="latchkey-")
    try:
        story(arguments.server, directory)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"\nquickstart: no answer: {error!r}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(failover, __doc__)
