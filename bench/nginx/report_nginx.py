# SPDX-License-Identifier: MIT
"""What report.py says about bench/nginx/run.py."""
import statistics

import report

PLOTS = []
NAMES = {"none": "no check at all", "latchkey": "the module, a hit", "miss": "the module, a miss",
         "auth_request": "`auth_request` to a process with the library", "lua": "Lua, a Redis GET"}


def markdown(result, command):
    m, rounds = result["machine"], result["rounds"]
    head = f"`{command}`\n\n" if command else ""
    rows = []
    for mode in (mode for mode in NAMES if mode in rounds[0]):
        runs = [one[mode] for one in rounds]
        beside = [one[mode]["requests_per_s"] / one["none"]["requests_per_s"] for one in rounds]
        rows.append([NAMES[mode], report.cell(runs, lambda run: run["requests_per_s"], report.short),
                     f"{statistics.median(beside):.3f} ({min(beside):.3f} to {max(beside):.3f})" if mode != "none" else "1",
                     report.cell(runs, lambda run: run["p99_us"] * 1e3, report.time),
                     *(report.cell(runs, lambda run, name=name: run[f"{name}_us"] * 1e3, report.time)
                       for name in ("nginx", "other", "redis"))])
    goal = result["goal"]
    return (f"{head}{m['processor']}, {m['cores']} cores, Linux {m['kernel']} ({m['architecture']}); {m['build']}; {m['wrk']}; "
            f"Redis {m['redis']} over a unix socket. {result['sessions']:,} sessions, {result['connections']} connections, "
            f"{len(rounds)} rounds of {result['seconds']} s for each; medians, and the spread. Processor time is a request's.\n\n"
            + report.table(["session check", "requests/s", "of no check", "p99", "nginx", "the other process", "Redis"], rows)
            + f"\n\nGoal: {goal['text']}: {goal['value']:.3f}, {'met' if goal['met'] else 'not met'}.")
