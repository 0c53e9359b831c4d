"""The figure of a load, with one panel for each question that the dashboards answer."""

import io

import matplotlib

matplotlib.use("svg")
# Text stays text, and ids do not change, so that a change of the picture can be read in a diff.
matplotlib.rcParams.update({"svg.hashsalt": "needledrop", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
                            "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "xtick.major.size": 0,
                            "ytick.major.size": 0, "ytick.minor.size": 0})
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.cm import ScalarMappable  # noqa: E402
from matplotlib.colors import BoundaryNorm  # noqa: E402
from matplotlib.patches import PathPatch  # noqa: E402
from matplotlib.path import Path  # noqa: E402
from matplotlib.ticker import EngFormatter, FuncFormatter, NullLocator  # noqa: E402

BEFORE = 5  # seconds before the first drop
STEP = 1  # second, as Prometheus scrapes; a panel is twice as many points wide
SHADES = [0, 0.5, 1, 2, 5, 10, 20, 50]  # chunks per second; few, so that neighbouring cells of a heat map join


class Figure:
    """Draws panels. `series(board, title)` yields (legend, times, values), with times in seconds since the first drop."""

    def __init__(self, series, times):
        self.series, self.times = series, times
        self.figure, self.axes = plt.subplots(3, 2, figsize=(11, 9), layout="constrained")

    def svg(self):
        self.stacked(self.axes[0][0], "overview", "Rows", unit="rows per second, all tables", formatter=EngFormatter())
        self.lines(self.axes[0][1], "overview", "Backlog", unit="bytes in waiting files", formatter=EngFormatter("B"))
        self.lines(self.axes[1][0], "overview", "Drop to queryable", unit="seconds")
        self.axes[1][0].set_yscale("log")  # seconds, from milliseconds to a minute
        self.axes[1][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        self.axes[1][0].yaxis.set_minor_locator(NullLocator())
        self.heat_map(self.axes[1][1], "store", "Write latency", "seconds to write a chunk to a table")
        self.lines(self.axes[2][0], "overview", "Into quarantine", unit="records per second", name="reason")
        self.lines(self.axes[2][1], "overview", "Memory", unit="resident bytes", formatter=EngFormatter("B"))
        self.axes[2][1].set_ylim(0)
        self.axes[0][0].set_ylim(0)
        drawn = io.StringIO()
        self.figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()

    def label(self, axes, title, unit, formatter=None):
        axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
        axes.set_xlabel("seconds since the first drop")
        axes.set_ylabel(unit)
        axes.set_xlim(-BEFORE, self.times["ended"] - self.times["began"])
        axes.axvspan(self.times["stopped"], self.times["continued"], color="0.5", alpha=0.25, lw=0)
        middle = (self.times["stopped"] + self.times["continued"]) / 2
        axes.text(middle, 0.97, "node stopped", transform=axes.get_xaxis_transform(), rotation=90, va="top", ha="center",
                  fontsize=7, color="0.35")
        if formatter:
            axes.yaxis.set_major_formatter(formatter)

    def lines(self, axes, board, title, name=None, **more):
        # Series that are always zero are left out.
        for legend, times, values in self.series(board, title):
            if any(value > 0 for value in values):
                axes.plot(times, values, lw=1.3, label=legend)
        self.label(axes, title, **more)
        if len(axes.lines) > 1 or name:
            axes.legend(frameon=False, fontsize=8, title=name)

    def stacked(self, axes, board, title, **more):
        found = list(self.series(board, title))
        axes.stackplot(found[0][1], [values for _, _, values in found], labels=[legend for legend, _, _ in found], alpha=0.8)
        self.label(axes, title, **more)
        axes.legend(frameon=False, fontsize=8)

    def heat_map(self, axes, board, title, unit):
        rows = sorted(((float(le), dict(zip(times, values))) for le, times, values in self.series(board, title)),
                      key=lambda row: row[0])
        times = sorted({at for _, cumulative in rows for at in cumulative})
        counts = [[max(0.0, row.get(at, 0) - below.get(at, 0)) / 5 for at in times]
                  for (_, row), (_, below) in zip(rows, [(0, {}), *rows])]
        used = [at for at, row in enumerate(counts) if any(value > 0 for value in row)]
        low, high = min(used), max(used) + 1
        norm, colours = BoundaryNorm(SHADES, len(SHADES) - 1), plt.get_cmap("YlOrRd", len(SHADES) - 1)
        shades = [[int(norm(value)) if value > 0 else None for value in row] for row in counts]
        for shade in range(len(SHADES) - 1):
            cells = [cell for at in range(low, high) for cell in runs(shades[at], shade, times, at)]
            if cells:
                axes.add_patch(PathPatch(Path.make_compound_path(*cells), facecolor=colours(shade), lw=0))
        axes.set_ylim(low - 0.5, high - 0.5)
        axes.set_yticks(range(low, high), [f"≤ {rows[at][0]:g}" for at in range(low, high)])
        scale = axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes, label="chunks per second", pad=0.01)
        scale.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        self.label(axes, title, unit)
        axes.grid(False)


def runs(shades, shade, times, row):
    """Yields a rectangle for each run of cells with this shade."""
    begin = None
    for at, found in enumerate([*shades, None]):
        if found == shade and begin is None:
            begin = at
        elif found != shade and begin is not None:
            left, right = times[begin] - STEP / 2, times[at - 1] + STEP / 2
            corners = [(left, row - 0.5), (right, row - 0.5), (right, row + 0.5), (left, row + 0.5), (left, row - 0.5)]
            yield Path(corners, closed=True)
            begin = None
