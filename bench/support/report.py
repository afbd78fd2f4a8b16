#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes Markdown tables and SVG plots out of a benchmark's JSON.

    report.py RESULT.json [--svg DIRECTORY] [--readme FILE] [--command TEXT]

Without --readme the Markdown goes to standard output; with it, between FILE's lines <!-- NAME:begin --> and
<!-- NAME:end -->, where NAME is the benchmark's. report_NAME.py knows what to say. Where the run was repeated a cell is "median (least to most)".
"""
import argparse
import importlib
import json
import math
import os
import re
import statistics
import sys

# ------------------------------------------------------------------------------------------------ numbers


def short(value):
    """Three significant digits, thousands separated."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits else f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.0f}"


def whole(value):
    return f"{value:,.0f}"


def time(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{short(ns / size)} {unit}"
    return f"{short(ns)} ns"


def size(count):
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{short(count / scale)} {unit}"
    return f"{short(count)} B"


def percent(share):
    return f"{100 * share:.1f}%"


def cell(runs, value, form):
    """One figure over all runs: the median, and the spread where there is one."""
    values = [value(run) for run in runs]
    text = form(statistics.median(values))
    if len(values) > 1 and form(min(values)) != form(max(values)):
        text += f" ({form(min(values))} to {form(max(values))})"
    return text


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def machine_line(result):
    m = result["machine"]
    return (f"{m['processor']}, {m['cores']} cores, {size(m['memory_bytes'])} of memory, Linux {m['kernel']} "
            f"({m['architecture']}); Redis {m['redis']} on the same machine over {result['options']['transport']}; "
            f"{m['compiler']}, {m['build']}; hiredis {m['hiredis']}, libsodium {m['libsodium']}, "
            f"xxHash {m['xxhash']}")


# -------------------------------------------------------------------------------------------------- plots

# Middle tones, and no background: readable on white and on black.
INK = "#80868f"


def new_plot(height):
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "latchkey", "font.family": "sans-serif", "font.size": 11,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": INK, "grid.alpha": 0.25,
        "lines.linewidth": 2, "legend.frameon": False})
    import matplotlib.pyplot as pyplot
    figure, axes = pyplot.subplots(figsize=(8, height), layout="constrained")
    axes.grid(True, which="major")
    return figure, axes


def save(figure, directory, name):
    path = os.path.join(directory, name)
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    # Which font is there depends on the reader's machine; any sans-serif will do.
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"font: (\d+)px [^;\"]*", r"font: \1px sans-serif", text)
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


# --------------------------------------------------------------------------------------------------- main

def put_between_markers(path, name, text):
    with open(path, encoding="utf-8") as file:
        whole_text = file.read()
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if begin not in whole_text or end not in whole_text:
        sys.exit(f"{path} has no lines {begin} and {end}")
    before, rest = whole_text.split(begin, 1)
    after = rest.split(end, 1)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("--svg", metavar="DIRECTORY", help="write the plots there")
    parser.add_argument("--readme", metavar="FILE", help="put the tables between FILE's markers")
    parser.add_argument("--command", help="the command to name above the tables")
    arguments = parser.parse_args()
    with open(arguments.result, encoding="utf-8") as file:
        result = json.load(file)
    # What there is to say stands beside the benchmark, which lives in a folder of its name; the server's in load/.
    folder = {"server": "load"}.get(result["benchmark"], result["benchmark"])
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), folder))
    benchmark = importlib.import_module("report_" + result["benchmark"])
    text = benchmark.markdown(result, arguments.command)
    if arguments.readme:
        put_between_markers(arguments.readme, result["benchmark"], text)
    else:
        print(text)
    if arguments.svg:
        os.makedirs(arguments.svg, exist_ok=True)
        for plot in benchmark.PLOTS:
            plot(result, arguments.svg)


if __name__ == "__main__":
    main()
