# SPDX-License-Identifier: MIT
"""The tables and plots of latchkey-bench-server, and its goals. Any of its parts may be missing."""
import statistics

from report import cell, machine_line, new_plot, percent, save, short, table, time, whole

TRANSPORTS = (("tcp", "loopback TCP"), ("unix", "a unix socket"))
CONTENDERS = (("bare", "bare HGET"), ("bare+pttl", "bare HGET+PTTL"), ("latchkey", "latchkey"))


class Goals:
    """What was wanted, beside what came."""

    def __init__(self):
        self.rows = []

    def add(self, name, limit, values, at_most=True):
        value = statistics.median(values)
        met = value <= limit if at_most else value >= limit
        spread = f" ({short(min(values))} to {short(max(values))})" if len(values) > 1 else ""
        self.rows.append([name, f"{'at most' if at_most else 'at least'} {limit:g}", short(value) + spread,
                          "met" if met else "**missed**"])

    def markdown(self):
        met = sum(row[-1] == "met" for row in self.rows)
        return f"{met} of {len(self.rows)} goals met.\n\n" + table(["goal", "limit", "here", ""], self.rows)


# ------------------------------------------------------------------------------------------------- a miss


def cells(result, contender, transport, callers):
    """One for each turn, in order."""
    found = [c for c in result["miss"]["cells"]
             if (c["contender"], c["transport"], c["callers"]) == (contender, transport, callers)]
    return sorted(found, key=lambda c: c["turn"])


def answers(c):
    """In CI's short run, on a machine that stood still meanwhile, there may be none."""
    return max(c["answered"], 1)


def per_second(c):
    return answers(c) / c["account"]["seconds"]


def call(quantile):
    return lambda c: max(c["account"]["call"][quantile], 1)


def per_answer(c):
    return c["cpu_s"] * 1e9 / answers(c)


def per_command(c):
    return c["cpu_s"] * 1e9 / max(c["commands"], 1)


MEASURES = (("answers/s", per_second, short), ("p50", call("p50_ns"), time), ("p99", call("p99_ns"), time),
            ("Redis' processor time, per answer", per_answer, time),
            ("Redis' processor time, per command", per_command, time))


def ratios(ours, theirs, value):
    """Turn by turn: what slowed the machine for a while slowed both."""
    return [value(a) / (value(b) or 1) for a, b in zip(ours, theirs)]


def ratio_cell(ours, theirs, value):
    return cell(ratios(ours, theirs, value), lambda v: v, lambda v: f"{v:.2f}")


def callers_of(result):
    return sorted({c["callers"] for c in result["miss"]["cells"]})


def miss_table(result, transport, label):
    rows = []
    for callers in callers_of(result):
        runs = {who: cells(result, who, transport, callers) for who, _ in CONTENDERS}
        for name, value, form in MEASURES:
            rows.append([f"{callers} caller{'s' if callers > 1 else ''}: {name}"] +
                        [cell(runs[who], value, form) for who, _ in CONTENDERS] +
                        [ratio_cell(runs["latchkey"], runs["bare"], value)])
    submit, most = cells(result, "submit", transport, 1), callers_of(result)[-1]
    bare, both = (cells(result, who, transport, most) for who in ("bare", "bare+pttl"))
    for name, value, form in MEASURES if submit else ():
        rows.append([f"submit and reap, {result['miss']['in_flight']} in flight, one thread; bare: {most} callers: {name}",
                     cell(bare, value, form), cell(both, value, form), cell(submit, value, form),
                     ratio_cell(submit, bare, value)])
    return table([f"over {label}"] + [name for _, name in CONTENDERS] + ["latchkey by bare HGET"], rows)


def miss_goals(result, goals):
    callers = callers_of(result)
    for transport, label in TRANSPORTS:
        one, bare_one = (cells(result, who, transport, callers[0]) for who in ("latchkey", "bare"))
        many, bare_many = (cells(result, who, transport, callers[-1]) for who in ("latchkey", "bare"))
        submit = cells(result, "submit", transport, 1)
        goals.add(f"a miss, one caller, {label}: p50, by bare HGET's", 1.1, ratios(one, bare_one, call("p50_ns")))
        goals.add(f"{callers[-1]} callers, {label}: answers/s, by as many bare connections", 1.5,
                  ratios(many, bare_many, per_second), at_most=False)
        goals.add(f"{callers[-1]} callers, {label}: Redis' processor time per command, by bare's", 0.5,
                  ratios(many, bare_many, per_command))
        if submit:
            goals.add(f"submit and reap, {result['miss']['in_flight']} in flight, {label}: answers/s, by {callers[-1]} "
                      "bare connections", 4, ratios(submit, bare_many, per_second), at_most=False)


def miss_markdown(result, goals):
    miss_goals(result, goals)
    o = result["options"]
    unavailable = sum(c["account"]["by_status"].get("UNAVAILABLE", 0) for c in result["miss"]["cells"])
    return "\n\n".join(
        ["### A miss",
         f"{whole(o['sessions'])} sessions, drawn uniformly; {o['repeat']:g} turns of {o['cell_s']:g} s each, contenders "
         f"taking turns: median (least to most), the ratios turn by turn. {whole(unavailable)} calls got no answer."] +
        [miss_table(result, *transport) for transport in TRANSPORTS])


def plot_miss(result, directory):
    callers = callers_of(result)
    figure, axes = new_plot(4.2)
    for (transport, label), style in zip(TRANSPORTS, ("-", ":")):
        for (who, name), colour in zip(CONTENDERS, ("#e8590c", "#d6336c", "#2f9e44")):
            at = [statistics.median(map(per_second, cells(result, who, transport, n))) for n in callers]
            axes.plot(callers, at, style, marker="o", color=colour, label=f"{name}, {label}")
        submit = [per_second(c) for c in cells(result, "submit", transport, 1)]
        if submit:
            axes.axhline(statistics.median(submit), linestyle=style, color="#1c8ad6",
                         label=f"submit and reap, one thread, {label}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(callers, [str(n) for n in callers])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("callers, a thread each")
    axes.set_ylabel("misses answered per second")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2, fontsize=9)
    save(figure, directory, "server-miss.svg")


# ------------------------------------------------------------------------------------------------- steady


def hit_rate(phase):
    asked = phase["l1_hits"] + phase["l1_misses"]
    return phase["l1_hits"] / asked if asked else 0


LOADS = (("article", "the article's load"), ("in_use", "a tenth of the sessions, all in use"),
         ("still", "the same, nothing to touch or to read again: the yardstick"))
REFRESH = (("refreshed", ""), ("plain", ", refreshes off"))


def steady_markdown(result, goals):
    s = result["steady"]
    columns = [(s[load][key], name + off) for load, name in LOADS for key, off in REFRESH if key in s[load]]

    def row(name, value, form):
        return [name] + [form(value(phase)) for phase, _ in columns]

    def at(quantile):
        return lambda phase: phase["call"][quantile]

    def rate(phase):
        reached = phase["reads"] / phase["seconds"]
        return short(reached) + ("" if reached > 0.97 * phase["asked_rate"] else " (not held)")

    def per_request(key):
        return lambda phase: phase[key] / max(phase["reads"], 1)

    for load, name in LOADS[:2]:
        call_times = s[load]["refreshed"]["call"]
        goals.add(f"steady state, {name}: p99.9 of a validation, by its p50", 10,
                  [call_times["p999_ns"] / max(call_times["p50_ns"], 1)])
    return "\n\n".join([
        "### Steady state",
        f"{whole(s['article']['refreshed']['asked_rate'])} requests/s, logins and logouts among them; L1 of all, "
        f"`l1_ttl_ms={s['l1_ttl_ms']:g}`. The article's load: {whole(s['article']['sessions'])} sessions, Zipf "
        f"{s['article']['skew']:g}; beside it {whole(s['in_use']['sessions'])} sessions, drawn uniformly. A validation is "
        f"timed alone; reading the clock, once within it, takes {time(s['yardsticks']['clock_monotonic_ns'])}.",
        table(["of a validation"] + [name for _, name in columns], [
            row("p50", at("p50_ns"), time),
            row("p99", at("p99_ns"), time),
            row("p99.9", at("p999_ns"), time),
            row("p99.9, waiting behind earlier calls of its thread included", lambda p: p["validate"]["p999_ns"], time),
            row("mean", at("mean_ns"), time),
            row("L1 hit rate", hit_rate, lambda v: f"{100 * v:.2f}%"),
            row("entries read again before their time, per request", per_request("refreshes"), short),
            row("commands that Redis ran, per request", per_request("redis_commands"), short),
            row("requests/s", lambda p: p, rate),
            row("refused for want of an answer", lambda p: p["unavailable"], whole),
        ])])


# -------------------------------------------------------------------------------------------- over time


def windows(series, steps=5):
    """[(end of the window, {column: growth per second or None})], each of so many rows."""
    names, rows = series["columns"], series["rows"]
    out = []
    for last in range(steps, len(rows), steps):
        a, b = rows[last - steps], rows[last]
        spent = b[0] - a[0]
        grown = {}
        for i, name in enumerate(names[1:], 1):
            known = a[i] is not None and b[i] is not None and b[i] >= a[i]
            # Unknown in between: the server was away, and its counter is another one.
            known = known and all(row[i] is not None for row in rows[last - steps:last])
            grown[name] = (b[i] - a[i]) / spent if known else None
        out.append((b[0], grown))
    return out


def between(series, begin, end):
    return [grown for at, grown in windows(series, 1) if begin < at <= end and grown["commands"] is not None]


def mean_of(grown, name):
    return statistics.fmean(g[name] for g in grown) if grown else None


def hits_of(grown):
    hits, misses = sum(g["hits"] for g in grown), sum(g["misses"] for g in grown)
    return hits / (hits + misses) if hits + misses else 0


def commands_per_request(grown):
    asked = sum(g["answered"] + g["refused"] for g in grown)
    return sum(g["commands"] for g in grown) / asked if asked else None


def recovery(variant):
    """(seconds after Redis answered at which a second's hit rate is back within a point of before, None: never)."""
    before_s, down_s, back_s, end_s = variant["phase_s"][0], variant["phase_s"][1], variant["phase_s"][2], \
        variant["phase_s"][-1]
    wanted = hits_of(between(variant["series"], before_s, down_s)) - 0.01
    second = 1
    while back_s + second <= end_s:
        if hits_of(between(variant["series"], back_s + second - 1, back_s + second)) >= wanted:
            return second
        second += 1
    return None


PHASES = (("before", "before"), ("down", "down"), ("first_second", "the first second after"), ("after", "after that"))


def outage_table(variant):
    rows = []
    for key, name in PHASES:
        p = variant["phases"][key]
        others = sum(v for k, v in p["by_status"].items() if k not in ("OK", "UNAVAILABLE"))
        rows.append([f"`grace_ms={variant['grace_ms']}`, {name}", time(p["call"]["p50_ns"]), time(p["call"]["p99_ns"]),
                     time(p["call"]["max_ns"]), whole(p["by_status"].get("OK", 0)), whole(p["stale"]),
                     whole(p["by_status"].get("UNAVAILABLE", 0)), whole(others), whole(p["shed"])])
    return rows


def outage_after(o, goals):
    """What recovery cost Redis, second by second."""
    rows = []
    for v in o["variants"]:
        before_s, down_s, back_s, end_s = v["phase_s"][0], v["phase_s"][1], v["phase_s"][2], v["phase_s"][-1]
        before = commands_per_request(between(v["series"], before_s, down_s))
        seconds = []
        for n in (1, 2, 3, 5, 10):
            value = commands_per_request(between(v["series"], back_s + n - 1, back_s + n))
            seconds.append("" if value is None or back_s + n > end_s else short(value))
        back = recovery(v)
        after = commands_per_request(between(v["series"], back_s + back, end_s)) if back else None
        name = f"`grace_ms={v['grace_ms']}`"
        if after is not None and before:
            goals.add(f"Redis killed for {o['down_s']:g} s, {name}: commands per request once recovered, by before", 1.1,
                      [after / before])
        rows.append([name, short(before)] + seconds + [short(after), f"{back} s" if back else "not while watched",
                     time((v["phase_s"][2] - v["launched_s"]) * 1e9),
                     time((v["first_answer_s"] - v["phase_s"][2]) * 1e9) if v["first_answer_s"] >= v["phase_s"][2]
                     else "at once"])
    return table(["commands that Redis ran, per request", "before", "1st second", "2nd", "3rd", "5th", "10th",
                  "once recovered", "hit rate back within a point of before", "Redis needed to load its file",
                  "from its first answer to the first session validated by it"], rows)


def outage_markdown(result, goals):
    o = result["outage"]
    return "\n\n".join([
        "### Redis killed, and back with its data",
        f"{whole(o['rate'])} requests/s, L1 of all, `l1_ttl_ms={o['l1_ttl_ms']}`; Redis is away for {o['down_s']:g} s and "
        "then reads its append-only file. A call that was due while others still waited is shed.",
        table(["", "p50", "p99", "longest", "OK", "of them stale", "UNAVAILABLE", "other answers", "shed"],
              [row for v in o["variants"] for row in outage_table(v)]),
        outage_after(o, goals)])


def plot_outage(result, directory):
    figure, axes = new_plot(4.6)
    first = result["outage"]["variants"][0]["phase_s"][1]
    for v, style in zip(result["outage"]["variants"], ("-", ":")):
        points = [(at - v["phase_s"][1], grown) for at, grown in windows(v["series"])]
        for name, colour in (("answered", "#2f9e44"), ("commands", "#e8590c")):
            known = [(at, grown[name]) for at, grown in points if at > -4]
            what = "requests answered" if name == "answered" else "commands that Redis ran"
            axes.plot([at for at, _ in known], [float("nan") if y is None else y for _, y in known], style, color=colour,
                      label=f"{what}, grace_ms={v['grace_ms']}")
    axes.axvspan(0, result["outage"]["variants"][0]["launched_s"] - first, color="#80868f", alpha=0.15)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since Redis was killed; grey: it is away")
    axes.set_ylabel("per second")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2, fontsize=9)
    save(figure, directory, "server-outage.svg")


# ------------------------------------------------------------------------------------------------- cold

COLD = (("cold", "cold", "#1c8ad6"), ("prewarmed", "prewarmed", "#2f9e44"))


def cold_markdown(result):
    c = result["cold"]
    rows = []
    for key, name, _ in COLD:
        points = windows(c[key]["series"])
        total = c[key]["series"]["rows"][-1][3] - c[key]["series"]["rows"][0][3]
        rows.append([name, short(max(g["commands"] for _, g in points))] +
                    [f"{short(g['commands'])}, {percent(hits_of([g]))}" if g else ""
                     for g in (near(points, s) for s in (1, 2, 5, 10))] +
                    [whole(total), time(c[key]["account"]["call"]["p50_ns"]), time(c[key]["account"]["call"]["p99_ns"])])
    return "\n\n".join([
        "### Ten instances cold at once",
        f"{c['instances']} handles, {whole(c['rate'])} requests/s each, Zipf 0.99; with and without "
        f"`latchkey_prewarm` of {whole(c['prewarmed']['prewarm'])} sessions by all of them at once, which the times and "
        f"commands include; it loaded {whole(c['prewarmed']['loaded'] / c['instances'])} into each.",
        table(["", "most commands/s", "after 1 s: commands/s, hit rate", "2 s", "5 s", "10 s", "commands in all",
               "p50", "p99"], rows)])


def near(points, second):
    at, grown = min(points, key=lambda point: abs(point[0] - second))
    return grown if abs(at - second) < 0.6 else None


def plot_cold(result, directory, name, label, value):
    figure, axes = new_plot(3.8)
    for key, title, colour in COLD:
        points = windows(result["cold"][key]["series"], 3)
        axes.plot([at for at, _ in points], [value(grown) for _, grown in points], color=colour, label=title)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since ten instances started")
    axes.set_ylabel(label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncol=2)
    save(figure, directory, name)


def plot_cold_commands(result, directory):
    plot_cold(result, directory, "server-cold-commands.svg", "commands/s that Redis ran", lambda g: g["commands"])


def plot_cold_hits(result, directory):
    plot_cold(result, directory, "server-cold-hits.svg", "L1 hit rate, %", lambda g: 100 * hits_of([g]))


# ------------------------------------------------------------------------------------------------- floods

FLOODS = (("nothing", "nothing"), ("counting", "two threads that only count: the yardstick"),
          ("invented", "invented: the check is wrong"), ("dead", "dead: well-formed, each once"),
          ("dead_again", "dead: one of them, over and over"))


def flood_markdown(result, goals):
    f = result["flood"]
    rows = []
    for key, name in FLOODS[2:]:
        a = f["alone"][key]
        rows.append([name, whole(a["sent"]), str(a["senders"]), time(a["seconds"] * a["senders"] * 1e9 / max(a["sent"], 1)),
                     whole(a["reads"]), whole(a["unavailable"]), f"{whole(a['held_before'])}, {whole(a['held_after'])}"])
    beside = []
    for key, name in FLOODS:
        b = f["beside"][key]
        beside.append([name, short(b["sent_per_s"]) if key not in ("nothing", "counting") else "",
                       time(b["good"]["call"]["p50_ns"]), time(b["good"]["call"]["p99_ns"]),
                       time(b["good"]["call"]["p999_ns"]), whole(b["good"]["by_status"].get("UNAVAILABLE", 0))])
    goals.add("a flood of invented tokens: records that Redis was asked for", 0, [f["alone"]["invented"]["reads"]])
    again = f["alone"]["dead_again"]
    goals.add("a dead token over and over: records that Redis was asked for, per 5 s begun", 1,
              [again["reads"] / (1 + again["seconds"] // 5)])
    return "\n\n".join([
        "### Floods of tokens without a session",
        table(["alone", "sent", "threads", "a token takes its thread", "records Redis was asked for",
               "no answer in time", "live entries in L1 before, after"], rows),
        "Beside good traffic, which is paced, and whose sessions are in L1:",
        table(["two threads send", "tokens/s", "good traffic: p50", "p99", "p99.9", "no answer in time"], beside)])


# --------------------------------------------------------------------------------------------------- all


def parts_of(result, goals):
    makers = (("miss", miss_markdown), ("steady", steady_markdown), ("outage", outage_markdown),
              ("cold", lambda r, _: cold_markdown(r)), ("flood", flood_markdown))
    return [make(result, goals) for part, make in makers if part in result]


def markdown(result, command):
    goals = Goals()
    sections = parts_of(result, goals)
    head = (f"`{command or 'latchkey-bench-server'}` on {machine_line(result)}. {result['took_s']:.0f} s, "
            f"{whole(result['wrong'])} answers wrong.")
    return "\n\n".join([head, goals.markdown()] + sections)


def if_there(part, plot):
    return lambda result, directory: plot(result, directory) if part in result else None


PLOTS = (if_there("miss", plot_miss), if_there("outage", plot_outage), if_there("cold", plot_cold_commands),
         if_there("cold", plot_cold_hits))
