"""The demo several times, with a seed of its own each: do its verdicts agree?

    python reproductions/demo-repeated/repeat.py --seeds 0 1 2 3 4 --out runs/demo-repeated \
        -o reproductions/demo-repeated/result.json

Each is what `make demo` does, but for the seed. A study that is done is only read again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import yaml

from isodiff.cli.options import STUDIES
from isodiff.provenance import provenance
from isodiff.serialization import to_json


def isodiff(*words: str | Path) -> str:
    """What a command says on stdout."""
    command = [sys.executable, "-m", "isodiff.cli", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def demo(seed: int, minutes: float, out: Path) -> dict[str, Any]:
    """One demo; what its report and its fits say."""
    folder = out / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    asked = yaml.safe_load((STUDIES / "demo.yaml").read_text()) | {"seeds": [seed]}
    file = folder / "demo.yaml"
    file.write_text(yaml.safe_dump(asked, sort_keys=False))
    if not (folder / "study" / "study.json").exists():
        isodiff("study", file, "--minutes", str(minutes), "--out", folder / "study")
    (told,) = json.loads(isodiff("report", folder / "study", "--json"))["studies"]
    seconds = json.loads((folder / "study" / "study.json").read_text())["wall_seconds"]
    fits = json.loads((folder / "study" / "fits.json").read_text())["families"]
    families = {}
    for one in told["families"]:
        losses = [best["bits_per_byte"] for best in one["best"]]
        families[one["family"]] = {
            "bits_per_byte": [[loss["value"], loss["standard_error"]] for loss in losses],
            "accepted_minima": len(fits[one["family"]]["budgets"]),
            "multiplier": one["multiplier_vs_autoregressive"],
        }
    return {
        "seed": seed,
        "wall_seconds": seconds,
        "budgets": told["budgets"],
        "lead": told["lead"],
        "families": families,
    }


def falls(losses: list[list[float]]) -> bool:
    """Whether the best loss of every budget is below that of the one before."""
    return all(late[0] < early[0] for early, late in pairwise(losses))


def agreement(demos: list[dict[str, Any]]) -> dict[str, Any]:
    """What has to hold of all demos together."""
    names = list(demos[0]["families"])
    overlap, widest = {}, {}
    for name in names:
        found = [demo["families"][name]["multiplier"] for demo in demos]
        known = [one for one in found if one and one.get("low") and one["high"] > one["low"]]
        if known:
            pairs = combinations(known, 2)
            overlap[name] = all(a["low"] <= b["high"] and b["low"] <= a["high"] for a, b in pairs)
            widest[name] = max(one["high"] / one["low"] for one in known)
    decided = [demo["lead"]["first"] for demo in demos if demo["lead"]["told_apart"]]
    return {
        "losses_fall_with_budget": all(
            falls(family["bits_per_byte"]) for demo in demos for family in demo["families"].values()
        ),
        "fewest_accepted_minima": min(
            family["accepted_minima"] for demo in demos for family in demo["families"].values()
        ),
        "decided": len(decided),
        "best_where_decided": sorted(set(decided)),
        "multiplier_intervals_overlap": overlap,
        "widest_high_over_low": widest,
    }


def table(demos: list[dict[str, Any]]) -> str:
    """Markdown: a row per demo; losses at the largest budget, multipliers with intervals."""
    names = list(demos[0]["families"])
    rows = [["seed", "minutes", "largest budget", *names], ["---"] * (3 + len(names))]
    for demo in demos:
        cells = []
        for name in names:
            family = demo["families"][name]
            loss, error = family["bits_per_byte"][-1]
            by = family["multiplier"]
            more = f"; x{by['value']:.3g} [{by['low']:.3g}, {by['high']:.3g}]" if by["low"] else ""
            cells.append(f"{loss:.3f} ± {error:.3f}" + (more if name != names[0] else ""))
        minutes = f"{demo['wall_seconds'] / 60:.1f}"
        rows.append([str(demo["seed"]), minutes, f"{demo['budgets'][-1]:.3g}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Run what is missing, read all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-repeated"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    demos = [demo(seed, asked.minutes, asked.out) for seed in asked.seeds]
    found = {"demos": demos, "agreement": agreement(demos), "provenance": to_json(provenance())}
    asked.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(demos))
    print(json.dumps(found["agreement"], indent=1))


if __name__ == "__main__":
    main()
