"""Loads the files with needledrop, and writes what its tables hold where Pollock looks for it."""

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field

from settings import columns_of, configuration

DONE, BAD_RECORDS, BAD_CONFIGURATION = 0, 1, 2


@dataclass
class Outcome:
    """What became of a file: its records in order, or why there are none, and the reasons for what is missing."""

    rows: list = field(default_factory=list)
    failed: str = ""
    incomplete: list = field(default_factory=list)
    refused: set = field(default_factory=set)


class Needledrop:
    """One configuration, its inbox and its store, in a folder."""

    def __init__(self, binary, folder, settings):
        self.binary, self.folder = binary, folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "inbox").mkdir(parents=True)
        (folder / "needledrop.yaml").write_text(json.dumps(settings, indent=2))  # YAML contains JSON

    def run(self, *words):
        command = [self.binary, *words, "--config", "needledrop.yaml", "--log-level", "error"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def json(self, *words):
        answer = self.run(*words, "--json")
        if answer.returncode not in (DONE, BAD_RECORDS):
            sys.exit(f"needledrop {' '.join(words)} in {self.folder}: {answer.stderr}")
        return json.loads(answer.stdout)

    def load(self, files):
        for path in files:
            (self.folder / "inbox" / path.name).symlink_to(path.resolve())
        answer = self.run("run", "--once")
        if answer.returncode == BAD_CONFIGURATION:
            return {path.name: Outcome(failed=first_line(answer.stderr)) for path in files}
        if answer.returncode not in (DONE, BAD_RECORDS):
            sys.exit(f"needledrop run in {self.folder}: {answer.stderr}")
        return self.outcomes(files)

    def outcomes(self, files):
        found = {path.name: Outcome(incomplete=["not in the ledger"]) for path in files}
        for delivery in self.json("status")["deliveries"]:
            outcome = found[delivery["file"]] = Outcome()
            if delivery["state"] == "failed":
                outcome.failed = delivery["detail"]
            elif delivery["state"] != "loaded":
                outcome.incomplete = [f"{delivery['state']}: {delivery['detail']}"]
        for record in self.json("quarantine", "list"):
            found[record["file"]].refused.add(record["reason"])
        for file, *values in self.rows():
            found[file].rows.append([value or "" for value in values])
        return found

    def rows(self):
        settings = json.loads((self.folder / "needledrop.yaml").read_text())
        columns = ", ".join(columns_of(settings["source"]["columns"]))
        with sqlite3.connect(self.folder / "store.db") as store:
            yield from store.execute(f"SELECT file, {columns} FROM records ORDER BY file, line")


def first_line(text):
    return next((line for line in text.splitlines() if line.strip()), "no message")


def load(binary, dataset, work, load_parameters):
    """Loads all files of a dataset, those with equal parameters in one run. Returns the outcome for each file."""
    runs = defaultdict(list)
    for path in sorted((dataset / "csv").glob("*.csv")):
        given = dataset / "parameters" / f"{path.name}_parameters.json"
        footnotes = int(json.loads(given.read_text())["footnote_lines"])
        settings = configuration(load_parameters(given), footnotes)
        runs[json.dumps(settings)].append(path)
    outcomes = {}
    for number, (settings, files) in enumerate(runs.items(), 1):
        print(f"needledrop: run {number} of {len(runs)}, {len(files)} files", file=sys.stderr)
        run = Needledrop(binary, work / str(number), json.loads(settings))
        outcomes |= run.load(files)
    if all(outcome.failed for outcome in outcomes.values()):
        sys.exit(f"needledrop loads no file: {outcomes.popitem()[1].failed}")
    return outcomes


def write(outcomes, dataset, folder, load_parameters):
    """Writes each file as Pollock expects it: with a header if the file has one, and its error if it failed."""
    for name, outcome in outcomes.items():
        parameters = load_parameters(dataset / "parameters" / f"{name}_parameters.json")
        header = [] if parameters["no_header"] else [parameters["column_names"]]
        with open(folder / f"{name}_converted.csv", "w", encoding="utf-8", newline="") as out:
            if outcome.failed:
                out.write(f"Application Error\n{outcome.failed}\n")
            else:
                csv.writer(out).writerows(header + outcome.rows)
