#!/usr/bin/env python3
"""Pictures of measurements, as SVG: rooflines, curves, plait beside its peers.

    build/benchmarks/bench_layers --benchmark_out=layers.json
    benchmarks/plot.py roofline layers.json -o roofline.svg  # each benchmark under its run's roof
    benchmarks/plot.py curves model.json -o curves.svg       # tokens/s against tokens and context
    benchmarks/plot.py table sweep.json                      # bench_sweep's architectures as CSV
    benchmarks/plot.py peers PEERS.json -o peers.svg         # plait's speed over its peers'
    benchmarks/plot.py scan PEERS.json -o scan.svg           # scan and convolution beside ggml's
    benchmarks/plot.py documents [--check]                   # docs/pictures, of benchmarks/results

Files are one or several of those that --benchmark_out writes (JSON) or, as PEERS, those of
benchmarks/peers/run. --only takes a regular expression for the names. Of repetitions the median of
each benchmark counts. Needs Python alone.
"""

import argparse
import csv
import html
import json
import math
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Mid tones, readable on a white and on a dark page alike; those of examples/tools/layer_strip.cpp.
INK, FAINT = "#747d87", "#747d8740"
COLOURS = [
    "#e8762c",
    "#3f83c4",
    "#2f9e77",
    "#b0569f",
    "#c9a227",
    "#5f6fc9",
    "#c8504a",
    "#7fa33a",
    "#4aa7b8",
    "#8d7160",
]


# ---- what was measured -------------------------------------------------------------------------


class Point:
    """One benchmark: the parts of its name, its counters."""

    def __init__(self, name, counters, label):
        self.name, self.counters, self.label = name, counters, label
        parts = [
            p
            for p in name.split("/")
            if p != "manual_time" and not p.startswith(("iterations:", "repeats:", "min_time:"))
        ]
        # "128M/decode/bf16,compute:bf16/tokens:1/context:0/threads:2/weights:cold/routing:random"
        first = next((i for i, p in enumerate(parts) if p.startswith("tokens:")), len(parts))
        self.what, self.precision = "/".join(parts[: first - 1]), parts[first - 1] if first else ""
        self.args = dict(p.split(":", 1) for p in parts[first:] if ":" in p)

    def number(self, key, otherwise=0):
        return int(self.args.get(key, otherwise))

    def __getitem__(self, counter):
        return self.counters[counter]

    def series(self, *without):
        """The curve of this point: all arguments but those that vary along it."""
        kept = [
            f"{k} {v}"
            for k, v in self.args.items()
            if k not in without and not (k == "routing" and v == "random")
        ]
        return ", ".join([self.what, self.precision] + kept)


def read(paths, only):
    """The points of all files; of repetitions the median of each counter."""
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
                print(
                    f"{path}: {name} is left out:",
                    entry.get("error_message", entry.get("skip_message", "")),
                    file=sys.stderr,
                )
                continue
            if "tokens/s" not in entry:
                continue  # not one of plait/benchmark.hpp's
            runs.setdefault(name, []).append(
                {k: v for k, v in entry.items() if isinstance(v, (int, float))}
            )
            labels[name] = entry.get("label", "")
    points = []
    for name, entries in runs.items():
        keys = set.intersection(*(set(e) for e in entries))
        points.append(
            Point(name, {k: statistics.median(e[k] for e in entries) for k in keys}, labels[name])
        )
    if not points:
        sys.exit("no benchmark of plait/benchmark.hpp is left to draw")
    return points


# ---- drawing -----------------------------------------------------------------------------------


class Svg:
    """A picture: elements in drawing order, on a transparent background."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title, self.elements = width, height, title, []

    def add(self, tag, content=None, **attributes):
        """An element; numbers with a decimal, `_` for `-` in names, content as text (escaped)."""
        text = " ".join(
            f'{k.rstrip("_").replace("_", "-")}="{v if isinstance(v, str) else format(v, ".1f")}"'
            for k, v in attributes.items()
        )
        self.elements.append(
            f"<{tag} {text}/>" if content is None else f"<{tag} {text}>{content}</{tag}>"
        )

    def line(self, points, colour=INK, width=1.0, **further):
        self.add(
            "polyline",
            points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
            fill="none",
            stroke=colour,
            stroke_width=width,
            **further,
        )

    def text(self, x, y, what, anchor="start", colour=INK, **further):
        self.add(
            "text",
            html.escape(what, quote=False),
            x=x,
            y=y,
            text_anchor=anchor,
            fill=colour,
            **further,
        )

    def dot(self, x, y, colour, tooltip, radius=3.5, **further):
        self.add(
            "circle",
            f"<title>{html.escape(tooltip, quote=False)}</title>",
            cx=x,
            cy=y,
            r=radius,
            **({"fill": colour} | further),
        )

    def __str__(self):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" '
            f'width="{self.width:.0f}" height="{self.height:.0f}" role="img" '
            "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" "
            'font-size="11">'
        )
        return "\n".join(
            [
                head,
                f"<title>{html.escape(self.title, quote=False)}</title>",
                *self.elements,
                "</svg>",
                "",
            ]
        )


class Axes:
    """Two logarithmic axes in a rectangle of a picture."""

    def __init__(self, svg, left, top, width, height, xs, ys):
        self.svg, self.left, self.top, self.width, self.height = svg, left, top, width, height
        self.xs, self.ys = xs, ys

    def x(self, value):
        return self.left + self.width * math.log(value / self.xs[0]) / math.log(
            self.xs[1] / self.xs[0]
        )

    def y(self, value):
        return self.top + self.height * (
            1 - math.log(value / self.ys[0]) / math.log(self.ys[1] / self.ys[0])
        )

    def at(self, points):
        return [(self.x(x), self.y(y)) for x, y in points]

    def frame(self, title, under, xticks, yticks):
        """Grid lines with their numbers; the title above, the label of x below."""
        bottom, right = self.top + self.height, self.left + self.width
        self.svg.text(self.left, self.top - 10, title, font_weight="600")
        for tick in yticks:
            self.svg.line([(self.left, self.y(tick)), (right, self.y(tick))], FAINT)
            self.svg.text(self.left - 6, self.y(tick) + 4, short(tick), "end")
        for tick in xticks:
            self.svg.line([(self.x(tick), bottom), (self.x(tick), bottom + 4)])
            self.svg.text(self.x(tick), bottom + 16, short(tick), "middle")
        self.svg.line([(self.left, bottom), (right, bottom)])
        self.svg.text(self.left + self.width / 2, bottom + 32, under, "middle")


def short(value):
    """A number of an axis: 64K for 65536, 0.5 for a half."""
    if value >= 1024 and value % 1024 == 0:
        return f"{value / 1024:g}K"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def ticks(low, high, steps=(1, 2, 5)):
    """Round numbers within [low, high]; single decades where these are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
    return ticks(low, high, (1,)) if len(found) > 7 and steps != (1,) else found


def powers(low, high, base):
    return [base**i for i in range(-12, 32) if low <= base**i <= high]


def spread(places, distance):
    """The places, sorted, moved so that neighbours are at least `distance` apart."""
    for _ in range(100):
        for i in range(1, len(places)):
            lacking = distance - (places[i] - places[i - 1])
            if lacking > 0:
                places[i - 1] -= lacking / 2
                places[i] += lacking / 2
    return places


def text_width(text):
    """The approximate width in units of a picture: fonts differ."""
    return sum(3.4 if c in "ijlft.,:'| " else 9.2 if c in "mwMW" else 6.3 for c in text)


def legend(svg, left, y, entries):
    """A dot and a name per entry; returns the left edge of the next."""
    for name, colour in entries.items():
        svg.add("circle", cx=left + 4.0, cy=y - 4.0, r=4.0, fill=colour)
        svg.text(left + 13, y, name)
        left += 13 + text_width(name) + 16
    return left


def colours(keys):
    return {key: COLOURS[i % len(COLOURS)] for i, key in enumerate(keys)}


def plain(series):
    """Names that distinguish the series: {series: name}."""
    parts = {key: key.split(", ") for key in series}
    common = set.intersection(*(set(p) for p in parts.values())) if len(parts) > 1 else set()
    names = {}
    for key, own in parts.items():
        rest = [p for p in own if p not in common] or own[:1]
        match = re.fullmatch(r"(?:context|sweep)/a(\d+)m(\d+)e\d+n\d+K\d+", rest[0])
        if match:
            a, m = match.groups()
            rest[0] = "attention only" if m == "0" else "Mamba only" if a == "0" else f"{a} : {m}"
        names[key] = ", ".join(rest)
    return names


# ---- the pictures ------------------------------------------------------------------------------


def roofline(points):
    """A panel per precision and number of threads: the roof, each series by its tokens."""
    placed = [
        p for p in points if p.counters.get("GB/s", 0) > 0 and p.counters.get("GFLOP/s", 0) > 0
    ]
    if not placed:
        sys.exit("no benchmark has operations and bytes: nothing is under a roofline")
    intensity = lambda p: p["GFLOP/s"] / p["GB/s"]
    panels = {}
    for p in placed:
        panels.setdefault((p.precision, p.number("threads", 1)), []).append(p)
    xs = (
        min(map(intensity, placed)) / 1.5,
        max(
            max(map(intensity, placed)), max(2 * p["peak_GFLOP/s"] / p["peak_GB/s"] for p in placed)
        )
        * 1.5,
    )
    ys = (
        min(p["GFLOP/s"] for p in placed) / 1.5,
        max(max(p["GFLOP/s"], p["peak_GFLOP/s"]) for p in placed) * 1.6,
    )
    columns = min(3, len(panels))
    width, height, left, top = 240, 220, 46, 52
    svg = Svg(
        columns * (width + left) + 12,
        top + -(-len(panels) // columns) * (height + 74) - 34,
        "Roofline",
    )
    look = colours(dict.fromkeys(p.what for p in placed))
    legend(svg, left, 14, look)
    for i, ((precision, threads), mine) in enumerate(panels.items()):
        axes = Axes(
            svg,
            left + i % columns * (width + left),
            top + i // columns * (height + 74),
            width,
            height,
            xs,
            ys,
        )
        axes.frame(
            f"{display_name(precision)}, {threads} thread{'s' * (threads > 1)}: GFLOP/s",
            "operations per byte",
            powers(*xs, 10),
            ticks(*ys, (1,)),
        )
        for peak, band in sorted(
            {(round(p["peak_GFLOP/s"], 1), round(p["peak_GB/s"], 2)) for p in mine}
        ):
            svg.line(
                axes.at(
                    (x, min(peak, band * x)) for x in (max(xs[0], ys[0] / band), peak / band, xs[1])
                ),
                INK,
                1.5,
            )
            svg.text(
                axes.x(xs[1]),
                axes.y(peak) - 5,
                f"{peak:,.0f} GFLOP/s, {band:.0f} GB/s",
                "end",
                font_size="10",
            )
        series = {}
        for p in mine:
            series.setdefault(p.series("tokens"), []).append(p)
        for own in series.values():
            own.sort(key=lambda p: p.number("tokens"))
            svg.line(
                axes.at((intensity(p), p["GFLOP/s"]) for p in own),
                look[own[0].what],
                1.2,
                stroke_opacity="0.6",
            )
            for p in own:
                tooltip = f"{p.what}, {p.number('tokens', 1)} tokens" + (
                    f" at {p.number('context')}" if p.number("context") else ""
                )
                svg.dot(
                    axes.x(intensity(p)),
                    axes.y(p["GFLOP/s"]),
                    look[p.what],
                    f"{tooltip}: {p['GFLOP/s']:.0f} GFLOP/s, {p['roofline_%']:.0f} %",
                )
    return svg


def display_name(precision):
    """bf16-dot for bf16,compute:bf16."""
    stored, _, compute = precision.partition(",compute:")
    return f"{stored}-dot" if compute == stored else precision


def crossings(curves):
    """Crossings of curves, linear in logarithms between points: [(context, slower, faster)]."""
    found = []
    names = list(curves)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            shared = sorted(set(curves[a]) & set(curves[b]))
            for left, right in zip(shared, shared[1:]):
                before, after = (math.log(curves[a][x] / curves[b][x]) for x in (left, right))
                if before * after < 0:
                    at = math.exp(
                        math.log(left)
                        + (math.log(right) - math.log(left)) * before / (before - after)
                    )
                    found.append((at, a if before > 0 else b, b if before > 0 else a))
    return sorted(found)


def curves(points, say):
    """Prefill against tokens; prefill and decode against context, where there are several."""
    by_tokens, by_context = {}, {}
    for p in points:
        if p.number("context") == 0 and "context/" not in p.name:
            by_tokens.setdefault(p.series("tokens", "context"), {})[p.number("tokens")] = p[
                "tokens/s"
            ]
        kind = "decode" if p.number("tokens") == 1 else f"prefill of {p.number('tokens')}"
        if p.number("context") > 0:
            by_context.setdefault(kind, {}).setdefault(p.series("tokens", "context"), {})[
                p.number("context")
            ] = p["tokens/s"]
    panels = []
    by_tokens = {k: v for k, v in by_tokens.items() if len(v) > 1}
    if by_tokens:
        panels.append(("empty context", "tokens of a call", by_tokens))
    for kind, series in by_context.items():
        series = {k: v for k, v in series.items() if len(v) > 1}
        if series:
            panels.append((kind, "context in tokens", series))
    if not panels:
        sys.exit(
            "no curve: every benchmark stands alone, with one number of tokens and one context"
        )
    names = plain(dict.fromkeys(key for _, _, series in panels for key in series))
    look = colours(names)
    room = 16 + max(map(text_width, names.values()))
    width, height, left, top = 270, 220, 50, 34
    svg = Svg(len(panels) * (left + width + room), top + height + 42, "Tokens per second")
    for i, (title, under, series) in enumerate(panels):
        shown_xs, shown_ys = sorted({x for v in series.values() for x in v}), [
            y for v in series.values() for y in v.values()
        ]
        ys = (min(shown_ys) / 1.25, max(shown_ys) * 1.25)
        axes = Axes(
            svg,
            left + i * (left + width + room),
            top,
            width,
            height,
            (shown_xs[0], shown_xs[-1]),
            ys,
        )
        axes.frame(
            f"{title}, tokens per second",
            under,
            shown_xs if len(shown_xs) < 9 else powers(shown_xs[0], shown_xs[-1], 4),
            ticks(*ys),
        )
        for key, values in series.items():
            line = [(x, values[x]) for x in sorted(values)]
            svg.line(axes.at(line), look[key], 1.8)
            for x, y in line:
                svg.dot(
                    axes.x(x), axes.y(y), look[key], f"{names[key]}, {short(x)}: {y:,.0f} tokens/s"
                )
        ends = sorted(series, key=lambda k: -series[k][max(series[k])])
        for key, y in zip(ends, spread([axes.y(series[k][max(series[k])]) for k in ends], 14)):
            svg.text(axes.left + width + 9, y + 4, names[key], colour=look[key])
        if under.startswith("context"):
            for at, slower, faster in crossings(series):
                say(f"{title}: from a context of {at:.0f} on, {faster} is faster than {slower}")
    return svg


def peers(rows):
    """plait's tokens/s over a peer's: a row per measurement, a dot per precision."""
    label = lambda r: (
        f"prefill of {r['tokens']}"
        if r["what"] == "prefill"
        else (
            f"{r['sequences']} sequences together"
            if r["sequences"] > 1
            else f"decode at {r['context']:,}"
        )
    )
    lines = list(dict.fromkeys(label(r) for r in rows))
    look = colours(dict.fromkeys(display_name(r["plait"]) for r in rows))
    sides = list(dict.fromkeys(r["peer"] for r in rows))
    ratios = [r["ratio"]["median"] for r in rows]
    left, top, width, step, small = 150, 44, 570, 6 * len(look) + 14, 6
    svg = Svg(left + width + 20, top + step * len(lines) + 44, "plait's speed over its peers'")
    legend(svg, left, 14, look)
    axes = Axes(
        svg,
        left,
        top,
        width,
        step * len(lines),
        (min(ratios + [1]) / 1.1, max(ratios) * 1.12),
        (1, 2),
    )
    for tick in [
        t for t in (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 16) if axes.xs[0] <= t <= axes.xs[1]
    ]:
        svg.line(
            [(axes.x(tick), top - 8), (axes.x(tick), top + axes.height)],
            INK if tick == 1 else FAINT,
            1.5 if tick == 1 else 1,
        )
        svg.text(axes.x(tick), top + axes.height + 16, f"{tick:g}x", "middle")
    for i, line in enumerate(lines):
        y = top + step * (i + 0.5)
        svg.text(left - 12, y + 4, line, "end")
        if i > 0:
            svg.line([(left, y - step / 2), (left + width, y - step / 2)], FAINT)
        for r in [r for r in rows if label(r) == line]:
            precision, ratio = display_name(r["plait"]), r["ratio"]["median"]
            speed = r["plait_tokens_per_second"]["median"]
            peer = f"{r['peer']} {r['peer_precision']}"
            tooltip = f"{line}, {precision}: {speed:,g} tokens/s, {ratio:g}x {peer}"
            paint = (
                {"fill": look[precision]}
                if r["peer"] == sides[0]
                else {"fill": "none", "stroke": look[precision], "stroke_width": 1.8}
            )
            svg.dot(
                axes.x(ratio),
                y + small * (list(look).index(precision) - (len(look) - 1) / 2),
                look[precision],
                tooltip,
                4,
                **paint,
            )
    under = f"plait's tokens per second over {sides[0]}'s" + (
        f" (filled) and {', '.join(sides[1:])}' (hollow)" if len(sides) > 1 else ""
    )
    svg.text(left + width / 2, top + axes.height + 34, under, "middle")
    return svg


def scan(rows):
    """Scan and convolution beside ggml's: ns per token and channel, a pair of bars each."""
    left, top, width, bar = 170, 34, 480, 12
    longest = max(max(r["plait_ns"], r["peer_ns"]) for r in rows)
    svg = Svg(
        left + width + 130, top + len(rows) * (2 * bar + 16) + 4, "Scan and convolution beside ggml"
    )
    look = {"plait": COLOURS[1], "ggml": "#9aa5b1"}
    svg.text(legend(svg, left, 14, look) + 8, 14, "ns per token and channel, shorter is faster")
    spelt = {"selective_scan": "selective scan", "conv_silu": "convolution"}
    for i, r in enumerate(rows):
        y = top + i * (2 * bar + 16)
        svg.text(
            left - 12,
            y + bar + 4,
            f"{spelt[r['what']]}, {r['threads']} thread{'s' * (r['threads'] > 1)}",
            "end",
        )
        for j, (side, ns) in enumerate((("plait", r["plait_ns"]), ("ggml", r["peer_ns"]))):
            long = width * ns / longest
            svg.add(
                "rect",
                x=left,
                y=y + j * (bar + 1),
                width=max(long, 1.0),
                height=bar,
                rx=2.0,
                fill=look[side],
            )
            svg.text(
                left + long + 7,
                y + j * (bar + 1) + bar - 2,
                f"{ns:g}" + (f", {r['ratio']:.0f} times faster" if side == "plait" else ""),
                font_size="10",
            )
    return svg


def table(points, path):
    """The architectures of bench_sweep, one per row."""
    rows = {}
    for p in points:
        match = re.fullmatch(r"sweep/a(\d+)m(\d+)e(\d+)n(\d+)K(\d+)", p.what)
        if not match:
            continue
        key = tuple(int(g) for g in match.groups()) + (p.precision, p.number("threads", 1))
        row = rows.setdefault(key, {})
        row["parameters"], row["active_parameters"] = p["parameters"], p["active_parameters"]
        row["state_bytes"] = p["state_bytes"]
        row["kv_bytes_per_token"] = p["kv_bytes"] / (p.number("tokens") + p.number("context"))
        row[
            (
                "decode_tokens/s"
                if p.number("tokens") == 1
                else f"prefill_{p.number('tokens')}_tokens/s"
            )
        ] = p["tokens/s"]
    if not rows:
        sys.exit("no result of bench_sweep: names begin with sweep/")
    measured = list(dict.fromkeys(k for row in rows.values() for k in row))
    out = open(path, "w", newline="", encoding="utf-8") if path else sys.stdout
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["a", "m", "e", "n", "K", "precision", "threads"] + measured)
    for key, row in rows.items():
        writer.writerow(list(key) + [f"{row[m]:.0f}" if m in row else "" for m in measured])


def peer_entries(paths, key, selected):
    """The entries under `key` of files of benchmarks/peers/run."""
    found = []
    for path in paths:
        try:
            found += [
                r
                for r in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))[key]
                if selected(r)
            ]
        except (OSError, ValueError, KeyError) as problem:
            sys.exit(f"{path}: not a result of benchmarks/peers/run: {problem!r}")
    if not found:
        sys.exit(f"{', '.join(map(str, paths))}: nothing of this kind was measured")
    return found


PICTURES = {
    "roofline": lambda files, only, say: roofline(read(files, only)),
    "curves": lambda files, only, say: curves(read(files, only), say),
    "peers": lambda files, only, say: peers(peer_entries(files, "summary", lambda r: "ratio" in r)),
    "scan": lambda files, only, say: scan(
        peer_entries(files, "measurements", lambda r: r["what"] in ("selective_scan", "conv_silu"))
    ),
}

# The pictures of the documents: name, picture, file of benchmarks/results, benchmarks.
DOCUMENTS = [
    ("roofline", "roofline", "layers.json", "threads:2"),
    ("context", "curves", "context.json", ""),
    ("peers", "peers", "peers.json", ""),
    ("scan", "scan", "scan.json", ""),
]


def documents(check):
    """Draws docs/pictures from benchmarks/results, or compares with them."""
    differ = []
    for name, picture, file, only in DOCUMENTS:
        path = ROOT / "docs/pictures" / f"{name}.svg"
        text = str(PICTURES[picture]([ROOT / "benchmarks/results" / file], only, lambda _: None))
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            differ.append(
                f"docs/pictures/{name}.svg is not what benchmarks/results/{file} draws: "
                "run benchmarks/plot.py documents"
            )
    if differ:
        sys.exit("\n".join(differ))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", choices=[*PICTURES, "table", "documents"])
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument(
        "-o", "--output", help="an .svg; for table a .csv (default: standard output)"
    )
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="benchmarks whose name it finds"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="documents: write nothing; status 1 if a picture differs",
    )
    arguments = parser.parse_args()
    if arguments.picture == "documents":
        return documents(arguments.check)
    if not arguments.files:
        parser.error(f"{arguments.picture} needs a file")
    if arguments.picture == "table":
        return table(read(arguments.files, arguments.only), arguments.output)
    output = pathlib.Path(arguments.output or arguments.picture + ".svg")
    if output.suffix != ".svg":
        sys.exit(f"{output}: pictures are written as .svg")
    output.write_text(
        str(PICTURES[arguments.picture](arguments.files, arguments.only, print)), encoding="utf-8"
    )
    print(output)


if __name__ == "__main__":
    main()
