"""Computes the Pollock scores of needledrop. README.md in this folder describes the commands.

    score.py CHECKOUT [--needledrop BINARY] [--work FOLDER] [--duckdb]
"""

import argparse
import os
import sys
from pathlib import Path

import evaluation
from explain import Loss, by_cause, cause_of, compare
from load import load, write

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NEEDLEDROP, DUCKDB = "needledrop", "duckdbparse"
NOTHING = 1e-9


def arguments():
    parser = argparse.ArgumentParser(description="Computes the Pollock scores of needledrop.")
    parser.add_argument("checkout", type=Path, help="a checkout of HPI-Information-Systems/Pollock")
    parser.add_argument("--needledrop", type=Path, default=TARGET / "release/needledrop", help="the binary to measure")
    parser.add_argument("--work", type=Path, default=TARGET / "pollock", help="the folder for all files")
    parser.add_argument("--duckdb", action="store_true", help="also measure DuckDB, with the adapter of the authors")
    given = parser.parse_args()
    if not (given.checkout / evaluation.DATASET / "csv").is_dir():
        parser.error(f"{given.checkout} has no folder {evaluation.DATASET}/csv: it is no checkout of Pollock")
    if not given.needledrop.is_file():
        parser.error(f"{given.needledrop} does not exist: run `make build`")
    return given


def differences(system, work, dataset, files):
    """Returns how the rows that a system returned differ from the clean ones, for each file that it loaded."""
    for file in files:
        given = evaluation.load_parameters(dataset / "parameters" / f"{file}_parameters.json")
        returned = evaluation.loading(work, system) / f"{file}_converted.csv"
        yield file, compare(dataset / "csv" / file, dataset / "clean" / file, returned, given)


def losses(work, dataset, outcomes, per_file):
    """Returns each file that loses points, and each with a wrong value even if it has all points."""
    for file, difference in differences(NEEDLEDROP, work, dataset, per_file):
        row = per_file[file]
        lost = 10 - evaluation.points(row, NEEDLEDROP)
        if lost > NOTHING or difference.wrong:
            cause = cause_of(difference, outcomes[file])
            yield Loss(file, lost, float(row["normalized_weight"]), cause, difference.wrong)


def report(found, files):
    print("The files that lose points:")
    for loss in sorted(found, key=lambda loss: -loss.points * loss.weight):
        print(f"  {loss.file}: {loss.points:.4f} ({loss.cause})")
        for row in loss.wrong:
            print(f"    WRONG: {row}")
    print("\nLost points by cause (simple, weighted, files):")
    for (kind, cause), (count, points, weighted) in by_cause(found):
        print(f"  {points / files:.4f}  {weighted:.4f}  {count:5}  {kind}: {cause}")


def print_scores(systems, per_system, work, dataset, files):
    print()
    for system in systems:
        scores = per_system[system]
        simple, weighted = float(scores["pollock_simple"]), float(scores["pollock_weighted"])
        wrong = sum(bool(difference.wrong) for _, difference in differences(system, work, dataset, files))
        print(f"{system}: {simple:.3f} of 10 simple, {weighted:.3f} weighted; files with wrong values: {wrong}")


def main():
    given = arguments()
    checkout, work = given.checkout.resolve(), given.work.resolve()
    systems = [NEEDLEDROP, DUCKDB] if given.duckdb else [NEEDLEDROP]
    evaluation.adopt(checkout)
    evaluation.prepare(work, checkout, systems)
    dataset = checkout / evaluation.DATASET
    outcomes = load(given.needledrop.resolve(), dataset, work / "runs", evaluation.load_parameters)
    write(outcomes, dataset, evaluation.loading(work, NEEDLEDROP), evaluation.load_parameters)
    if given.duckdb:
        evaluation.load_with_duckdb(work, checkout)
    per_system, per_file = evaluation.evaluate(work, systems)
    found = list(losses(work, dataset, outcomes, per_file))
    report(found, len(per_file))
    print_scores(systems, per_system, work, dataset, per_file)
    return 1 if any(loss.wrong for loss in found) else 0


if __name__ == "__main__":
    sys.exit(main())
