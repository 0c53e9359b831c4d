"""Draws docs/pictures/load.svg from the metrics of a load, with the queries of the dashboards.

    draw.py PROMETHEUS_URL TIMES
"""

import io
import json
import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text stays text, so that a change of the picture can be read in a diff.
matplotlib.rcParams.update({"svg.hashsalt": "needledrop", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
                            "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3})
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import LogNorm  # noqa: E402
from matplotlib.ticker import EngFormatter, FuncFormatter  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
RATE = "5s"  # four scrapes of a second each
BEFORE = 5  # seconds


def queries(board, title):
    panels = json.loads((ROOT / f"grafana/dashboards/{board}.json").read_text())["panels"]
    panel = next(panel for panel in panels if panel["title"] == title and panel["type"] != "stat")
    for target in panel["targets"]:
        asked = target["expr"].replace("$__rate_interval", RATE)
        for variable in ["$job", "$instance", "$table"]:
            asked = asked.replace(variable, ".+")
        yield asked, target["legendFormat"].strip("{}")


def series(board, title):
    """Yields (legend, times, values) of each series, with times in seconds since the first drop."""
    for asked, legend in queries(board, title):
        span = {"query": asked, "start": TIMES["began"] - BEFORE, "end": TIMES["ended"], "step": 2}
        with urllib.request.urlopen(f"{URL}/api/v1/query_range?{urllib.parse.urlencode(span)}") as answer:
            found = json.load(answer)["data"]["result"]
        for one in found:
            times, values = zip(*((float(at) - TIMES["began"], float(value)) for at, value in one["values"]))
            yield one["metric"].get(legend, legend), times, values


def label(axes, title, unit, formatter=None):
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
    axes.set_xlabel("seconds since the first drop")
    axes.set_ylabel(unit)
    axes.set_xlim(-BEFORE, TIMES["ended"] - TIMES["began"])
    axes.axvspan(TIMES["stopped"], TIMES["continued"], color="0.5", alpha=0.25, lw=0)
    middle = (TIMES["stopped"] + TIMES["continued"]) / 2
    axes.text(middle, 0.97, "node stopped", transform=axes.get_xaxis_transform(), rotation=90, va="top", ha="center",
              fontsize=7, color="0.35")
    if formatter:
        axes.yaxis.set_major_formatter(formatter)


def lines(axes, board, title, **more):
    # Series that are always zero are left out.
    for legend, times, values in series(board, title):
        if any(value > 0 for value in values):
            axes.plot(times, values, lw=1.3, label=legend)
    label(axes, title, **more)
    if len(axes.lines) > 1 or title == "Into quarantine":
        axes.legend(frameon=False, fontsize=8, title="reason" if title == "Into quarantine" else None)


def stacked(axes, board, title, **more):
    found = list(series(board, title))
    axes.stackplot(found[0][1], [values for _, _, values in found], labels=[legend for legend, _, _ in found], alpha=0.8)
    label(axes, title, **more)
    axes.legend(frameon=False, fontsize=8)


def heat_map(axes, board, title, unit):
    rows = sorted(((float(le), times, values) for le, times, values in series(board, title)), key=lambda row: row[0])
    times = sorted({at for _, ats, _ in rows for at in ats})
    cumulative = [dict(zip(ats, values)) for _, ats, values in rows]
    counts = [[max(0.0, (one.get(at, 0) - (below.get(at, 0) if below else 0))) / 5 for at in times]
              for one, below in zip(cumulative, [None, *cumulative])]
    used = [at for at, row in enumerate(counts) if any(value > 0 for value in row)]
    low, high = min(used), max(used) + 1
    mesh = axes.pcolormesh(times, range(low, high), [[value or float("nan") for value in row] for row in counts[low:high]],
                           norm=LogNorm(), cmap="YlOrRd", shading="nearest")
    bounds = [row[0] for row in rows]
    axes.set_yticks(range(low, high), [f"≤ {bounds[at]:g}" for at in range(low, high)])
    axes.figure.colorbar(mesh, ax=axes, label="chunks per second", pad=0.01)
    label(axes, title, unit)
    axes.grid(False)


def compact(svg):
    """Puts each element on one line and rounds coordinates to a tenth of a point, which no eye can see."""
    svg = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), svg)
    svg = re.sub(r'"[^"]*"', lambda value: " ".join(value[0].split()), svg)
    return re.sub(r"\n+", "\n", svg)


def main():
    figure, axes = plt.subplots(3, 2, figsize=(11, 9), layout="constrained")
    stacked(axes[0][0], "overview", "Rows", unit="rows per second, all tables", formatter=EngFormatter())
    lines(axes[0][1], "overview", "Backlog", unit="bytes in waiting files", formatter=EngFormatter("B"))
    lines(axes[1][0], "overview", "Drop to queryable", unit="seconds")
    axes[1][0].set_yscale("log")  # seconds, from milliseconds to a minute
    axes[1][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    heat_map(axes[1][1], "store", "Write latency", "seconds to write a chunk's rows to a table")
    lines(axes[2][0], "overview", "Into quarantine", unit="records per second")
    lines(axes[2][1], "overview", "Memory", unit="resident bytes", formatter=EngFormatter("B"))
    axes[2][1].set_ylim(0)
    axes[0][0].set_ylim(0)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    (ROOT / "docs/pictures/load.svg").write_text(compact(drawn.getvalue()))


URL, TIMES = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
main()
