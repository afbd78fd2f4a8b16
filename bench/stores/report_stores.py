# SPDX-License-Identifier: MIT
"""The table and the plot of latchkey-bench-stores."""
from report import INK, new_plot, save, short, size, time


def honoured(store):
    if "honoured_text" in store:
        return store["honoured_text"]
    took = store["honoured"]
    return "not at all" if took["max_ns"] == 0 else f"{time(took['p50_ns'])}, {time(took['max_ns'])} at most"


def markdown(result, command):
    m = result["machine"]
    rows = ["| sessions in | a validation: p50 | p99 | per second, 4 callers | 64 callers | store's processor time, each | "
            "bytes, each | honoured after the end |", "|---|---:|---:|---:|---:|---:|---:|---|"]
    for s in result["stores"]:
        v = s["validate"]
        rows.append(f"| {s['name']} | {time(v['p50_ns'])} | {time(v['p99_ns'])} | {short(s['per_second_4'])} | "
                    f"{short(s['per_second_64'])} | {time(s['store_cpu_us'] * 1e3)} | {size(s['bytes'])} | {honoured(s)} |")
    return "\n\n".join([
        f"`{command or 'latchkey-bench-stores'}`",
        f"{m['processor']}, {m['cores']} cores, Linux {m['kernel']}; all servers on the same machine, over unix sockets; "
        f"{result['sessions']:,.0f} sessions of {result['record_bytes']:,.0f} bytes, drawn uniformly; closed loop; p50 and "
        "p99 by one caller.",
        "\n".join(rows)])


def plot_rates(result, directory):
    figure, axes = new_plot(3.4)
    names = [s["name"] for s in result["stores"]][::-1]
    for offset, key, label, colour in ((0.2, "per_second_4", "4 callers", "#1c8ad6"),
                                       (-0.2, "per_second_64", "64 callers", "#2f9e44")):
        values = [s[key] for s in result["stores"]][::-1]
        axes.barh([i + offset for i in range(len(names))], values, height=0.36, color=colour, label=label)
        for i, value in enumerate(values):
            axes.text(value, i + offset, f" {short(value)}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.set_xlabel("validations per second")
    axes.margins(x=0.15)
    axes.legend(loc="lower right")
    save(figure, directory, "stores-rates.svg")


PLOTS = [plot_rates]
