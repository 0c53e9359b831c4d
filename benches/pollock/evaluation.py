"""Pollock's own evaluation, imported from a checkout. Nothing of it is copied: the repository has no licence."""

import csv
import functools
import importlib
import os
import runpy
import shutil
import sys
from contextlib import contextmanager, redirect_stdout

DATASET = "polluted_files"
PER_FILE = f"results/global_results_{DATASET}.csv"
PER_SYSTEM = f"results/aggregate_results_{DATASET}.csv"


def adopt(checkout):
    """Makes the modules of the checkout importable."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(checkout))


def load_parameters(path):
    """Reads the parameters of a file as all systems under test do."""
    return importlib.import_module("sut.utils").load_parameters(path)


def prepare(work, checkout, systems):
    """The evaluation reads paths relative to its folder: the checkout's files, and the results of each system.

    Earlier results are removed: it would evaluate them again, and the adapters keep what they find.
    """
    shutil.rmtree(work / "results", ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    for name in (DATASET, "pollock_weights.json"):
        link = work / name
        link.unlink(missing_ok=True)
        link.symlink_to(checkout / name)
    for system in systems:
        loading(work, system).mkdir(parents=True)


def loading(work, system):
    return work / "results" / system / DATASET / "loading"


@contextmanager
def inside(folder):
    """Runs code of the checkout in a folder, without arguments. What it prints goes to stderr."""
    before, argv = os.getcwd(), sys.argv
    os.chdir(folder)
    sys.argv = [""]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.chdir(before)
        sys.argv = argv


def load_with_duckdb(work, checkout):
    """Runs the authors' adapter for DuckDB. Its paths begin at the root of a container, which is `work` here."""
    importlib.import_module("duckdb")
    abspath = os.path.abspath

    def in_container(path):
        fixed = str(path).startswith((f"/{DATASET}", "/results"))
        return f"{work}{path}" if fixed else abspath(path)

    sys.path.insert(0, str(checkout / "sut"))
    os.path.abspath = in_container
    try:
        with inside(work):
            runpy.run_path(str(checkout / "sut/duckdbparse/duck-bench.py"))
    finally:
        os.path.abspath = abspath
        sys.path.remove(str(checkout / "sut"))


def evaluate(work, systems):
    """Runs evaluate.py over these systems. Returns its measures per system, and per file."""
    evaluation = importlib.import_module("evaluate")
    metrics = importlib.import_module("pollock.metrics")
    metrics.normalize_cell = functools.cache(metrics.normalize_cell)  # the files have most cells in common
    evaluation.SUT_ORDER = sorted(systems)  # the systems to print
    with inside(work):
        evaluation.main()
    return table(work / PER_SYSTEM, "sut"), table(work / PER_FILE, "file")


def table(path, key):
    with open(path, newline="") as text:
        return {row.pop(key): row for row in csv.DictReader(text)}


def points(row, system):
    """Returns the points of a file: ten measures from 0 to 1. One that could not be computed counts 0."""
    return sum(float(value or 0) for name, value in row.items() if name.startswith(f"{system}_"))
