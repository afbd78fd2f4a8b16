#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the HTTP servers of examples/ under the load of wrk, on a private Redis, and breaks things meanwhile.

    load.py BUILD [--seconds N] [--only NAME]

Every answer is judged. A bound on time that is asserted is guarantee C's own, from a revocation's answer to the sending
of a request that is admitted nevertheless: a slow machine cannot break it. Everything else is waited for, generously.
"""
import argparse
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_S = 60
STALENESS_MS, TICK_MS = 2000, 20
SESSIONS, SPARE, CONNECTIONS, PROBES, HANG_UPS = 200, 10, 16, 3, 300
LEAST = 10 * SESSIONS  # requests that a load must have made
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """Something was answered wrongly, or not at all."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        check(time.monotonic() < until, f"waited {PATIENCE_S} s in vain until {what}")
        time.sleep(0.02)


def start(argv, **options):
    """A process that ends with this one, whatever happens to this one."""
    return subprocess.Popen(argv, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL), **options)


class Redis:
    """Keeps what it acknowledged when it is killed, so that sessions outlive it."""

    def __init__(self, directory):
        self.socket = os.path.join(directory, "redis.sock")
        self.argv = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", directory, "--save", "",
                     "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]
        self.log = os.path.join(directory, "redis.log")
        self.boot()

    def boot(self):
        with open(self.log, "ab") as log:
            self.process = start(self.argv, stdout=log, stderr=log)
        wait_for("redis-server answers", self.answers)

    def answers(self):
        check(self.process.poll() is None, f"redis-server does not start, see {self.log}")
        return subprocess.run(["redis-cli", "-s", self.socket, "PING"], capture_output=True, check=False).stdout == b"PONG\n"

    def kill(self):
        self.process.kill()
        self.process.wait()


class Server:
    def __init__(self, build, kind, redis, directory, name, config="deadline_ms=10000", arguments=()):
        self.name = f"{kind} {name}"
        self.out, self.err = (os.path.join(directory, f"{kind}-{name}.{end}") for end in ("out", "err"))
        argv = [os.path.join(build, "examples", f"latchkey-server-{kind}"), "--port", "0", "--insecure-cookie", "--redis",
                f"unix://{redis.socket}?staleness_ms={STALENESS_MS}&{config}", *arguments]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = start(argv, stdout=out, stderr=err)
        wait_for(f"{self.name} listens", self.find_address)

    def find_address(self):
        check(self.process.poll() is None, f"{self.name} does not start: {self.said()}")
        with open(self.out, encoding="ascii") as out:
            found = re.match(r"listening on (http://127\.0\.0\.1:(\d+))\n", out.read())
        if found:
            self.url, self.port = found[1], int(found[2])
        return found

    def said(self):
        with open(self.err, encoding="utf-8", errors="replace") as err:
            return err.read()

    def end(self):
        """The status it ends with by itself."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end") from None

    def stop(self):
        self.process.terminate()
        code = self.end()
        check(code == 0 and not self.said(), f"{self.name} ended with {code} and said: {self.said()}")

    def metrics(self):
        status, text, _ = Client(self).ask("GET", "/metrics")
        check(status == 200, f"{self.name}: /metrics answers {status}")
        tool = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        check(tool.returncode == 0, f"{self.name}: promtool: {tool.stderr} {tool.stdout}")
        words = (line.split() for line in text.decode().splitlines() if not line.startswith("#"))
        return {line[0]: float(line[1]) for line in words if len(line) == 2}


class Client:
    """One connection that is kept."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)

    def ask(self, method, path, cookie=None):
        try:
            self.connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
            response = self.connection.getresponse()
            return response.status, response.read(), response.headers
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{self.server.name}: {method} {path}: no answer: {error!r}") from None

    def login(self, user):
        """Where the machine is too busy for the deadline: once more."""
        until = time.monotonic() + PATIENCE_S
        status, body, headers = self.ask("POST", f"/login?user={user}")
        while status == 503 and time.monotonic() < until:
            status, body, headers = self.ask("POST", f"/login?user={user}")
        check(status == 200 and json.loads(body)["user"] == user, f"login of {user}: {status}, {body}")
        return headers["Set-Cookie"].partition(";")[0]

    def whoami(self, session):
        """The status; 200 only with the right user."""
        status, body, _ = self.ask("GET", "/whoami", session[1])
        check(status != 200 or json.loads(body)["user"] == session[0],
              f"{self.server.name}: the session of user {session[0]} was answered with {body}")
        return status


class Load:
    """wrk, until it is ended."""

    def __init__(self, server, cookies):
        self.process = start(["wrk", "-t2", f"-c{CONNECTIONS}", "-d600", "--timeout", f"{PATIENCE_S}", "-s",
                              os.path.join(HERE, "cookies.lua"), server.url + "/whoami", "--", cookies],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()
        self.has_seen(200)

    def has_seen(self, status):
        wait_for(f"wrk is answered {status}", lambda: f"wrk-first: {status}\n" in self.lines or self.process.poll() is not None)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed("wrk does not end") from None
        self.reader.join(PATIENCE_S)
        text = "".join(self.lines)
        found = re.search(r"^wrk: (.*)$", text, re.M)
        check(self.process.returncode == 0 and found, f"wrk: {text}")
        self.errors = {name: int(n) for name, n in (pair.split("=") for pair in found[1].split())}
        self.requests = self.errors.pop("requests")
        self.statuses = {}
        for status, n in re.findall(r"(\d+)=(\d+)", "".join(re.findall(r"^wrk-statuses:(.*)$", text, re.M))):
            self.statuses[int(status)] = self.statuses.get(int(status), 0) + int(n)
        return self

    def no_errors(self, server):
        check(not any(self.errors.values()), f"{server.name}: socket errors under load: {self.errors}")
        check(self.requests > 0, f"{server.name}: wrk had no answer")
        return self


class Probes:
    """Threads that ask who is who beside wrk: an answer given to another request's client is seen here."""

    def __init__(self, server, sessions, allowed=(200,)):
        self.stopped, self.failure, self.count, self.allowed = False, None, 0, allowed
        self.threads = [threading.Thread(target=self.run, args=(server, sessions, i), daemon=True) for i in range(PROBES)]
        for thread in self.threads:
            thread.start()

    def run(self, server, sessions, seed):
        client, rng = Client(server), random.Random(seed)
        try:
            while not self.stopped:
                session = rng.choice(sessions)
                status = client.whoami(session)
                check(status in self.allowed, f"{server.name}: a session that is logged in was answered {status}")
                self.count += 1
        except Failed as failure:
            self.failure = failure

    def end(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(PATIENCE_S)
        if self.failure:
            raise self.failure
        check(self.count > 0, "no probe was answered")
        return self.count


class Stage:
    """Redis and the sessions that all scenes share."""

    def __init__(self, build, directory, seconds):
        self.build, self.directory, self.seconds = build, directory, seconds
        self.redis = Redis(directory)
        self.cookies = os.path.join(directory, "cookies")
        self.number = 0

    def server(self, kind, **options):
        self.number += 1
        return Server(self.build, kind, self.redis, self.directory, str(self.number), **options)

    def log_in(self, server):
        client = Client(server)
        sessions = [(user, client.login(user)) for user in range(1000, 1000 + SESSIONS + SPARE)]
        with open(self.cookies, "w", encoding="ascii") as file:
            file.writelines(cookie + "\n" for _, cookie in sessions[:SESSIONS])
        return sessions[:SESSIONS], sessions[SESSIONS:]


def log_out(spare, here, there):
    """B: refused at once by the instance that answered; C: by the others within the bound. Answers that are no answer
    (503) admit no request and are asked again."""
    at_here, at_there = Client(here), Client(there)
    for session in spare:
        check(at_here.whoami(session) == 200 and at_there.whoami(session) == 200, "a spare session is not admitted")
        status, body, _ = at_here.ask("POST", "/logout", session[1])
        ended = time.monotonic()
        check(status == 200, f"{here.name}: logout: {status} {body}")
        check(at_here.whoami(session) == 401, f"{here.name} admits a session whose logout it has answered (B)")
        refused_within_bound(at_there, session, ended)


def refused_within_bound(client, session, ended):
    while True:
        sent = time.monotonic()
        status = client.whoami(session)
        check(status in (200, 401, 503), f"{client.server.name}: {status} after a logout")
        if status == 401:
            return
        late_ms = (sent - ended) * 1000
        check(status != 200 or late_ms <= STALENESS_MS + TICK_MS,
              f"{client.server.name} admits a session {late_ms:.0f} ms after its logout elsewhere (C)")
        check(late_ms < PATIENCE_S * 1000, f"{client.server.name} answers {status} for {PATIENCE_S} s after a logout")


def busy(stage, server, other, during=None):
    """Load on `server`, with logouts meanwhile; all that is answered must be right, and /metrics count as wrk does."""
    sessions, spare = stage.log_in(server)
    before = server.metrics()
    load, probes = Load(server, stage.cookies), Probes(server, sessions)
    until = time.monotonic() + stage.seconds
    log_out(spare, server, other)
    own = 2 * len(spare)
    if during:
        during(stage, server, sessions)
    time.sleep(max(0, until - time.monotonic()))
    wait_for("there was load enough", lambda: server.metrics()["latchkey_validates_total"] > LEAST)
    load.end().no_errors(server)
    own += probes.end()
    check(set(load.statuses) == {200}, f"{server.name}: logged-in requests were answered {load.statuses}")
    return sessions, load, own, before, server.metrics()


def counted(server, load, own, before, after):
    """wrk leaves at its end what is under way on each connection, which the server counts and wrk does not."""
    delta = after["latchkey_validates_total"] - before["latchkey_validates_total"]
    least = sum(load.statuses.values()) + own
    check(least <= delta <= least + CONNECTIONS,
          f"{server.name}: {least} requests were answered, and /metrics says {delta:.0f} validations")
    check(after["latchkey_connected"] == 1, f"{server.name}: not connected")


def scene_busy(stage, kind):
    server, other = stage.server(kind), stage.server(kind)
    _, load, own, before, after = busy(stage, server, other)
    counted(server, load, own, before, after)
    hits = after["latchkey_l1_hits_total"] - before["latchkey_l1_hits_total"]
    lapses = after["latchkey_lapses_total"] - before["latchkey_lapses_total"]  # a machine that stood still
    check(hits + lapses > load.requests / 2, f"{server.name}: only {hits:.0f} of {load.requests} requests were hits")
    server.stop()
    other.stop()
    return f"{load.requests} requests, {own} probes, {hits:.0f} hits, {SPARE} logouts"


def scene_outage(stage, kind):
    """Redis is killed under load: 503 and never 401; it comes back: 200."""
    server = stage.server(kind, config="deadline_ms=500")
    sessions, _ = stage.log_in(server)
    client = Client(server)
    load, probes = Load(server, stage.cookies), Probes(server, sessions, allowed=(200, 503))

    def answered(wanted):
        status = client.whoami(sessions[0])
        check(status in (200, 503), f"{server.name}: with Redis lost, a session that is logged in was answered {status}")
        return status == wanted

    wait_for("a session is admitted", lambda: answered(200))
    stage.redis.kill()
    wait_for("Redis' loss is said", lambda: answered(503))
    health = client.ask("GET", "/healthz")[0]
    load.has_seen(503)
    stage.redis.boot()
    wait_for("a session is admitted again", lambda: answered(200))
    load.end().no_errors(server)
    probes.end()
    check(set(load.statuses) == {200, 503}, f"{server.name}: with Redis lost, requests were answered {load.statuses}")
    check(health == 503, f"{server.name}: /healthz answered {health} without Redis")
    server.stop()
    return ", ".join(f"{n} times {status}" for status, n in sorted(load.statuses.items()))


def scene_stop(stage, kind):
    """SIGTERM under load: it ends by itself, with status 0, having said nothing."""
    server = stage.server(kind, config="deadline_ms=10000&l1_ttl_ms=100")
    stage.log_in(server)
    load = Load(server, stage.cookies)
    server.stop()
    load.end()
    check(set(load.statuses) <= {200, 503} and load.statuses.get(200), f"{server.name}: answered {load.statuses}")
    return f"{load.requests} requests before the end"


def ask_and_go(server, session, what):
    """A client that asks and is gone, with a reset, without waiting for the answer."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(f"{what} HTTP/1.1\r\nHost: x\r\nCookie: {session[1]}\r\n\r\n".encode())
        time.sleep(0.002)


def hang_up(stage, server, sessions):
    """First at any moment, then while Redis stands still, so that all of them surely wait when they go."""
    for i in range(HANG_UPS):
        if i == HANG_UPS // 2:
            stage.redis.process.send_signal(signal.SIGSTOP)
        if i % 4:
            ask_and_go(server, sessions[i % len(sessions)], "GET /whoami")
        else:
            ask_and_go(server, (1, "sid=none"), "POST /login?user=1")  # a login ends the session of its cookie
    stage.redis.process.send_signal(signal.SIGCONT)


def scene_misses(stage, kind):
    """Without L1 every request goes by submit and reap, and clients hang up while theirs is under way."""
    server = stage.server(kind, config="deadline_ms=10000&l1_capacity=0")
    other = stage.server(kind)
    _, load, own, before, after = busy(stage, server, other, during=hang_up)
    check(after["latchkey_l1_hits_total"] == 0, f"{server.name} has no L1, and hits")
    misses = after["latchkey_l1_misses_total"] - before["latchkey_l1_misses_total"]
    check(misses >= load.requests + own, f"{server.name}: {misses:.0f} misses for {load.requests + own} requests")
    server.stop()
    other.stop()
    return f"{load.requests} requests, {own} probes, {HANG_UPS} clients that hung up"


def scene_workers(stage, kind):
    """Prefork: each worker is an instance, and a logout that one of them answers is heard by all."""
    server = stage.server(kind, arguments=["--workers", "3"])
    sessions, spare = stage.log_in(server)
    load, probes = Load(server, stage.cookies), Probes(server, sessions)
    clients = {}
    until = time.monotonic() + PATIENCE_S
    while len(clients) < 3:  # the kernel deals connections out
        check(time.monotonic() < until, f"{server.name}: only these workers answer: {sorted(clients)}")
        client = Client(server)
        clients[client.ask("GET", "/healthz")[2]["X-Worker"]] = client
    clients = list(clients.values())
    for i, session in enumerate(spare):
        for client in clients:
            check(client.whoami(session) == 200, "a spare session is not admitted")
        here = clients[i % 3]
        status, body, _ = here.ask("POST", "/logout", session[1])
        ended = time.monotonic()
        check(status == 200, f"{server.name}: logout: {status} {body}")
        check(here.whoami(session) == 401, f"{server.name}: the worker that answered a logout admits the session (B)")
        for client in clients:
            refused_within_bound(client, session, ended)
    load.end().no_errors(server)
    probes.end()
    check(set(load.statuses) == {200}, f"{server.name}: logged-in requests were answered {load.statuses}")
    server.stop()
    return f"{load.requests} requests, {len(spare)} logouts, each heard by 3 workers"


def scene_worker_dies(stage, kind):
    """A worker that is killed takes the others with it: no process is left behind, and the status says so."""
    server = stage.server(kind, arguments=["--workers", "3"])
    worker = int(Client(server).ask("GET", "/healthz")[2]["X-Worker"])
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children", encoding="ascii") as file:
        children = {int(pid) for pid in file.read().split()}
    check(len(children) == 3 and worker in children, f"the workers are {children}, and {worker} answered")
    os.kill(worker, signal.SIGKILL)
    check(server.end() == 1 and "a worker has ended" in server.said(), f"the parent said: {server.said()}")
    check(not any(os.path.exists(f"/proc/{pid}") for pid in children), "a worker is left behind")
    return "the others ended, status 1"


def grow_older(stage, cookie, ms):
    """As if the session had been made so much earlier: created_at_ms stands at byte 112 of its record."""
    cli = ["redis-cli", "-s", stage.redis.socket]
    selector = cookie.partition("=")[2][:20]
    key = subprocess.run([*cli, "--scan", "--pattern", f"*:s:{selector}"], capture_output=True, check=True).stdout.strip()
    record = bytearray(subprocess.run([*cli, "--raw", "HGET", key, "v"], capture_output=True, check=True).stdout[:184])
    struct.pack_into("<q", record, 112, struct.unpack_from("<q", record, 112)[0] - ms)
    subprocess.run([*cli, "-x", "HSET", key, "v"], input=bytes(record), stdout=subprocess.DEVNULL, check=True)


def scene_renew(stage, kind):
    """renew_ms: of many requests at once with an old token all are answered, and one gets the new token."""
    old_ms, rounds, at_once = 3600000, 5, 8
    server, other = (stage.server(kind, config=f"deadline_ms=10000&renew_ms={old_ms}") for _ in range(2))
    maker = Client(server)
    for user in range(1, 1 + rounds):
        old = maker.login(user)
        clients, answers = [Client(other) for _ in range(at_once)], []
        check(Client(other).ask("GET", "/healthz")[0] == 200, f"{other.name} is not well")
        grow_older(stage, old, old_ms)
        threads = [threading.Thread(target=lambda c=c: answers.append(c.ask("GET", "/whoami", old))) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        check([status for status, _, _ in answers] == [200] * at_once, f"{other.name}: answered {answers}")
        check(all(json.loads(body)["user"] == user for _, body, _ in answers), f"{other.name}: answered {answers}")
        renewed = [headers["Set-Cookie"].partition(";")[0] for _, _, headers in answers if headers["Set-Cookie"]]
        check(len(renewed) == 1 and renewed[0] != old, f"{other.name}: {at_once} requests got {len(renewed)} new tokens")
        for cookie in (old, renewed[0]):  # in its grace the old one goes on
            status, body, headers = clients[0].ask("GET", "/whoami", cookie)
            check(status == 200 and json.loads(body)["user"] == user and not headers["Set-Cookie"],
                  f"{other.name}: after the renewal: {status} {body} {headers}")
        check(maker.ask("POST", "/logout", renewed[0])[0] == 200 and maker.whoami((user, old)) == 401,
              f"{server.name}: the old token outlives the logout with the new one")
    server.stop()
    other.stop()
    return f"{rounds} tokens renewed, each once, in {rounds * at_once} requests"


def scene_taken(stage, kind):
    """A port that is taken is refused, also where workers could share it."""
    server = stage.server(kind, arguments=["--workers", "2"] if kind == "evented" else [])
    for arguments in [], ["--workers", "2"]:
        if kind == "threaded" and arguments:
            continue
        second = subprocess.run([*server.process.args, *arguments, "--port", str(server.port)], capture_output=True, text=True,
                                timeout=PATIENCE_S, check=False)
        check(second.returncode == 1 and "cannot listen on 127.0.0.1" in second.stderr,
              f"a second {kind} server on the same port: {second.returncode}, {second.stdout}{second.stderr}")
    server.stop()
    return "refused"


SCENES = [(name, scene, kind) for kind in ("threaded", "evented")
          for name, scene in (("busy", scene_busy), ("outage", scene_outage), ("stop", scene_stop), ("taken", scene_taken),
                              ("renew", scene_renew))]
SCENES += [("misses", scene_misses, "evented"), ("workers", scene_workers, "evented"),
           ("worker-dies", scene_worker_dies, "evented"), ("misses", scene_misses, "threaded")]


def perform(about, scenes, seconds):
    """The scenes of a program, or those that --only names. `seconds`: the least that a load lasts; None: there is none."""
    me = os.path.basename(sys.argv[0])
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("build")
    if seconds is not None:
        parser.add_argument("--seconds", type=float, default=seconds, help="the least that a load lasts")
    parser.add_argument("--only", default="", help="scenes whose KIND NAME begins so, for example \"evented data\"")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="latchkey-http-")
    code = 0
    try:
        stage = Stage(os.path.abspath(args.build), directory, 0 if seconds is None else args.seconds)
        chosen = [scene for scene in scenes if f"{scene[2]} {scene[0]}".startswith(args.only)]
        check(chosen, f"no scene is named {args.only}")
        for name, scene, kind in chosen:
            began = time.monotonic()
            said = scene(stage, kind)
            print(f"{kind} {name}: {said}; {time.monotonic() - began:.1f} s", flush=True)
    except Failed as failure:
        print(f"{me}: WRONG: {failure}", file=sys.stderr)
        code = 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    os._exit(code)  # threads of a scene that failed may still wait; our children end with us


if __name__ == "__main__":
    perform(__doc__, SCENES, 3)
