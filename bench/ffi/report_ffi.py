# SPDX-License-Identifier: MIT
"""What report.py says about bench/ffi."""
import report

NAMES = {"c": "C", "cpp": "C++", "lua": "LuaJIT", "python": "Python", "node": "Node", "go": "Go", "rust": "Rust"}


def figure(value, form):
    return "-" if value is None else form(value)


def markdown(result, command):
    m = result["machine"]
    head = f"`{command}`\n\n" if command else ""
    rows = [[NAMES.get(row["language"], row["language"]), row["what"], figure(row["hit_ns"], report.time),
             figure(row["request_us"], lambda us: report.time(us * 1e3)), figure(row["commands"], lambda count: f"{count:.1f}"),
             row["versions"]] for row in result["rows"]]
    return (f"{head}{m['processor']}, {m['cores']} cores, Linux {m['kernel']}; Redis {m['redis']} over a unix socket; load "
            f"{m['load']:.1f} at the end. Medians of rounds of {result['calls']:,} hits and of {result['requests']:,} requests.\n\n"
            + report.table(["language", "what", "a hit", "a request", "Redis commands a request", "versions"], rows))


def bars(result, directory):
    rows = [row for row in result["rows"] if row["hit_ns"] is not None]
    figure_, axes = report.new_plot(0.35 * len(rows) + 1)
    axes.barh([f"{NAMES.get(row['language'], row['language'])}: {row['what']}" for row in rows], [row["hit_ns"] for row in rows])
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("nanoseconds a hit")
    report.save(figure_, directory, "ffi-hit.svg")


PLOTS = [bars]
