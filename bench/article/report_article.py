# SPDX-License-Identifier: MIT
"""The tables and plots of latchkey-bench-article, beside the figures that the article prints."""
import math
import statistics

from report import cell, machine_line, new_plot, percent, save, short, size, table, time, whole

COLUMNS = (("plain", "plain GET"), ("plain_expires", "GET and EXPIRE"), ("no_l1", "latchkey, no L1"),
           ("l1_tenth", "latchkey, L1 of a tenth"), ("l1_all", "latchkey, L1 of all"))
PER = 50000  # requests: one second of the article's load


def load_phase(run, column):
    """Where the commands are counted: with an L1 at the article's rate, without one at the common rate."""
    return run[column].get("steady") or run[column]["paced"]


def l2_reads(phase):
    # A plain GET is one read for each request; latchkey counts its own.
    return phase["l2_reads"] if phase["l2_reads"] else phase["reads"]


def touches(phase):
    return max(0, phase["l2_writes"] - phase["logins"] - phase["logouts"]) if phase["l2_writes"] else 0


def hit_rate(phase):
    asked = phase["l1_hits"] + phase["l1_misses"]
    return phase["l1_hits"] / asked if asked else 0


GOAL = 18.7  # the article's: operations without an L1 by those with one


def client_commands(run, column):
    """Those that came over a connection: of a login and a logout the script is one."""
    phase = load_phase(run, column)
    if column.startswith("plain"):
        return phase["redis_commands"]
    inner = (phase["logins"] * (run["commands_per_login"] - 1) + phase["logouts"] * (run["commands_per_logout"] - 1))
    return phase["redis_commands"] - inner


def spared(runs):
    """How many times less than GET and EXPIRE, beside the article's goal."""
    def by(value):
        def each(run, column):
            return value(run, column) / load_phase(run, column)["reads"]
        return ["" if c.startswith("plain") else
                cell(runs, lambda run: each(run, "plain_expires") / each(run, c), lambda v: f"{short(v)} times")
                for c, _ in COLUMNS]

    goal = f"{GOAL} times"
    return table(["less than GET and EXPIRE", "goal"] + [name for _, name in COLUMNS], [
        ["commands of clients", goal] + by(client_commands),
        ["commands that Redis ran, those of scripts too", ""] + by(lambda run, c: load_phase(run, c)["redis_commands"]),
        ["Redis' processor time", goal] + by(lambda run, c: load_phase(run, c)["redis_cpu_s"]),
        ["bytes out of Redis", ""] + by(lambda run, c: load_phase(run, c)["redis_output_bytes"]),
    ])


def load(runs):
    def row(name, before, after, value, form):
        return [name, before, after] + [cell(runs, lambda run: value(load_phase(run, c)), form) for c, _ in COLUMNS]

    def per(value):
        return lambda phase: value(phase) / phase["reads"] * PER

    def each(value):
        return lambda phase: value(phase) / phase["reads"]

    def second(value):
        return lambda phase: value(phase) / phase["seconds"]

    def rate(count):
        return f"{size(count)}/s"

    return table(["per 50,000 requests", "article: without", "article: with L1"] + [name for _, name in COLUMNS], [
        row("L1 hit rate", "", "95%", hit_rate, lambda v: percent(v) if v else ""),
        row("L2 reads", "50,000", "2,500", per(l2_reads), short),
        row("L2 writes: logins, logouts", "180", "180", per(lambda p: p["logins"] + p["logouts"]), short),
        row("L2 writes: touches (idle expiry moved)", "none", "none", per(touches), short),
        row("commands that Redis ran", "50,180", "2,680", per(lambda p: p["redis_commands"]), short),
        ["commands of clients", "", ""] + [
            cell(runs, lambda run: client_commands(run, c) / load_phase(run, c)["reads"] * PER, short)
            for c, _ in COLUMNS],
        row("commands per request", "1.00", "0.054", each(lambda p: p["redis_commands"]), short),
        row("bytes out of Redis", "225 MB", "11.2 MB", per(lambda p: p["redis_output_bytes"]), size),
        row("bytes out of Redis, per request", "4.5 kB", "224 B", each(lambda p: p["redis_output_bytes"]), size),
        row("bytes into Redis, per request", "", "", each(lambda p: p["redis_input_bytes"]), size),
        row("counted at so many requests/s", "50,000", "50,000", second(lambda p: p["reads"]), short),
        row("L2 reads/s", "50,000", "2,500", second(l2_reads), short),
        row("L2 writes/s, touches included", "180", "180",
            second(lambda p: p["logins"] + p["logouts"] + touches(p)), short),
        row("bytes out of Redis/s", "225 MB/s", "11.2 MB/s", second(lambda p: p["redis_output_bytes"]), rate),
        row("Redis' processor time, per 50,000 requests", "", "", per(lambda p: p["redis_cpu_s"] * 1e9), time),
    ])


def latency(runs):
    def row(name, before, after, kind, key, form=time):
        cells = []
        for column, _ in COLUMNS:
            there = all(kind in run[column] for run in runs)
            cells.append(cell(runs, lambda run: run[column][kind]["validate"][key], form) if there else "")
        return [name, before, after] + cells

    def reached(phase):
        return phase["reads"] / phase["seconds"]

    def rates(name, kind):
        cells = []
        for column, _ in COLUMNS:
            phases = [run[column][kind] for run in runs if kind in run[column]]
            late = any(reached(phase) < 0.97 * phase["asked_rate"] for phase in phases)
            cells.append(cell(phases, reached, short) + (" (not held)" if late else "") if phases else "")
        return [name, "", ""] + cells

    def hits(kind, article=""):
        return ["L1 hit rate", "", article] + [cell(runs, lambda run: hit_rate(run[c][kind]), percent)
                                             if c.startswith("l1") else "" for c, _ in COLUMNS]

    return table(["validation latency", "article: without", "article: with L1"] + [name for _, name in COLUMNS], [
        rates("**paced, one rate for all**: requests/s", "paced"),
        hits("paced", "95%"),
        row("mean", "0.6 ms", "0.031 ms", "paced", "mean_ns"),
        row("p50", "", "", "paced", "p50_ns"),
        row("p99", "2.1 ms", "0.6 ms", "paced", "p99_ns"),
        row("p99.9", "", "", "paced", "p999_ns"),
        rates("**paced at the article's rate**: requests/s", "steady"),
        hits("steady", "95%"),
        row("mean", "0.6 ms", "0.031 ms", "steady", "mean_ns"),
        row("p50", "", "", "steady", "p50_ns"),
        row("p99", "2.1 ms", "0.6 ms", "steady", "p99_ns"),
        row("p99.9", "", "", "steady", "p999_ns"),
        rates("**closed loop**: requests/s", "closed"),
        hits("closed"),
        row("mean", "", "", "closed", "mean_ns"),
        row("p50", "", "", "closed", "p50_ns"),
        row("p99", "", "", "closed", "p99_ns"),
        row("p99.9", "", "", "closed", "p999_ns"),
    ])


def memory(runs):
    def l1(column):
        return cell(runs, lambda run: run[column]["closed"]["l1_bytes"] / run[column]["capacity"], size)

    def mine(run):
        return run["created"]["redis_bytes_per_session"]

    return table(["bytes per session", "article", "here"], [
        ["latchkey's L1, all of its memory by its capacity, L1 of all", "120 B", l1("l1_all")],
        ["the same, L1 of a tenth", "", l1("l1_tenth")],
        ["the whole record in process, one malloc, no table around it", "4.49 kB",
         cell(runs, lambda run: run["created"]["in_process_bytes"], size)],
        ["Redis, plain: MEMORY USAGE of the string", "",
         cell(runs, lambda run: run["plain"]["redis_key_bytes"], size)],
        ["Redis, plain: growth of used_memory", "",
         cell(runs, lambda run: run["plain"]["redis_bytes_per_session"], size)],
        ["Redis, latchkey: MEMORY USAGE of the session's hash", "",
         cell(runs, lambda run: run["created"]["redis_key_bytes"], size)],
        ["Redis, latchkey: growth of used_memory, with the user's index and the activity index", "",
         cell(runs, mine, size)],
        ["Redis, latchkey, growth, by L1's", "37.4 times",
         cell(runs, lambda run: mine(run) / (run["l1_all"]["closed"]["l1_bytes"] / run["l1_all"]["capacity"]),
              lambda v: f"{short(v)} times")],
    ])


def windows(phase):
    """Hit rate in each sample's own time: [(seconds, share)]."""
    points, before = [], (0, 0)
    for at, hits, misses in phase["samples"]:
        asked = hits - before[0] + misses - before[1]
        if asked:
            points.append((at, (hits - before[0]) / asked))
        before = (hits, misses)
    return points


def hit_rate_at(phase, second):
    """Over the half second that ends there, or all of it where less has passed."""
    near = [share for at, share in windows(phase) if second - 0.45 < at <= second + 0.05]
    return statistics.mean(near) if near else 0


def single(result, runs):
    options = result["options"]

    def tries(run):
        return statistics.median(t[0] for t in run["prewarm"]["tries"])

    rows = [[f"prewarming {whole(options_prewarm(runs))} sessions", "2 to 3 s (10,000)",
             cell(runs, lambda run: tries(run) * 1e6, time)]]
    longest = min(runs[0]["prewarmed"]["run"]["seconds"], options["steady_s"])
    for second in (s for s in (0.1, 0.5, 1, 2, 5) if s <= longest):
        for name, pick in (("cold", lambda run: run["l1_all"]["steady"]),
                           ("prewarmed", lambda run: run["prewarmed"]["run"])):
            rows.append([f"hit rate {second} s after a {name} start, L1 of all", "",
                         cell(runs, lambda run: hit_rate_at(pick(run), second), percent)])
    rows += [
        ["revocation: publish in Redis to purge in another instance, p50, as latchkey counts it", "1 to 5 ms",
         cell(runs, lambda run: run["revocation"]["publish_to_purge_p50_ms"] * 1e6, time)],
        ["the same, p99", "10 ms",
         cell(runs, lambda run: run["revocation"]["publish_to_purge_p99_ms"] * 1e6, time)],
        ["the same under the article's rate, p99 (an instance hearing its own)", "",
         cell(runs, lambda run: run["l1_all"]["steady"]["revocation_p99_ms"] * 1e6, time)],
        ["revocation: call on one instance to refusal by the other, p50", "",
         cell(runs, lambda run: run["revocation"]["call_to_refusal"]["p50_ns"], time)],
        ["the same, p99", "", cell(runs, lambda run: run["revocation"]["call_to_refusal"]["p99_ns"], time)],
        ["revocation: return of the call to refusal by the other, p99", "",
         cell(runs, lambda run: run["revocation"]["return_to_refusal"]["p99_ns"], time)],
        ["login (`latchkey_create` with key material), 8 threads, p50", "",
         cell(runs, lambda run: run["created"]["create"]["p50_ns"], time)],
        ["logins per second, 8 threads", "",
         cell(runs, lambda run: result["options"]["sessions"] / run["created"]["seconds"], short)],
    ]
    return table(["", "article", "here"], rows)


def options_prewarm(runs):
    return runs[0]["prewarm"]["count"]


def corrections(result, runs):
    def of(value):
        return statistics.median(value(run) for run in runs)

    small = of(lambda run: run["yardsticks"]["redis_string_96_bytes"])
    large = of(lambda run: run["yardsticks"]["redis_string_4493_bytes"])
    entry = of(lambda run: run["l1_all"]["closed"]["l1_bytes"] / run["l1_all"]["capacity"])
    touched = of(lambda run: touches(run["l1_tenth"]["steady"]) / run["l1_tenth"]["steady"]["reads"] * PER)
    top = result["article_top_share"]
    room = of(lambda run: hit_rate(run["l1_all"]["steady"]))
    return "\n".join([
        "What the article's figures leave out, as this run shows it:",
        "",
        f"- 95% hits with an L1 of a tenth: under this Zipf the most is {percent(top)}, {whole(1e6)} sessions and "
        f"{whole(1e5)} entries as there. And entries run out: with room for every session {percent(room)} were hits here. "
        "95% needs a more skewed access, or entries that live longer.",
        f"- 120 bytes are the entry without its token and without the table around it: {size(entry)} all in.",
        "- 4,493 bytes count 1,869 of \"signature\", which is no real scheme's size; an ML-DSA-44 signature has 2,420. "
        "`--record article` takes the article's size.",
        f"- In Redis the growth from 96 to 4,493 bytes is {large / small:.0f} times ({whole(small)} to "
        f"{whole(large)} bytes by MEMORY USAGE), not 47: a small string is mostly overhead.",
        f"- Its 180 writes/s leave out that idle time is reset by use. latchkey writes that at most once per session "
        f"and twelfth of `idle_ms`: {short(touched)} touches per {whole(PER)} requests here, L1 of a tenth. A GET "
        "alone does not reset it at all; an EXPIRE with each GET doubles its commands.",
        "- Its miss carries the whole record. latchkey's carries the compact one, and the key material stays in Redis "
        "until `latchkey_load` asks for it.",
    ])


def yardsticks(runs):
    def trip(key):
        return [cell(runs, lambda run: run["yardsticks"][key][quantile], time)
                for quantile in ("p50_ns", "p99_ns")]

    def single(value):
        return [cell(runs, value, time), ""]

    return table(["yardsticks of the same run", "p50 or mean", "p99"], [
        ["one memory read, dependent, random, over as many bytes as L1 of all has"] +
        single(lambda run: run["l1_all"]["memory_read"]["ns"]),
        ["the same, L1 of a tenth"] + single(lambda run: run["l1_tenth"]["memory_read"]["ns"]),
        ["a hit alone: one thread, each lookup waiting for the one before, over all that L1 of all holds"] +
        single(lambda run: run["l1_all"]["hit_alone"]["ns"]),
        ["the same, by that memory read"] + [cell(runs, lambda run: run["l1_all"]["hit_alone"]["ns"] /
                                                  run["l1_all"]["memory_read"]["ns"],
                                                  lambda v: f"{v:.2f} times"), ""],
        ["a hit alone, L1 of a tenth"] + single(lambda run: run["l1_tenth"]["hit_alone"]["ns"]),
        ["`CLOCK_MONOTONIC` read (once within each latency above)"] +
        single(lambda run: run["yardsticks"]["clock_monotonic_ns"]),
        ["`CLOCK_MONOTONIC_COARSE` read"] + single(lambda run: run["yardsticks"]["clock_coarse_ns"]),
        ["what the harness does around a call (draw, copy the token, clock)"] +
        single(lambda run: run["plain"]["harness_ns"]),
        ["bare hiredis PING, one caller, idle machine"] + trip("ping"),
        ["bare hiredis HGET of 176 bytes"] + trip("hget_176"),
        ["bare hiredis GET of the whole record"] + trip("get_record"),
        ["how late the generator's sleep woke, paced (in no figure above)"] +
        [cell(runs, lambda run: run["plain"]["paced"]["overslept"][q], time) for q in ("p50_ns", "p99_ns")],
    ])


def summary(result, runs):
    o = result["options"]
    requests = sum(run[c][k]["reads"] for run in runs for c, _ in COLUMNS for k in ("paced", "steady", "closed")
                   if k in run[c])
    dead = sum(run[c][k]["dead_checked"] for run in runs for c, _ in COLUMNS for k in ("paced", "steady", "closed")
               if k in run[c])
    late = sum(run[c][k]["unavailable"] for run in runs for c, _ in COLUMNS for k in ("paced", "steady", "closed")
               if k in run[c])
    repeated = f", {len(runs)} runs: median (least to most)" if len(runs) > 1 else ", one run"
    return (f"{whole(o['sessions'])} sessions, records of {whole(o['record_bytes'])} bytes, Zipf {o['skew']}, "
            f"278 reads to 1 write, {o['threads']} client threads, `l1_ttl_ms={o['l1_ttl_ms']}`, "
            f"`idle_ms={o['idle_ms']}`{repeated}. \"L1 of a tenth\" has {whole(o['small_capacity'])} entries, "
            f"\"L1 of all\" {whole(o['l1_capacity'])}. "
            f"{whole(requests)} validations were counted, {whole(result['wrong'])} answers wrong, "
            f"{whole(late)} refused for want of an answer; {whole(dead)} logged-out tokens tried again, "
            f"all refused. Under this Zipf the tenth that is asked for most gets {percent(result['top_tenth_share'])} "
            f"of the requests: more hits no cache of a tenth can have for long, whatever it evicts.")


def markdown(result, command):
    runs = result["runs"]
    return "\n\n".join([
        f"`{command or result['command']}` on {machine_line(result)}.",
        summary(result, runs),
        load(runs),
        spared(runs),
        latency(runs),
        memory(runs),
        single(result, runs),
        yardsticks(runs),
        corrections(result, runs),
    ])


# Of middle tone, as all of a plot's ink: readable on white and on black.
COLOURS = {"plain": "#e8590c", "plain_expires": "#9c36b5", "no_l1": "#d6336c", "l1_tenth": "#1c8ad6", "l1_all": "#2f9e44"}


def plot_hit_rate(result, directory):
    runs = result["runs"]
    lines = (("l1_all", "-", "prewarmed, L1 of all", lambda run: run["prewarmed"]["run"]),
             ("l1_all", ":", "cold, L1 of all", lambda run: run["l1_all"]["steady"]),
             ("l1_tenth", ":", "cold, L1 of a tenth", lambda run: run["l1_tenth"]["steady"]))
    figure, axes = new_plot(4.2)
    for column, style, label, pick in lines:
        series = [windows(pick(run)) for run in runs]
        count = min(len(s) for s in series)
        at = [statistics.median(s[i][0] for s in series) for i in range(count)]
        share = [100 * statistics.median(s[i][1] for s in series) for i in range(count)]
        axes.plot(at, share, style, color=COLOURS[column], label=label)
    top = 100 * result["top_tenth_share"]
    axes.axhline(top, color=COLOURS["l1_tenth"], linewidth=1, alpha=0.6)
    axes.annotate(f"the most that any cache of a tenth can reach: {top:.0f}%", (1, top), (-4, -5),
                  xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="top",
                  color=COLOURS["l1_tenth"], fontsize=9)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"seconds since the first request, at {whole(result['options']['article_rate'])} requests/s")
    axes.set_ylabel("L1 hit rate, %")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=3)
    save(figure, directory, "article-hit-rate.svg")


def nines(quantile):
    return -math.log10(max(1 - quantile, 1e-9))


def plot_latency(result, directory):
    runs = result["runs"]
    figure, axes = new_plot(4.8)
    for column, label in COLUMNS:
        curves = [run[column]["paced"]["validate"]["curve"] for run in runs]
        count = min(len(c) for c in curves)
        latency = [max(1, statistics.median(c[i][1] for c in curves)) / 1000 for i in range(count)]
        axes.plot(latency, [nines(curves[0][i][0]) for i in range(count)], color=COLOURS[column], label=label)
    shares = (0, 0.5, 0.9, 0.99, 0.999, 0.9999)
    axes.set_xscale("log")
    axes.set_yticks([nines(s) for s in shares], [f"{100 * s:g}%" for s in shares])
    axes.set_ylim(0, nines(0.9999) + 0.2)
    ticks = [t for t in (0.01, 0.1, 1, 10, 100, 1000, 10000, 100000) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [{0.01: "10 ns", 0.1: "100 ns", 1: "1 µs", 10: "10 µs", 100: "100 µs", 1000: "1 ms",
                             10000: "10 ms", 100000: "100 ms"}[t] for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"validation took at most this long, paced at {whole(runs[0]['rate'])} requests/s")
    axes.set_ylabel("share of requests")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=4, fontsize=10)
    save(figure, directory, "article-latency.svg")


PLOTS = (plot_hit_rate, plot_latency)
