"""Says why a file loses points, from its clean version, the rows that a system returned, and what was refused."""

import csv
import re
from collections import Counter, defaultdict
from dataclasses import dataclass


def rows_of(path):
    """Reads a file as the evaluation does."""
    with open(path, encoding="utf-8-sig", newline="") as text:
        return [tuple(row) for row in csv.reader(text)]


@dataclass
class Difference:
    """How returned rows differ from the clean ones, value by value. The score normalizes: for it, 01 and 1 are equal."""

    missing: int
    second_table: int
    wrong: list


def compare(polluted, clean, returned, parameters):
    """Compares the rows of a file. Rows behind those of the clean version are a second table: no parameter mentions it.

    A header that a system made up for a file without one is no wrong value.
    """
    wanted, found = rows_of(clean), rows_of(returned)
    if found and found[0][:1] == ("Application Error",):
        found = []
    elif parameters["no_header"] and found and found[0] == tuple(parameters["column_names"]):
        found = found[1:]
    above = parameters["preamble_rows"] + max(parameters["header_lines"] - 1, 0)
    behind = Counter(rows_of(polluted)[above + len(wanted) :])
    surplus = Counter(found) - Counter(wanted)
    second_table = surplus & behind
    missing = Counter(wanted) - Counter(found)
    return Difference(missing.total(), second_table.total(), list((surplus - second_table).elements()))


def cause_of(difference, outcome):
    if outcome.failed:
        return f"failed: {outcome.failed}"
    said = []
    if difference.missing:
        said.append(f"{plural(difference.missing, 'record')} refused ({reasons(outcome)})")
    if difference.second_table:
        said.append(f"{plural(difference.second_table, 'row')} of a second table in the file")
    if difference.wrong:
        said.append(f"WRONG VALUES in {plural(len(difference.wrong), 'row')}")
    return "; ".join(said) or "all rows are there"


def reasons(outcome):
    return ", ".join(sorted(outcome.refused) + outcome.incomplete) or "NOT REPORTED"


def plural(number, word):
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def kind_of(file):
    """Returns the pollution without the row and the column that it is in: most files differ in these only."""
    return re.sub(r"(?<=row|col)\d+|(?<=quote)\d+|(?<=row_field_delimiter_)\d+", "N", file)


@dataclass
class Loss:
    """The points of ten that a file loses, its share in the weighted score, and the reason."""

    file: str
    points: float
    weight: float
    cause: str
    wrong: list


def by_cause(losses):
    """Returns (pollution, cause) and (files, points, weighted points), the most weighted points first."""
    sums = defaultdict(lambda: [0, 0.0, 0.0])
    for loss in losses:
        entry = sums[kind_of(loss.file), loss.cause]
        entry[0] += 1
        entry[1] += loss.points
        entry[2] += loss.points * loss.weight
    return sorted(sums.items(), key=lambda entry: -entry[1][2])
