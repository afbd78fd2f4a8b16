#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what a session check costs an HTTP server: the same evented server without any check, with latchkey, and with
a Redis GET for each request, driven by wrk. The modes take turns, so that what the machine does meanwhile hits all alike.

    run.py LATCHKEY-BENCH-HTTP --json FILE [--short]
"""
import argparse
import ctypes
import http.client
import json
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = ("none", "latchkey", "redis")
CORES = sorted(os.sched_getaffinity(0))
LIBC = ctypes.CDLL(None)


def fail(what):
    sys.exit(f"bench/http/run.py: {what}")


def start(argv, **options):
    """A process that ends with this one."""
    return subprocess.Popen(argv, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL), **options)


def pinned(index, argv):
    """The server on one processor, wrk and Redis on another, where there are two: less moves between runs."""
    return ["taskset", "-c", str(CORES[index]), *argv] if len(CORES) > 1 else argv


def start_redis(directory):
    path = os.path.join(directory, "redis.sock")
    with open(os.path.join(directory, "redis.log"), "wb") as log:
        process = start(pinned(1, ["redis-server", "--port", "0", "--unixsocket", path, "--dir", directory, "--save", "",
                                   "--appendonly", "no", "--daemonize", "no"]), stdout=log, stderr=log)
    for _ in range(300):
        if subprocess.run(["redis-cli", "-s", path, "PING"], capture_output=True, check=False).stdout == b"PONG\n":
            return path
        if process.poll() is not None:
            break
        time.sleep(0.1)
    fail("redis-server does not start")


class Server:
    def __init__(self, program, mode, path):
        self.process = start(pinned(0, [program, "--check", mode, "--socket", path]), stdout=subprocess.PIPE, text=True)
        found = re.match(r"listening on (\d+) with (.*)\n", self.process.stdout.readline())
        if not found:
            fail(f"the server for {mode} does not start")
        self.mode, self.port, self.versions = mode, int(found[1]), found[2]

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def check(self, cookies):
        """It does what its mode says: each user is recognised, and no request without a cookie is admitted."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

        def ask(headers):
            connection.request("GET", "/", headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        if ask({})[0] != (200 if self.mode == "none" else 401):
            fail(f"{self.mode}: wrong without a cookie")
        for user in random.Random(1).sample(range(1, len(cookies) + 1), 100):
            wanted = (200, {"user": 0 if self.mode == "none" else user})
            if ask({"Cookie": cookies[user - 1]}) != wanted:
                fail(f"{self.mode}: wrong for the session of user {user}")

    def end(self):
        self.process.terminate()
        if self.process.wait(60):
            fail(f"the server for {self.mode} ended with {self.process.returncode}")


def measure(server, cookies, seconds, connections):
    before = server.cpu_s()
    argv = pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60", "-s",
                      os.path.join(HERE, "load.lua"), f"http://127.0.0.1:{server.port}/", "--", cookies])
    text = subprocess.run(argv, capture_output=True, text=True, check=False)
    used = server.cpu_s() - before
    found = re.search(r"^wrk: (.*)$", text.stdout, re.M)
    if text.returncode or not found:
        fail(f"wrk: {text.stdout}{text.stderr}")
    values = {name: int(value) for name, value in (pair.split("=") for pair in found[1].split())}
    if values["errors"] or values["refused"] or not values["requests"]:
        fail(f"{server.mode}: wrk had errors or refusals: {found[1]}")
    return {"requests_per_s": values["requests"] / (values["duration_us"] / 1e6), "p50_us": values["p50_us"],
            "p99_us": values["p99_us"], "processor_us": used * 1e6 / values["requests"]}


def machine(versions):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split("\n", 1)[0].split(" [")[0]
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return {"processor": model[1] if model else platform.processor(), "cores": len(CORES), "kernel": platform.release(),
            "architecture": platform.machine(), "redis": re.search(r"v=(\S+)", redis)[1], "wrk": wrk, "build": versions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--json", required=True, metavar="FILE")
    parser.add_argument("--short", action="store_true", help="a second of each: does it still run?")
    parser.add_argument("--sessions", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement: short ones in many rounds stand machine noise best")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    if args.short:
        args.sessions, args.seconds, args.repeat = min(args.sessions, 500), 1, 1
    for tool in ("wrk", "redis-server", "redis-cli", "taskset"):
        shutil.which(tool) or fail(f"{tool} is missing")
    directory = tempfile.mkdtemp(prefix="latchkey-bench-http-")
    try:
        path, file = start_redis(directory), os.path.join(directory, "cookies")
        subprocess.run([args.program, "--socket", path, "--prepare", str(args.sessions), "--cookies", file], check=True)
        with open(file, encoding="ascii") as lines:
            cookies = lines.read().split("\n")[:-1]
        servers = [Server(args.program, mode, path) for mode in MODES]
        for server in servers:
            server.check(cookies)
            measure(server, file, 1 if args.short else 3, args.connections)  # warm; not counted
        rounds = []
        for i in range(args.repeat):
            turn = servers[i % 3:] + servers[:i % 3]
            rounds.append({server.mode: measure(server, file, args.seconds, args.connections) for server in turn})
            print(f"http: round {i + 1} of {args.repeat}: " + ", ".join(
                f"{mode} {rounds[-1][mode]['requests_per_s']:,.0f}/s" for mode in MODES), flush=True)
        for server in servers:
            server.end()
        ratio = {mode: statistics.median(r[mode]["requests_per_s"] / r["none"]["requests_per_s"] for r in rounds)
                 for mode in MODES}
        work = {mode: statistics.median(r[mode]["processor_us"] / r["none"]["processor_us"] for r in rounds) for mode in MODES}
        result = {"benchmark": "http", "machine": machine(servers[0].versions), "sessions": args.sessions,
                  "connections": args.connections, "seconds": args.seconds, "rounds": rounds, "ratio_to_none": ratio,
                  "processor_time_to_none": work,
                  "goal": {"text": "with latchkey at least 0.95 of what no check at all reaches", "value": ratio["latchkey"],
                           "met": ratio["latchkey"] >= 0.95}}
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=2)
            out.write("\n")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
