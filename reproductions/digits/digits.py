"""Does a masked model of digits tell them apart by density, and how much does a race among classes save?

    python reproductions/digits/digits.py        # about half an hour on a quiet core; writes result.json
    python reproductions/digits/digits.py FOLDER # keeps corpus and runs there, and goes on from them

One shape for all rows. Two thirds of scikit-learn's 1797 images are trained and validated on,
and one third is classified: by the race, and for the first row with all draws for every class too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from isodiff.provenance import provenance
from isodiff.serialization import to_json

COMMON = ["--length", "66", "--shape", "3x64x4", "--threads", "1"]
COMMON += ["--recipe.batch-size", "32", "--recipe.optimizer", "muon", "--recipe.ema", "0.995"]
COMMON += ["--backbone.relative-bias", "8"]
GIVEN = ["--recipe.labels-given", "0.9"]
ROWS: list[tuple[str, str, list[str]]] = [
    ("labels given", "1.6e13", GIVEN),
    ("labels given", "1e13", GIVEN),
    ("labels noised", "2.4e13", []),
]
"""Name, training FLOPs, options."""
WITHOUT_RACE = 1
"""Rows for which every class takes all draws as well."""
KEPT = ("accuracy", "accuracy_interval", "undecided", "num_items", "forwards_per_item")
RESULT = Path(__file__).with_name("result.json")


def isodiff(*words: str | Path) -> dict[str, Any]:
    """What a command says."""
    command = [sys.executable, "-m", "isodiff.cli", *map(str, words), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def classified(run: Path, *words: str) -> dict[str, Any]:
    """The held-out third, unless it was before."""
    file = run / "tasks" / f"test-labels{'-full' if words else ''}.json"
    if not file.exists():
        isodiff("classify", run, "test", "--threads", "1", *words)
    stored = json.loads(file.read_text())
    return {key: stored[key] for key in (*KEPT, "confusion", "protocol")} | {
        "chosen": [item["chosen"] for item in stored["items"]]
    }


def row(folder: Path, number: int) -> dict[str, Any]:
    """Train a run, and classify."""
    name, budget, options = ROWS[number]
    places = ["--corpus", folder / "corpus", "--out", folder / "runs"]
    record = isodiff("train", "masked", *places, "--budget", budget, *COMMON, *options)
    run = folder / "runs" / record["id"]
    race = classified(run)
    found = {
        "row": name,
        "train_flops": record["flops"]["exact"],
        "steps": record["steps"],
        "parameters": record["parameters"]["total"],
        "wall_seconds": record["wall_seconds"],
        "bits_per_byte": record["results"]["validation"]["bits_per_byte"],
        "race": race,
    }
    if number < WITHOUT_RACE:
        full = classified(run, "--no-race")
        pairs = zip(race["chosen"], full["chosen"], strict=True)
        found["full"] = full
        found["same_answers"] = sum(one == other for one, other in pairs)
        found["times_cheaper"] = full["forwards_per_item"] / race["forwards_per_item"]
    for one in (race, found.get("full", {})):
        one.pop("chosen", None)
    return found


def main(folder: Path) -> None:
    """All rows."""
    words = ["--tokenizer", "alphabet:0-9a-q", "--validation", "0.05", "--test", "0.3334"]
    isodiff("corpus", "prepare", "digits", *words, "--out", folder / "corpus")
    rows = [row(folder, number) for number in range(len(ROWS))]
    text = json.dumps({"rows": rows, "provenance": to_json(provenance())}, indent=2)
    RESULT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
