# SPDX-License-Identifier: MIT
"""The other half of `quickstart.sh --cluster`: slots move and a primary dies under load, and what requests notice of it.

Starts a Redis Cluster of six nodes (three primaries, a replica for each) and two HTTP servers on loopback, each a process that ends with
this one. Every answer is checked: a session that was logged out is refused throughout, one that lives is never refused. The first
wrong answer ends the run with status 1.
"""
import time

from failover import (BEFORE_S, LOOK_S, Redis, Server, ask, end_loads, free_port, judge, main, make_sessions, picture, request, say,
                      start_loads, step, wait_for, wrong)

SESSIONS, MOVED, AFTER_S, SLOTS, NODE_TIMEOUT_MS = 300, 2000, 14, 16384, 1000


def make_cluster(directory):
    nodes = []
    for i in range(6):
        bus = free_port()
        nodes.append(Redis(directory, f"node{i}", "--save", "", "--repl-diskless-sync-delay", "0", "--cluster-enabled", "yes",
                           "--cluster-port", str(bus), "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage",
                           "no", "--cluster-config-file", "nodes"))
        nodes[i].bus = bus
    for i, node in enumerate(nodes):
        if i < 3:
            ask(node.port, "CLUSTER", "ADDSLOTSRANGE", i * SLOTS // 3, (i + 1) * SLOTS // 3 - 1)
        ask(node.port, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        if i:
            ask(node.port, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].bus)
    wait_for("all nodes know each other",
             lambda: all(ask(node.port, "CLUSTER", "INFO").count("cluster_known_nodes:6") and
                         "handshake" not in ask(node.port, "CLUSTER", "NODES") for node in nodes))
    for replica, primary in zip(nodes[3:], nodes):
        wait_for("it replicates", lambda: ask(replica.port, "CLUSTER", "REPLICATE", ask(primary.port, "CLUSTER", "MYID")) == "OK")
    wait_for("the cluster serves", lambda: all("cluster_state:ok" in ask(node.port, "CLUSTER", "INFO") and
                                               ask(node.port, "CLUSTER", "SLOTS").count("127.0.0.1") == 6 for node in nodes))
    wait_for("the replicas follow", lambda: all(ask(node.port, "WAIT", 1, 100) == "1" for node in nodes[:3]))
    return nodes


def move_slot(slot, source, target, others):
    """As redis-cli --cluster reshard does it."""
    ids = [ask(node.port, "CLUSTER", "MYID") for node in (source, target)]
    ask(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    ask(source.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    while keys := ask(source.port, "CLUSTER", "GETKEYSINSLOT", slot, 100).split():
        ask(source.port, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *others):
        ask(node.port, "CLUSTER", "SETSLOT", slot, "NODE", ids[1])


def slots_in_use(node):
    """Those of the first node that hold a partition of the library."""
    partitions = (int(ask(node.port, "CLUSTER", "KEYSLOT", f"{{{p}}}")) for p in range(64))
    return sorted({slot for slot in partitions if slot < SLOTS // 3})


def reshard(program, directory):
    step(2, "Start a cluster: three primaries, three replicas; and two instances of the HTTP server")
    nodes = make_cluster(directory)
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    a, b = (Server(program, directory, name, url) for name in "ab")
    say(f"A, B   {url}")

    step(3, f"{SESSIONS} logins on all primaries, half of them logged out again")
    sessions = make_sessions(a, SESSIONS)
    wait_for("the replicas have them", lambda: all(ask(node.port, "WAIT", 1, 1000) == "1" for node in nodes[:3]))
    for node in nodes[:3]:
        say(f"127.0.0.1:{node.port}: {ask(node.port, 'DBSIZE')} keys")
    say("every second request from here on shows the cookie of a session that was logged out")

    step(4, "Every partition of the first primary moves to the second, then the third is killed, under load")
    began = time.monotonic()
    loads = start_loads((a, b), sessions, began)
    time.sleep(BEFORE_S)
    moving = time.monotonic() - began
    slots = slots_in_use(nodes[0])
    for slot in slots:
        move_slot(slot, nodes[0], nodes[1], nodes[2:3])
    moved = time.monotonic() - began
    time.sleep(1)
    nodes[2].process.kill()
    killed = time.monotonic() - began
    wait_for("its replica takes over", lambda: "cluster_state:ok" in ask(nodes[5].port, "CLUSTER", "INFO") and
             ask(nodes[5].port, "ROLE").startswith("master"))
    serves = time.monotonic() - began
    after_s = max(AFTER_S, serves + 4 - BEFORE_S)
    time.sleep(max(0, BEFORE_S + after_s - (time.monotonic() - began)))
    end_loads(loads)
    picture(loads, [(moving, f"{len(slots)} slots begin to move"), (moved, "they have moved"), (killed, "a primary is killed"),
                    (serves, "its replica serves")], moving, after_s)

    step(5, "What was seen")
    judge(loads, int((BEFORE_S + after_s) / LOOK_S))
    say(f"{len(slots)} partitions moved in {moved - moving:.2f} s; the replica served {serves - killed:.2f} s after the kill "
        f"(cluster-node-timeout {NODE_TIMEOUT_MS} ms)")
    for user in range(20):
        status, cookie = request(a.connect(), "POST", f"/login?user={user}")
        if status != 200 or request(b.connect(), "GET", "/whoami", cookie)[0] != 200:
            wrong(f"a login afterwards was answered {status}")
    say("new logins on A are known to B, on all nodes")


if __name__ == "__main__":
    main(reshard, __doc__)
