"""How well do the laws foretell public runs that they did not see, and do their intervals hold?

    python reproductions/public-tables/scoreboard.py CLONES     # a minute on one core

It writes result.json and the table of docs/laws.md. CLONES is a folder with clones of the repositories in
README.md. Every table is read as published, with `--columns` where it leaves a choice, and fitted twice:
without its largest budget, as every fit does, and without all above a tenth of it. What was left out is
predicted: the best loss and size of a curve by the isoflop law, the loss of each run by the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.provenance import provenance
from isodiff.scaling import Points, read_points
from isodiff.scaling.fitting.holdout import split
from isodiff.scaling.laws.law import registered
from isodiff.serialization import to_json

RESULT = Path(__file__).with_name("result.json")
PAGE = Path(__file__).parents[2] / "docs" / "laws.md"
MARKS = ("<!-- scoreboard -->\n", "\n<!-- end of the scoreboard -->")
REPLICATES = 1000
STEP = 10.0
"""The second question: budgets up to the largest over this, asked for the largest."""
ATHENA = "scaling-law-analysis/data/isoflops/extract/isoflops.csv"
LADDER = "OLMo-ladder/src/scripts/paper/data/ladder-runs/*xC.csv"
OPEN_LM = "scaling/exp_data/models/*.json"
GEMSTONES = "gemstone-scaling-laws/wandb_dfs/wandb_df_for_fitting_hot.jsonl"


@dataclass(frozen=True)
class Table:
    """A public set: files under CLONES or a published set, and how it is read."""

    name: str
    source: str
    columns: dict[str, str] = field(default_factory=dict)
    best_of_sweep: bool = False
    laws: tuple[str, ...] = ("isoflop", "parametric")
    apart: bool = False  # families on text of their own, fitted one by one

    def read(self, clones: Path) -> Points:
        """Its points."""
        sources = [self.source]
        if not self.source.startswith("published:"):
            sources = [str(path) for path in sorted(clones.glob(self.source))]
            if not sources:
                raise InputError(f"{clones / self.source} is not there; README.md says where from")
        return read_points(sources, columns=self.columns, best_of_sweep=self.best_of_sweep)


OFF_GRID = ("parametric",)
TABLES = (
    Table("2602.15014", "published:2602.15014"),
    Table("2203.15556, 240 runs", "published:2203.15556", laws=OFF_GRID),
    Table("2305.16264", "published:2305.16264", laws=("repeated",)),
    Table(
        "analyzing-chinchilla", "analyzing-chinchilla/data/svg_extracted_data.csv", laws=OFF_GRID
    ),
    Table("kyo-takano/chinchilla", "chinchilla/examples/llm/df.csv", laws=OFF_GRID),
    Table("llama3_isoflop_extraction", "llama3_isoflop_extraction/isoflops_points.csv"),
    Table("scaling-law-analysis", ATHENA, apart=True),
    Table("steplaw, dense", "steplaw/data/dense_lr_bs_loss.csv", best_of_sweep=True, laws=OFF_GRID),
    Table(
        "OLMo-ladder, C4", LADDER, {"nats": "eval/c4_en-validation/CrossEntropyLoss"}, laws=OFF_GRID
    ),
    Table(
        "mlfoundations/scaling, C4", OPEN_LM, {"nats": "results.1.loss"}, laws=OFF_GRID, apart=True
    ),
    Table("gemstones, constant rate", GEMSTONES, laws=OFF_GRID),
)


def far(data: Points) -> Points:
    """The runs that a fit leaves out of these, and those of at most a tenth of their compute.

    Raises:
        InputError: nothing is that small.
    """
    points = sorted(data.points, key=lambda point: point.flops)
    last = split(points)
    seen = [point for point in points if point.flops <= last.flops / STEP * 1.03]
    unseen = [point for point, out in zip(points, last.held_out, strict=True) if out]
    if len({point.budget for point in points}) * 2 > len(points):
        unseen = unseen[
            -max(1, round(len(seen) / 9)) :
        ]  # a fit leaves out a tenth of what it is given
    if not seen:
        raise InputError("no run of a tenth of the compute")
    return replace(data, points=(*seen, *unseen))


def held_out(law: str, data: Points) -> dict[str, dict[str, Any]]:
    """What a fit foretold, by family: pairs of relative error and whether its interval holds it."""
    found: dict[str, dict[str, Any]] = {}
    try:
        families = registered()[law].fit(data, bootstrap=REPLICATES, seed=0).result().families
    except InputError as error:
        names = {point.family for point in data.points}
        return {name: {"reason": str(error).split(";")[0]} for name in names}
    for name, family in families.items():
        seen = to_json(family)["validation"]
        if law == "isoflop":
            pairs = {key: [seen[key]] for key in ("L", "N") if seen.get(key)}
        else:
            pairs = {"L": seen["runs"]} if seen.get("runs") else {}
        found[name] = {
            key: [[one["relative_error"], _inside(one)] for one in rows]
            for key, rows in pairs.items()
        } or {"reason": seen.get("reason") or "nothing was foretold"}
    return found


def _inside(one: dict[str, Any]) -> bool | None:
    return None if one["low"] is None else one["low"] <= one["observed"] <= one["high"]


def rows_of(table: Table, clones: Path) -> list[dict[str, Any]]:
    """One row for each family of a set."""
    data = table.read(clones)
    names = sorted({point.family for point in data.points})
    own = {name: tuple(p for p in data.points if p.family == name) for name in names}
    groups = [replace(data, points=own[name]) for name in names] if table.apart else [data]
    rows = {name: {"set": table.name, "family": name, "runs": len(own[name])} for name in names}
    for law in table.laws:
        for group in groups:
            for question in ("next", "far"):
                try:
                    asked = group if question == "next" else far(group)
                    answers = held_out(law, asked)
                except InputError as error:
                    answers = {p.family: {"reason": str(error)} for p in group.points}
                for name, answer in answers.items():
                    rows[name].setdefault(law, {})[question] = answer
    return list(rows.values())


def cell(pairs: Sequence[Sequence[Any]] | None) -> str:
    """`1.2 % 9/10`: root mean square error, and how many intervals hold."""
    if not pairs:
        return "–"
    errors = np.array([pair[0] for pair in pairs])
    inside = [pair[1] for pair in pairs if pair[1] is not None]
    rms = f"{errors[0]:+.1%}" if len(pairs) == 1 else f"{np.sqrt((errors**2).mean()):.1%}"
    held = f"{sum(inside)}/{len(inside)}" if inside else "no interval"
    return f"{rms.replace('%', ' %').replace('-', '−')}, {held}"


COLUMNS = [
    (law, question, key)
    for law, key in (("isoflop", "L"), ("isoflop", "N"), ("surface", "L"))
    for question in ("next", "far")
]


def pairs_of(row: dict[str, Any], column: tuple[str, str, str]) -> list[list[Any]] | None:
    """What one column of the table shows of a row; `surface`: parametric or repeated."""
    law, question, key = column
    laws = ("parametric", "repeated") if law == "surface" else (law,)
    found = [row[name][question].get(key) for name in laws if name in row]
    return found[0] if found else None


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/laws.md: every set, and the mean absolute error with coverage over all."""
    lines = [
        "| runs of | | L\\* of the largest budget | from a tenth | N\\* of it | from a tenth "
        "| surface, largest | from a tenth |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = result["rows"]
    for row in rows:
        cells = [cell(pairs_of(row, column)) for column in COLUMNS]
        lines.append(f"| {_title(row)} | {row['runs']} | {' | '.join(cells)} |")
    totals = [_total([pairs_of(row, column) for row in rows]) for column in COLUMNS]
    runs = sum(row["runs"] for row in rows)
    lines.append(f"| **median error, share inside** | {runs} | {' | '.join(totals)} |")
    return "\n".join(lines)


def _title(row: dict[str, Any]) -> str:
    family = row["family"].replace("__", ", ").replace("_", " ")
    alone = family == "autoregressive" and row["set"] != TABLES[0].name
    return row["set"] if alone else f"{row['set']}: {family}"


def _total(groups: Sequence[list[list[Any]] | None]) -> str:
    known = [pairs for pairs in groups if pairs]
    errors = [float(np.sqrt(np.mean([pair[0] ** 2 for pair in pairs]))) for pairs in known]
    inside = [pair[1] for pairs in known for pair in pairs if pair[1] is not None]
    share = f"{np.mean(inside):.0%} of {len(inside)}"
    return f"**{np.median(errors):.1%}, {share}**".replace("%", " %")


def main(clones: str) -> None:
    """Fit every set, and write what came out."""
    rows = []
    for table in TABLES:
        rows += rows_of(table, Path(clones))
        print(table.name, "done", file=sys.stderr, flush=True)
    result = {"replicates": REPLICATES, "rows": rows, "provenance": to_json(provenance())}
    RESULT.write_text(json.dumps(result, ensure_ascii=False) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
    PAGE.write_text(before + MARKS[0] + markdown(result) + MARKS[1] + after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
