"""Draws docs/pictures/load.svg from the metrics of a load, with the queries of the dashboards.

    draw.py PROMETHEUS_URL TIMES
"""

import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from compact import compact
from figure import BEFORE, STEP, Figure

ROOT = Path(__file__).resolve().parents[2]
RATE = "5s"  # four scrapes of a second each


def queries(board, title):
    panels = json.loads((ROOT / f"grafana/dashboards/{board}.json").read_text())["panels"]
    panel = next(panel for panel in panels if panel["title"] == title and panel["type"] != "stat")
    for target in panel["targets"]:
        asked = target["expr"].replace("$__rate_interval", RATE)
        for variable in ["$job", "$instance", "$table"]:
            asked = asked.replace(variable, ".+")
        asked = asked.replace("$feed", ".*")  # also the feed without a name
        yield asked, target["legendFormat"].strip("{}")


def series(board, title):
    """Yields (legend, times, values) of each series, with times in seconds since the first drop."""
    for asked, legend in queries(board, title):
        span = {"query": asked, "start": TIMES["began"] - BEFORE, "end": TIMES["ended"], "step": STEP}
        with urllib.request.urlopen(f"{URL}/api/v1/query_range?{urllib.parse.urlencode(span)}") as answer:
            found = json.load(answer)["data"]["result"]
        for one in found:
            times, values = zip(*((float(at) - TIMES["began"], float(value)) for at, value in one["values"]))
            yield one["metric"].get(legend, legend), times, values


URL, TIMES = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
(ROOT / "docs/pictures/load.svg").write_text(compact(Figure(series, TIMES).svg()))
