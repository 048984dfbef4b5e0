"""Runs that could be trained next: families, sizes and budgets around and beyond those tried.

Sizes are the rungs of the ladder of shapes where the shapes of the runs are known (records), else a
geometric grid; both reach from half the smallest size tried to `REACH` times the largest. Budgets are those
of the runs and, doubling, up to `REACH` times the largest. What a family has not been near is left out,
because its law says nothing there: fewer tokens or tokens per parameter than its fewest, more than twice
its most tokens per parameter, more epochs than its most (four are always allowed).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isodiff.network.shape import LADDER, Shape
from isodiff.record import read_records
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.parametric import Runs
from isodiff.scaling.points import Point

REACH = 4.0
"""Times the largest size and budget tried: beyond it a law is not to be trusted."""
MOST_BUDGETS = 12
"""More distinct budgets than this are replaced by a grid."""
FRESH_EPOCHS = 4.0
"""Epochs up to which text counts as fresh (arXiv 2305.16264)."""
SAME = 0.01
"""In ln N and ln C: runs this close differ in their seed only."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that could be trained; `again` if one like it was, with another seed."""

    family: str
    flops: float
    parameters: float
    tokens: float
    shape: str | None
    again: bool

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        names = ("family", "flops", "parameters", "tokens", "shape", "again")
        return {name: getattr(self, name) for name in names}


def candidates(
    name: str, runs: Runs, budgets: Sequence[float], cores: Mapping[str, float]
) -> list[Candidate]:
    """Runs of one family. `cores` has the block parameters of runs by id, where they are known."""
    found = []
    for shape, log_n in sizes(runs, cores):
        for budget in budgets:
            log_d = math.log(budget) - float(runs.cost.log(np.array([log_n]))[0])
            if plausible(runs, log_n, log_d):
                n, d = math.exp(log_n), math.exp(log_d)
                again = any(alike(point, log_n, budget) for point in runs.points)
                found.append(Candidate(name, budget, n, d, shape, again))
    return found


def budgets_to_try(points: Sequence[Point]) -> list[float]:
    """Those of the runs, and beyond."""
    own = sorted({point.budget for point in points})
    if len(own) > MOST_BUDGETS:
        own = [rounded(c) for c in np.geomspace(own[0], own[-1], MOST_BUDGETS)]
    beyond = 2.0 ** np.arange(1, math.log2(REACH) + 1)
    return [*own, *(rounded(own[-1] * factor) for factor in beyond)]


def shape_sizes(sources: Sequence[Path]) -> dict[str, float]:
    """Block parameters of each run by id; nothing where the sources are no records."""
    if not all(source.exists() and source.suffix.lower() != ".csv" for source in sources):
        return {}
    shapes = ((str(record["id"]), record["spec"]["shape"]) for record in read_records(sources))
    return {name: 12.0 * shape["depth"] * shape["width"] ** 2 for name, shape in shapes}


def rounded(value: float) -> float:
    """To three significant digits."""
    return float(f"{value:.3g}")


def sizes(runs: Runs, cores: Mapping[str, float]) -> list[tuple[str | None, float]]:
    """Shape, if known, and ln N."""
    low, high = runs.log_n.min() - math.log(2), runs.log_n.max() + math.log(REACH)
    if not all(point.id in cores for point in runs.points):
        count = 1 + round(2 * (high - low) / math.log(2))
        return [(None, float(x)) for x in np.linspace(low, high, count)]
    known = np.log([cores[point.id] for point in runs.points])
    x, index = np.unique(known, return_inverse=True)
    y: Array = np.bincount(index, weights=runs.log_n) / np.bincount(index)
    rungs = {shape: math.log(Shape.parse(shape).core_parameters) for shape in LADDER}
    placed = [
        # beyond the shapes tried N grows as the blocks do
        (shape, float(np.interp(rung, x, y) + min(rung - x[0], 0) + max(rung - x[-1], 0)))
        for shape, rung in rungs.items()
    ]
    return [(shape, log_n) for shape, log_n in placed if low <= log_n <= high]


def plausible(runs: Runs, log_n: float, log_d: float) -> bool:
    """Whether the family has been near."""
    low, high = ratios(runs)
    slack = 1e-9
    if log_d < runs.log_d.min() - slack or not low - slack <= log_d - log_n <= high + slack:
        return False
    texts = [point.unique_tokens for point in runs.points]
    if any(text is None for text in texts):
        return True
    lengths = np.array(texts, float)
    most = max(FRESH_EPOCHS, float((np.exp(runs.log_d) / lengths).max()))
    return math.exp(log_d) <= most * float(lengths.max())


def ratios(runs: Runs) -> tuple[float, float]:
    """ln of the fewest and the most tokens per parameter: the least tried, and twice the most."""
    ratio = runs.log_d - runs.log_n
    return float(ratio.min()), float(ratio.max()) + math.log(2)


def alike(point: Point, log_n: float, budget: float) -> bool:
    """Whether a run has this size and budget."""
    size, flops = math.log(point.parameters) - log_n, math.log(point.budget / budget)
    return abs(size) < SAME and abs(flops) < SAME
