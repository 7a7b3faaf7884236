#!/usr/bin/env python3
"""Pictures of what plait's benchmarks measured: the roofline, prefill and decode curves, the sweeps as a table.

    build/benchmarks/bench_layers --benchmark_out=layers.json
    benchmarks/plot.py roofline layers.json -o roofline.svg         # every benchmark a point under the roofline of its own run
    benchmarks/plot.py curves model.json -o curves.png              # tokens/s against tokens and against context
    benchmarks/plot.py table sweep.json                             # bench_sweep's architectures as CSV

Files are those that --benchmark_out writes (JSON), one or several. --only takes a regular expression for the names. With repetitions the
median of each benchmark is taken. Needs matplotlib (Debian: python3-matplotlib); `table` needs nothing.
"""
import argparse
import csv
import json
import math
import re
import statistics
import sys


class Point:
    """One benchmark: its name taken apart, its counters."""

    def __init__(self, name, counters, label):
        self.name, self.counters, self.label = name, counters, label
        parts = [p for p in name.split("/") if p != "manual_time" and not p.startswith(("iterations:", "repeats:", "min_time:"))]
        # "128M/decode/bf16,compute:bf16/tokens:1/context:0/threads:2/weights:cold/routing:random"
        first = next((i for i, p in enumerate(parts) if p.startswith("tokens:")), len(parts))
        self.what, self.precision = "/".join(parts[: first - 1]), parts[first - 1] if first else ""
        self.args = dict(p.split(":", 1) for p in parts[first:] if ":" in p)

    def number(self, key, otherwise=0):
        return int(self.args.get(key, otherwise))

    def __getitem__(self, counter):
        return self.counters[counter]

    def series(self, *without):
        """What tells this point's curve from others: everything but the arguments that vary along it."""
        kept = [f"{k} {v}" for k, v in self.args.items() if k not in without and not (k == "routing" and v == "random")]
        return ", ".join([self.what, self.precision] + kept)


def read(paths, only):
    """The points of all files in the order they were measured; of repetitions the median of each counter."""
    runs, labels = {}, {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                entries = json.load(file)["benchmarks"]
        except (OSError, ValueError, KeyError) as problem:
            sys.exit(f"{path}: not a result of --benchmark_out (JSON): {problem}")
        for entry in entries:
            name = entry.get("run_name", entry["name"])
            if entry.get("run_type") == "aggregate" or not re.search(only, name):
                continue
            if entry.get("error_occurred") or entry.get("skipped"):
                print(f"{path}: {name} is left out: {entry.get('error_message', entry.get('skip_message', ''))}", file=sys.stderr)
                continue
            if "roofline_%" not in entry:
                continue  # not one of plait/benchmark.hpp's
            runs.setdefault(name, []).append({k: v for k, v in entry.items() if isinstance(v, (int, float))})
            labels[name] = entry.get("label", "")
    points = []
    for name, entries in runs.items():
        keys = set.intersection(*(set(e) for e in entries))
        points.append(Point(name, {k: statistics.median(e[k] for e in entries) for k in keys}, labels[name]))
    if not points:
        sys.exit("no benchmark of plait/benchmark.hpp is left to draw")
    return points


def style(keys):
    """A colour and a marker for each key."""
    import matplotlib

    colours, markers = matplotlib.colormaps["tab10"].colors, "osD^vP*Xhp<>"
    return {key: (colours[i % 10], markers[i % len(markers)]) for i, key in enumerate(keys)}


def save(figure, path):
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(path)


def roofline(points, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    placed = [(p["GFLOP/s"] / p["GB/s"], p["GFLOP/s"], p) for p in points if p["GB/s"] > 0 and p["GFLOP/s"] > 0]
    low, high = min(x for x, _, _ in placed) / 2, max(x for x, _, _ in placed) * 2
    # A roof for each number of threads and peak that occurs; lines that lie on each other are drawn once.
    roofs = {}
    for p in points:
        roofs.setdefault((round(p["peak_GFLOP/s"], 1), round(p["peak_GB/s"], 2)), (p.number("threads", 1), p.precision))
    high = max([high] + [2 * peak / band for peak, band in roofs])
    for (peak, band), (threads, precision) in sorted(roofs.items()):
        xs = [low, peak / band, high]
        axes.plot(xs, [min(peak, band * x) for x in xs], color="0.35", linewidth=1.2, zorder=1)
        axes.annotate(f"{precision}, {threads} thread{'s' * (threads > 1)}: {peak:.0f} GFLOP/s, {band:.0f} GB/s", (high, peak),
                      ha="right", va="bottom", fontsize=7, color="0.35")
    keys = list(dict.fromkeys(p.series("tokens", "context", "sequences") for _, _, p in placed))
    look = style(keys)
    for key in keys:
        mine = [(x, y, p) for x, y, p in placed if p.series("tokens", "context", "sequences") == key]
        colour, marker = look[key]
        axes.scatter([x for x, _, _ in mine], [y for _, y, _ in mine], color=colour, marker=marker, s=28, label=key, zorder=3, alpha=0.85)
        for x, y, p in mine:
            if len(placed) <= 60:
                axes.annotate(f" {p.number('tokens', 1)}" + (f"@{p.number('context')}" if p.number("context") else ""), (x, y), fontsize=6)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte (counted)", ylabel="GFLOP/s",
             title="Roofline: points are labelled tokens@context")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    save(figure, path)


def crossings(curves):
    """Where one curve overtakes another, between two measured contexts (straight lines in logarithms): [(context, slower, faster)]."""
    found = []
    names = list(curves)
    for i, a in enumerate(names):
        for b in names[i + 1:]:
            shared = sorted(set(curves[a]) & set(curves[b]))
            for left, right in zip(shared, shared[1:]):
                before, after = (math.log(curves[a][x] / curves[b][x]) for x in (left, right))
                if before * after < 0:
                    at = math.exp(math.log(left) + (math.log(right) - math.log(left)) * before / (before - after))
                    found.append((at, a if before > 0 else b, b if before > 0 else a))
    return sorted(found)


def curves(points, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Prefill on an empty context against tokens; prefill and decode against context, where several contexts were measured.
    by_tokens, by_context = {}, {}
    for p in points:
        if p.number("context") == 0 and "context/" not in p.name:
            by_tokens.setdefault(p.series("tokens", "context"), {})[p.number("tokens")] = p["tokens/s"]
        kind = "decode" if p.number("tokens") == 1 else f"prefill of {p.number('tokens')}"
        if p.number("context") > 0:
            by_context.setdefault(kind, {}).setdefault(p.series("tokens", "context"), {})[p.number("context")] = p["tokens/s"]
    panels = []
    by_tokens = {k: v for k, v in by_tokens.items() if len(v) > 1}
    if by_tokens:
        panels.append(("tokens of a call, empty context", by_tokens))
    for kind, series in by_context.items():
        series = {k: v for k, v in series.items() if len(v) > 1}
        if series:
            panels.append((f"context in tokens: {kind}", series))
    if not panels:
        sys.exit("no curve: every benchmark stands alone, with one number of tokens and one context")
    figure, axes = pyplot.subplots(1, len(panels), figsize=(6.5 * len(panels), 5), squeeze=False)
    for (title, series), panel in zip(panels, axes[0]):
        look = style(series)
        for key, values in series.items():
            xs = sorted(values)
            panel.plot(xs, [values[x] for x in xs], color=look[key][0], marker=look[key][1], markersize=4, label=key)
        panel.set(xscale="log", yscale="log", xlabel=title, ylabel="tokens/s")
        panel.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x / 1024:g}K" if x >= 1024 and x % 1024 == 0 else f"{x:g}"))
        ticks = sorted({x for values in series.values() for x in values})
        panel.set_xticks(ticks)
        panel.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        panel.grid(True, which="both", alpha=0.3)
        panel.legend(fontsize=7)
        if title.startswith("context"):
            for at, slower, faster in crossings(series):
                print(f"{title.split(': ')[1]}: from a context of {at:.0f} on, {faster} is faster than {slower}")
                panel.axvline(at, color="0.7", linewidth=0.8, linestyle=":")
    save(figure, path)


def table(points, path):
    """bench_sweep's first part: an architecture a row."""
    rows = {}
    for p in points:
        match = re.fullmatch(r"sweep/a(\d+)m(\d+)e(\d+)n(\d+)K(\d+)", p.what)
        if not match:
            continue
        key = tuple(int(g) for g in match.groups()) + (p.precision, p.number("threads", 1))
        row = rows.setdefault(key, {})
        row["parameters"], row["active_parameters"] = p["parameters"], p["active_parameters"]
        row["state_bytes"] = p["state_bytes"]
        row["kv_bytes_a_token"] = p["kv_bytes"] / (p.number("tokens") + p.number("context"))
        row["decode_tokens/s" if p.number("tokens") == 1 else f"prefill_{p.number('tokens')}_tokens/s"] = p["tokens/s"]
    if not rows:
        sys.exit("no result of bench_sweep: names begin with sweep/")
    measured = list(dict.fromkeys(k for row in rows.values() for k in row))
    out = open(path, "w", newline="", encoding="utf-8") if path else sys.stdout
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["a", "m", "e", "n", "K", "precision", "threads"] + measured)
    for key, row in rows.items():
        writer.writerow(list(key) + [f"{row[m]:.0f}" if m in row else "" for m in measured])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=["roofline", "curves", "table"])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("-o", "--output", help="a .png, .svg or .pdf; for table a .csv (default: standard output)")
    parser.add_argument("--only", default="", metavar="REGEX", help="benchmarks whose name it finds")
    arguments = parser.parse_args()
    points = read(arguments.files, arguments.only)
    if arguments.picture == "table":
        return table(points, arguments.output)
    (roofline if arguments.picture == "roofline" else curves)(points, arguments.output or arguments.picture + ".png")


if __name__ == "__main__":
    main()
