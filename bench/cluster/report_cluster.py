# SPDX-License-Identifier: MIT
"""The tables of latchkey-bench-cluster."""
from report import short, size, time


def spread(values, form):
    """Median, least and most."""
    middle, least, most = values
    return f"{form(middle)} ({form(least)} to {form(most)})"


def us(value):
    return time(value * 1e3)


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
        row("Redis, a miss", lambda s: us(s["miss_us"][0])),
        row("logins a second", lambda s: spread(s["logins_per_s"], short)),
        row("Redis, a login", lambda s: us(s["login_us"][0])),
        row("a session in Redis", lambda s: size(s["session_bytes"][0])),
        row("revoke returns after: p50, p99", lambda s: f"{time(s['revoke']['p50_ns'])}, {time(s['revoke']['p99_ns'])}"),
        row("the other handle refuses after: p50, p99",
            lambda s: f"{time(s['refusal']['p50_ns'])}, {time(s['refusal']['p99_ns'])}"),
        row("commands a revocation, with those of its script", lambda s: short(s["revoke_commands"])),
        row("bus messages a revocation", lambda s: of_cluster(s, short(s["revoke_published"]))),
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
            lambda s: f"{short(s['idle_connections'])}, {short(s['busy_connections'])}"),
        row("threads", lambda s: short(s["threads"])),
        row("descriptors, idle", lambda s: short(s["fds"])),
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
        "\n".join(instances)])


PLOTS = []
