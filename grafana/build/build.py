"""Generates the dashboards of needledrop (`make dashboards`). With --check, only compares the generated dashboards with
the existing files, and checks that the models of grafana-foundation-sdk read each file without loss."""

import json
import sys
from pathlib import Path

import files
import overview
import store
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

HERE = Path(__file__).parent.parent / "dashboards"


def text(model):
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(model)), indent=2, sort_keys=True) + "\n"


def main():
    wrong = []
    for name, module in {"overview": overview, "store": store, "files": files}.items():
        place, built = HERE / f"{name}.json", text(module.DASHBOARD.build())
        if "--check" not in sys.argv:
            place.write_text(built)
        there = place.read_text()
        if there != built:
            wrong.append(f"{place.name} differs from the output of grafana/build: run make dashboards")
        # Parsing drops everything that the models do not know.
        if text(Dashboard.from_json(json.loads(there))) != there:
            wrong.append(f"{place.name} has fields that the models of grafana-foundation-sdk do not know")
    print("\n".join(wrong) or f"dashboards: overview, store, files are valid, schema {json.loads(there)['schemaVersion']}")
    return len(wrong)


sys.exit(main())
