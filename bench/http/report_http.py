# SPDX-License-Identifier: MIT
"""What report.py says about latchkey-bench-http."""
import statistics

import report

PLOTS = []
NAMES = {"none": "no check at all", "latchkey": "latchkey", "redis": "a Redis GET"}


def markdown(result, command):
    m, rounds = result["machine"], result["rounds"]
    head = f"`{command}`\n\n" if command else ""
    rows = []
    for mode, name in NAMES.items():
        runs = [one[mode] for one in rounds]
        beside = [one[mode]["requests_per_s"] / one["none"]["requests_per_s"] for one in rounds]
        rows.append([name, report.cell(runs, lambda run: run["requests_per_s"], report.short),
                     f"{statistics.median(beside):.3f} ({min(beside):.3f} to {max(beside):.3f})" if mode != "none" else "1",
                     report.cell(runs, lambda run: run["p50_us"] * 1e3, report.time),
                     report.cell(runs, lambda run: run["p99_us"] * 1e3, report.time),
                     report.cell(runs, lambda run: run["processor_us"] * 1e3, report.time)])
    goal, work = result["goal"], result["processor_time_to_none"]
    return (f"{head}{m['processor']}, {m['cores']} cores, Linux {m['kernel']} ({m['architecture']}); {m['build']}; {m['wrk']}; "
            f"Redis {m['redis']} over a unix socket. {result['sessions']:,} sessions, {result['connections']} connections, "
            f"{len(rounds)} rounds of {result['seconds']} s for each; medians, and the spread.\n\n"
            + report.table(["session check", "requests/s", "of no check", "p50", "p99", "server's processor time, a request"],
                           rows)
            + f"\n\nGoal: {goal['text']}: {goal['value']:.3f}, {'met' if goal['met'] else 'not met'}. "
            f"The server's processor time, which other work on the machine disturbs less, is {work['latchkey']:.3f} times that "
            f"of no check with latchkey, and {work['redis']:.3f} times with the GET.")
