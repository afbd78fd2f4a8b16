#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Starts private servers, one alone and real clusters, and runs latchkey-bench-cluster with them.

usage: run.py PROGRAM [OPTIONS OF THE PROGRAM]
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SLOTS = 16384
# Name, primaries, replicas of each. No primaries: a server alone.
PLANS = [("one server", 0, 0), ("cluster, 1 primary", 1, 0), ("cluster, 3 primaries", 3, 0),
         ("cluster, 3 primaries, 3 replicas", 3, 1)]
PATIENCE_S = 60

servers = []


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(taken):
    """Its bus has port + 10000."""
    while True:
        port = random.randrange(11000, 22000)
        if port not in taken and is_free(port) and is_free(port + 10000):
            taken.add(port)
            return port


def start(directory, port, in_cluster):
    place = os.path.join(directory, str(port))
    os.mkdir(place)
    # The kernel ends the server if this process dies.
    command = ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", place,
               "--save", "", "--appendonly", "no", "--logfile", os.path.join(place, "log")]
    if in_cluster:
        command += ["--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--repl-diskless-sync-delay", "0"]
    # Ctrl-C goes to the whole foreground group; the servers are ours to end.
    servers.append(subprocess.Popen(command, start_new_session=True))


def ask(port, *words):
    done = subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def wait(what, is_so):
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > until:
            sys.exit(f"run.py: {what}: not within {PATIENCE_S} s")
        time.sleep(0.05)


def knows(port, count):
    lines = ask(port, "CLUSTER", "NODES").splitlines()
    return len(lines) == count and not any("handshake" in line for line in lines)


def join(clusters):
    """Each is its ports and how many of them are primaries. All at once: each step waits for messages between nodes."""
    for ports, primaries in clusters:
        for i, port in enumerate(ports[:primaries]):
            ask(port, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            ask(port, "CLUSTER", "ADDSLOTSRANGE", SLOTS * i // primaries, SLOTS * (i + 1) // primaries - 1)
        for i, port in enumerate(ports):
            for other in ports[i + 1:]:
                ask(port, "CLUSTER", "MEET", "127.0.0.1", other)
    for ports, primaries in clusters:
        wait("the nodes know each other", lambda ports=ports: all(knows(port, len(ports)) for port in ports))
        for i, port in enumerate(ports[primaries:]):
            ask(port, "CLUSTER", "REPLICATE", ask(ports[i % primaries], "CLUSTER", "MYID"))
    for ports, primaries in clusters:
        for port in ports[primaries:]:
            wait("a replica is up", lambda port=port: "master_link_status:up" in ask(port, "INFO", "replication"))
        for port in ports:
            wait("the cluster is ok", lambda port=port: "cluster_state:ok" in ask(port, "CLUSTER", "INFO"))


def end_all():
    for server in servers:
        if server.poll() is None:
            server.kill()
            server.wait()


def main():
    if len(sys.argv) < 2 or sys.argv[1] == "--help":
        print(__doc__.strip())
        return 0 if len(sys.argv) > 1 else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = tempfile.mkdtemp(prefix="lk-cluster-")
    try:
        taken, ports = set(), []
        for _, primaries, replicas in PLANS:
            ports.append([free_port(taken) for _ in range(max(1, primaries) + primaries * replicas)])
            for port in ports[-1]:
                start(directory, port, primaries > 0)
        for port in sorted(taken):
            wait(f"the server at port {port} answers", lambda port=port: ask(port, "PING") == "PONG")
        join([(mine, primaries) for (_, primaries, _), mine in zip(PLANS, ports) if primaries])
        options = []
        for (name, primaries, _), mine in zip(PLANS, ports):
            options += ["--setup", name, str(primaries), ",".join(map(str, mine))]
        return subprocess.run(sys.argv[1:] + options, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
