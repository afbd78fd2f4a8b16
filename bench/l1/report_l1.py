#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes SVG plots out of latchkey-bench-l1's JSON, and puts its Markdown into a README.

    report_l1.py RESULT.json... [--svg DIRECTORY] [--markdown TABLES.md --readme FILE] [--command TEXT]

Of several results, of runs one after another, the last is the one of the tables and plots; under them stands which goals were
met in all runs, and what the others came to. The tables come from the benchmark itself (--markdown); they go between FILE's lines <!-- l1:begin --> and
<!-- l1:end -->, under a line that names the machine.
"""
import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import report  # noqa: E402

PLOTS = [("latency", "uniform"), ("latency", "Zipf 0.99"), ("throughput", "uniform"), ("throughput", "Zipf 0.99")]
OURS = {"latchkey": "#d1495b", "ideal": "#2a9d8f", "ideal, hashing": "#8ab17d",
        "ideal, hashing and minding": "#b5c99a", "latchkey without its lease": "#e8a5ae"}


def machine_line(result):
    m = result["machine"]
    return (f"{m['processor']}, {m['cores']} cores, {report.size(m['cache_l2_bytes'])} of L2 and "
            f"{report.size(m['cache_l3_bytes'])} of L3 cache, {report.size(m['memory_bytes'])} of memory, Linux "
            f"{m['kernel']} ({m['architecture']}); {m['compiler']}, {m['build']}; {result['took_s']:.0f} s.")


def plot(result, directory, mode, distribution):
    figure, axes = report.new_plot(5.5)
    sizes = result["sizes"]
    palette = ["#4c78a8", "#b279a2", "#e7a13d", "#72b7b2", "#9d755d", "#79706e", "#54a24b", "#eeca3b", "#bab0ac",
               "#ff9da6", "#6b6ecf"]
    for contender in result["contenders"]:
        cells = [size[distribution].get(mode) for size in contender["sizes"]]
        if any(cell is None for cell in cells):
            continue
        name = contender["name"]
        own = name in OURS
        color = OURS[name] if own else palette.pop(0)
        axes.plot(sizes, [cell[0] for cell in cells], marker="o", markersize=4, label=name, color=color,
                  linewidth=3 if name == "latchkey" else 1.5, linestyle="--" if name.startswith("ideal") else "-",
                  zorder=3 if own else 2)
        axes.fill_between(sizes, [cell[1] for cell in cells], [cell[2] for cell in cells], color=color, alpha=0.1,
                          linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("entries held")
    axes.set_ylabel(f"nanoseconds a lookup, {mode}, {distribution}")
    axes.legend(fontsize=8, ncols=2)
    name = f"l1-{mode}-{distribution.split()[0].lower()}.svg"
    report.save(figure, directory, name)


def least(result, contender, size, distribution, mode):
    cells = {c["name"]: c["sizes"] for c in result["contenders"]}
    return cells[contender][result["sizes"].index(int(size))][distribution][mode][1]


def of_the_ideal(result, text):
    """What the same goal would come to for the ideal: more than that is not possible on this machine in this run."""
    match = re.match(r"(\d+) (uniform|Zipf 0.99): (.*)", text)
    if not match:
        return ""
    size, distribution, what = match.groups()

    def ideal(mode):
        return least(result, "ideal", size, distribution, mode)

    peer = re.match(r"(.*), the best peer \((.*)\) over ours", what)
    if peer:
        return f"{least(result, peer[2], size, distribution, peer[1]) / ideal(peer[1]):.2f}"
    if what.startswith("two readers over one"):
        return f"{2 * ideal('throughput') / ideal('two readers'):.2f}"
    if what.startswith("beside a writer"):
        return f"{ideal('beside churn') / ideal('alone again'):.2f}"
    for mode in ("latency", "throughput"):
        if what.startswith(f"{mode} over the ideal's"):
            return f"{least(result, 'ideal, hashing and minding', size, distribution, mode) / ideal(mode):.2f}"
    return ""


def goals_of_runs(results):
    """The goals that were not met in every run, with their values run by run."""
    runs = [{re.sub(r" \([^)]*\)", "", goal["text"]): goal for goal in result["goals"]} for result in results]
    missed = [text for text in runs[-1] if not all(text in run and run[text]["met"] for run in runs)]
    lines = [f"### The goals in {len(runs)} runs, one after another", "",
             f"{len(runs[-1]) - len(missed)} of {len(runs[-1])} were met in every run. The others, and in brackets what the "
             "ideal itself would come to in that run (for the goals that are ratios to it: the ideal that hashes and "
             "minds):", "",
             "| goal | limit | " + " | ".join(f"run {i + 1}" for i in range(len(runs))) + " |",
             "|---|---|" + "---:|" * len(runs)]
    for text in missed:
        goal = runs[-1][text]
        limit = f"at most {goal['at_most']:g}" if "at_most" in goal else f"at least {goal['at_least']:g}"
        values = []
        for run, result in zip(runs, results):
            own = of_the_ideal(result, run[text]["text"]) if text in run else ""
            values.append(f"{run[text]['value']:.2f}{'' if run[text]['met'] else ' ✗'}{f' ({own})' if own else ''}"
                          if text in run else "")
        lines.append(f"| {text} | {limit} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="RESULT.json")
    parser.add_argument("--svg", metavar="DIRECTORY", help="write the plots there")
    parser.add_argument("--markdown", metavar="FILE", help="what the benchmark wrote")
    parser.add_argument("--readme", metavar="FILE", help="put it between FILE's markers")
    parser.add_argument("--command", help="the command to name above the tables")
    arguments = parser.parse_args()
    results = []
    for name in arguments.results:
        with open(name, encoding="utf-8") as file:
            results.append(json.load(file))
    result = results[-1]
    if arguments.svg:
        os.makedirs(arguments.svg, exist_ok=True)
        for mode, distribution in PLOTS:
            plot(result, arguments.svg, mode, distribution)
    if arguments.markdown:
        with open(arguments.markdown, encoding="utf-8") as file:
            tables = file.read().strip()
        head = f"`{arguments.command}`\n\n" if arguments.command else ""
        text = f"{head}{machine_line(result)}\n\n{tables}"
        if len(results) > 1:
            text += f"\n\n{goals_of_runs(results)}"
        if arguments.readme:
            report.put_between_markers(arguments.readme, "l1", text)
        else:
            print(text)


if __name__ == "__main__":
    main()
