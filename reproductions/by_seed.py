"""A study of options over seeds, as a table: mean bound of each, and its paired differences from the first.

    isodiff study reproductions/block-sizes/study.yaml --out runs/block-sizes
    python reproductions/by_seed.py runs/block-sizes -o reproductions/block-sizes/result.json

All runs of one seed meet the same batches and the same evaluation text and noise, so differences are taken
within a seed; standard errors are over seeds. The first is the one that the study's file names first.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def records(folder: Path) -> list[dict[str, Any]]:
    """Finished runs of a study."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/record.json"))]
    return [record for record in found if record["status"] == "done"]


def label(asked: str | dict[str, Any]) -> str:
    """A family of the study's file in words."""
    if isinstance(asked, str):
        return asked
    return " ".join([asked["name"], *(f"{k} {v}" for k, v in asked.items() if k != "name")])


def asked_for(family: dict[str, Any], families: list[str | dict[str, Any]]) -> str:
    """The entry of the study's file that a run's family came from: the one that says most of it."""
    entries = [({"name": one} if isinstance(one, str) else one, label(one)) for one in families]
    fitting = [(len(entry), name) for entry, name in entries if entry.items() <= family.items()]
    return max(fitting)[1]


def mean(values: np.ndarray) -> dict[str, float]:
    """Mean over seeds and its standard error."""
    return {"value": float(values.mean()), "se": float(values.std(ddof=1) / len(values) ** 0.5)}


def summary(folder: Path) -> dict[str, Any]:
    """Every option: nats per token over seeds, and the difference from the first."""
    runs = records(folder)
    families = json.loads((folder / "plan.json").read_text())["study"]["families"]
    table: dict[str, dict[int, dict[str, Any]]] = {label(one): {} for one in families}
    for run in runs:
        table[asked_for(run["spec"]["family"], families)][run["spec"]["seed"]] = run
    first = next(iter(table))
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in table.values())))

    def nats(name: str) -> np.ndarray:
        rows = [table[name][seed]["results"]["validation"] for seed in seeds]
        return np.array([row["nats_per_token"]["value"] for row in rows])

    rows = [
        {
            "options": name,
            "kind": table[name][seeds[0]]["results"]["validation"]["kind"],
            "nats_per_token": mean(nats(name)),
            "minus_first": None if name == first else mean(nats(name) - nats(first)),
            "minus_previous": None,
            "by_seed": dict(zip(map(str, seeds), nats(name).tolist(), strict=True)),
            "tokens": table[name][seeds[0]]["tokens"],
            "parameters": table[name][seeds[0]]["parameters"]["non_embedding"],
        }
        for name in table
    ]
    for before, row in pairwise(rows):
        row["minus_previous"] = mean(nats(row["options"]) - nats(before["options"]))
    one = runs[0]
    return {
        "study": folder.name,
        "budget": one["spec"]["budget"],
        "length": one["spec"]["length"],
        "shape": one["spec"]["shape"],
        "seeds": seeds,
        "protocol": one["results"]["validation"]["protocol"],
        "rows": rows,
        "device": f"{one['device']}, {one['threads']} thread a run",
        "provenance": one["provenance"],
    }


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| model | nats per token | minus the first | minus the one above | tokens |",
        "|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        cells = [
            f"{row[key]['value']:.4f} ± {row[key]['se']:.4f}" if row[key] else ""
            for key in ("nats_per_token", "minus_first", "minus_previous")
        ]
        mark = "" if row["kind"] == "exact" else "≤ "
        lines.append(f"| {row['options']} | {mark}{' | '.join(cells)} | {row['tokens']:.3g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", type=Path)
    arguments = parser.parse_args()
    result = summary(arguments.folder)
    if arguments.o is not None:
        arguments.o.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
