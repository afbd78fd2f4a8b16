# SPDX-License-Identifier: MIT
"""The tables of latchkey-bench-cluster."""
from report import percent, short, size, time, whole


def spread(values, form):
    """Median, least and most."""
    middle, least, most = values
    return f"{form(middle)} ({form(least)} to {form(most)})"


def us(value):
    return time(value * 1e3)


def few(value):
    return f"{value:.3g}"


# On paper. What is assumed, and what was measured elsewhere.
SESSIONS, INSTANCES, PRIMARIES, PARTITIONS = 100e6, 1000, 32, 512
USED = 0.1  # of the sessions at a time, each once a minute
LIFE_S, LOGOUTS = 12 * 3600, 0.8
TOUCH_S, TOUCH_US = 150, 14.9  # idle_ms / 12; of a touch by "What a script costs Redis"
L1_ENTRIES, L1_BYTES, L1_TTL_S = 100000, 205, 300
BUS_HEADER, BUS_GOSSIP, NODE_TIMEOUT_S = 2256, 104, 5  # bytes of a message, and of each node that it tells about
MOVED, MOVED_S = 10000, 2.4  # so many sessions of 4.5 KB were moved, in one run
MOST_PRIMARIES, NODE_BYTES = 63, 20e9
MOST_CLIENTS = 10000  # Redis' own maxclients


def paper(setups):
    """The last setup has replicas, as people have them; the second and the third differ in partitions for each primary."""
    one, three, real = setups[1], setups[2], setups[-1]
    nodes, mine = 2 * PRIMARIES, PARTITIONS / PRIMARIES
    each = (one["awake_commands"] - three["awake_commands"]) / (64 - 64 / 3)
    rest = one["awake_commands"] - 64 * each
    per_primary = (three["fds"] - one["fds"]) / 2
    each_us = max(0, one["awake_cpu_us"] - three["awake_cpu_us"]) / (64 - 64 / 3)
    session = real["session_bytes"][0]
    published = real["awake_published"] / (1 + 1 / 3)  # one of the three has partition 0, and says as much again for `top`
    idle, busy = real["idle_connections"] / 3, real["busy_connections"] / 3
    requests, logins = SESSIONS * USED / 60, SESSIONS / LIFE_S
    revocations, touches = logins * LOGOUTS, SESSIONS * USED / TOUCH_S
    heard_us = real["revoke_cpu_us"] + INSTANCES * real["heard_us"]
    message = BUS_HEADER + 100
    ping = BUS_HEADER + BUS_GOSSIP * nodes / 10
    pings = 2 * ((nodes - 1) / (NODE_TIMEOUT_S / 2) + 1)
    shares = {
        "beats": INSTANCES * real["awake_cpu_us"] / 1e6,
        "misses": requests / PRIMARIES * real["miss_us"][0] / 1e6,
        "touches": touches / PRIMARIES * TOUCH_US / 1e6,
        "logins": logins / PRIMARIES * real["login_us"][0] / 1e6,
        "revocations": revocations / PRIMARIES * heard_us / 1e6}
    hearing = revocations / PRIMARIES * INSTANCES * real["heard_us"] / 1e6
    total = sum(shares.values())
    # A node has so many revocations a second when its core is full, and this many instances when they grow alone.
    full = (1 - total + shares["revocations"]) / (heard_us / 1e6)
    steady = total - shares["beats"] - hearing
    most = INSTANCES * (1 - steady) / (total - steady)
    moved_s = SESSIONS / PARTITIONS / MOVED * MOVED_S

    rows = [
        ("Redis, each primary", f"{whole(SESSIONS)} x {size(session)} / {PRIMARIES}",
         f"{size(SESSIONS * session / PRIMARIES)}, and as much for each replica"),
        ("sessions a partition", f"{whole(SESSIONS)} / {PARTITIONS}",
         f"{whole(SESSIONS / PARTITIONS)}, {size(SESSIONS / PARTITIONS * session)}"),
        ("L1, each instance", f"{whole(L1_ENTRIES)} x {L1_BYTES} B", size(L1_ENTRIES * L1_BYTES)),
        ("links: connections of an instance, idle", f"{few(idle)} x {PRIMARIES}", whole(idle * PRIMARIES)),
        ("connections of an instance, all busy", f"{few(busy)} x {PRIMARIES}", whole(busy * PRIMARIES)),
        ("connections at a node: idle, all busy", f"{whole(INSTANCES)} x {few(idle)}, x {few(busy)}",
         f"{whole(INSTANCES * idle)}, {whole(INSTANCES * busy)}"),
        ("threads of an instance", f"{PRIMARIES} + {few(one['threads'] - 1)}", whole(PRIMARIES + one["threads"] - 1)),
        ("descriptors of an instance, idle", f"{few(per_primary)} x {PRIMARIES} + {few(one['fds'] - per_primary)}",
         whole(per_primary * PRIMARIES + one["fds"] - per_primary)),
        ("beats a second at a node", f"{whole(INSTANCES)} x 2", whole(INSTANCES * 2)),
        ("their commands a second", f"{whole(INSTANCES)} x ({few(each)} x {few(mine)} partitions + {few(rest)})",
         whole(INSTANCES * (each * mine + rest))),
        ("processor share of beats", f"{whole(INSTANCES)} x {us(real['awake_cpu_us'])}, measured with 21 partitions",
         percent(shares["beats"])),
        ("... of misses, each request a miss", f"{whole(requests)}/s / {PRIMARIES} x {us(real['miss_us'][0])}",
         percent(shares["misses"])),
        ("... of touches", f"{whole(touches)}/s / {PRIMARIES} x {us(TOUCH_US)}", percent(shares["touches"])),
        ("... of logins", f"{whole(logins)}/s / {PRIMARIES} x {us(real['login_us'][0])}", percent(shares["logins"])),
        ("... of revocations",
         f"{whole(revocations)}/s / {PRIMARIES} x ({us(real['revoke_cpu_us'])} + {whole(INSTANCES)} x {us(real['heard_us'])})",
         percent(shares["revocations"])),
        ("... in all", "the sum", percent(total)),
        ("revocations that an instance hears", f"{whole(logins)}/s x {LOGOUTS}", f"{whole(revocations)}/s"),
        ("bus, of a node: beats to its replica (at that of partition 0 twice)", f"{whole(INSTANCES)} x {few(published)}/s x {size(message)}",
         f"{size(INSTANCES * published * message)}/s"),
        ("bus, of a node: revocations to its replica",
         f"{whole(revocations)}/s / {PRIMARIES} x {few(real['revoke_published'])} x {size(message)}",
         f"{size(revocations / PRIMARIES * real['revoke_published'] * message)}/s"),
        ("bus, of a node: pings and pongs", f"2 x ({nodes - 1} / {NODE_TIMEOUT_S / 2:g} s + 1/s) x {size(ping)}",
         f"{size(pings * ping)}/s"),
    ]
    return f"""### On paper: 100 million sessions and 1,000 instances

Assumed: {PRIMARIES} primaries with a replica each, `partitions={PARTITIONS}` ({few(mine)} on each primary), `staleness_ms=2000`, a core for each
primary's main thread. One session of ten is in use at a time, with one request a minute. Sessions last 12 hours, and
{100 * LOGOUTS:.0f} of 100 are logged out. `cluster-node-timeout` is {whole(NODE_TIMEOUT_S * 1000)} ms. Figures are those of the last column above. They
were measured on a busy machine, so they are rather too high. A touch is {us(TOUCH_US)} (before "What a script costs Redis" was measured anew: it is less). A bus message is {whole(BUS_HEADER)} bytes of header and some 100 of
text; a ping tells {BUS_GOSSIP} bytes about each of a tenth of the nodes (Redis' source, not measured).

| what | arithmetic | |
|---|---|---:|
""" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"""

If the balancer sends a user to the same instance each time, an instance has {whole(SESSIONS * USED / INSTANCES)} sessions in use, and L1 holds them all. Then
misses are {whole(SESSIONS * USED)} / {L1_TTL_S} s / {PRIMARIES} = {whole(SESSIONS * USED / L1_TTL_S / PRIMARIES)} a second and node, instead of {whole(requests / PRIMARIES)}.

**What has to change first when it grows**, in this order:

1. *Connections.* {whole(INSTANCES)} instances can open {whole(INSTANCES * busy)} at a node. Redis' `maxclients` is {whole(MOST_CLIENTS)}, less some that it keeps. Raise it, or take
   `connections=4`: {whole(INSTANCES * (busy - 4))} at most.
2. *Every instance hears every revocation.* A node's core is full at {whole(full)} revocations a second, which is {whole(full * PRIMARIES)} in the cluster;
   {whole(revocations)} are assumed. With all else as it is, it is full at {whole(most)} instances. More primaries share the revocations. Fewer and
   larger instances make both this and the beats less. In the library it would take several revocations in one message: with ten
   in each, hearing them would take {percent(hearing / 10)} of the core instead of {percent(hearing)}.
3. *Beats* grow with the instances. `staleness_ms=4000` halves them. A partition more or less of a node is little: {us(each_us)} a second and
   instance, {us(each_us * mine)} for {few(mine)}, of {us(real["awake_cpu_us"])}. The rest is what any beat takes: a message, its way back, and to the replica. Of
   the bus, beats are the most.
4. *A partition that moves* takes its {whole(SESSIONS / PARTITIONS)} sessions along. That takes {few(moved_s)} s, if {whole(MOVED)} take {MOVED_S} s, as in one run here.
   Logins of that partition are `UNAVAILABLE` until then, and revocations `PENDING`.
   4,096 partitions would make it {few(moved_s * PARTITIONS / 4096)} s, for {us(INSTANCES * each_us * (4096 - PARTITIONS) / PRIMARIES)} more of each node's core a second.
5. *More than {MOST_PRIMARIES} primaries* are refused. With {size(NODE_BYTES)} in each that is {whole(MOST_PRIMARIES * NODE_BYTES / session / 1e6)} million sessions."""


def markdown(result, command):
    m, setups = result["machine"], result["setups"]

    def row(name, cell):
        return f"| {name} | " + " | ".join(cell(s) for s in setups) + " |"

    def of_cluster(s, text):
        return text if s["primaries"] else "-"

    head = ["| | " + " | ".join(s["name"] for s in setups) + " |", "|---|" + "---:|" * len(setups)]
    calls = head + [
        row("a hit, one thread", lambda s: spread(s["hit_ns"], time)),
        row("times one server's hit in the same round", lambda s: spread(s["hit_times"], short)),
        row("misses a second", lambda s: spread(s["misses_per_s"], short)),
        *(row(f"one event loop with {depth} under way: misses a second; times that it wakes up, a miss",
              lambda s, d=depth: f"{spread(s[f'loop_{d}_per_s'], short)}; {s[f'loop_{d}_wakes'][0]:.2f}") for depth in (1, 16, 64)),
        row("Redis, a miss", lambda s: us(s["miss_us"][0])),
        row("logins a second", lambda s: spread(s["logins_per_s"], short)),
        row("Redis, a login", lambda s: us(s["login_us"][0])),
        row("a session in Redis", lambda s: size(s["session_bytes"][0])),
        row("revoke returns after: p50, p99", lambda s: f"{time(s['revoke']['p50_ns'])}, {time(s['revoke']['p99_ns'])}"),
        row("the other handle refuses after: p50, p99",
            lambda s: f"{time(s['refusal']['p50_ns'])}, {time(s['refusal']['p99_ns'])}"),
        row("commands a revocation, with those of its script", lambda s: few(s["revoke_commands"])),
        row("bus messages a revocation", lambda s: of_cluster(s, few(s["revoke_published"]))),
        row("Redis, a revocation", lambda s: us(s["revoke_cpu_us"])),
        row("... and for each instance more that hears it", lambda s: us(s["heard_us"])),
    ]
    instances = head + [
        row("commands a second, no requests", lambda s: short(s["awake_commands"])),
        row("... no requests for 20 beats", lambda s: short(s["idle_commands"])),
        row("... busy", lambda s: short(s["busy_commands"])),
        row("Redis, a second, no requests", lambda s: us(s["awake_cpu_us"])),
        row("... no requests for 20 beats", lambda s: us(s["idle_cpu_us"])),
        row("... busy", lambda s: us(s["busy_cpu_us"])),
        row("connections to all primaries: idle, busy",
            lambda s: f"{few(s['idle_connections'])}, {few(s['busy_connections'])}"),
        row("threads", lambda s: few(s["threads"])),
        row("descriptors, idle", lambda s: few(s["fds"])),
        row("bus messages a second that a node sends by itself", lambda s: of_cluster(s, short(s["gossip"]))),
    ]
    return "\n\n".join([
        f"`{command or 'latchkey-bench-cluster'}`",
        f"{m['processor']}, {m['cores']} cores, Linux {m['kernel']}; Redis {m['redis']}, all servers on the same machine over "
        f"TCP; {result['callers']:.0f} callers; sessions of 4.5 KB, 64 partitions; medians of {result['rounds']:.0f} rounds, and "
        f"the spread; load {result['load']:.1f} at the end; {result['revocations']:,.0f} revocations, one after the other. *Redis* is processor time of the primaries' "
        "main threads.",
        "\n".join(calls),
        f"What one instance costs each primary. Without requests: one of {result['crowd']:.0f}, counted for "
        f"{result['window_s']:.0f} s. Busy: 1,000 requests a second, one of 278 a login or a logout.",
        "\n".join(instances),
        paper(setups)])


PLOTS = []
