"""Does a law foretell? The largest budget is left out, predicted from the rest, and compared.

The split is the one that a plan makes: everything affordable so far, then one step beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.points import Point

LARGEST_SHARE = 0.1
"""Of the runs, by compute, that are left out where runs share no budgets."""
REPLICATES = 200
"""Behind a prediction's interval."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which runs are left out, and in words."""

    held_out: np.ndarray
    rule: str
    flops: float


def split(points: Sequence[Point]) -> Split:
    """The runs of the largest budget; where runs share none, the tenth with the most compute."""
    count = Counter(point.budget for point in points)
    largest = max(count)
    flops = np.array([point.flops for point in points])
    if 2 * len(count) <= len(points):
        chosen = np.array([point.budget == largest for point in points])
        rule = f"the {count[largest]} runs of the largest budget, {largest:.3g} FLOPs"
    else:
        num = max(1, round(LARGEST_SHARE * len(points)))
        chosen = flops >= np.sort(flops)[-num]
        rule = f"the {int(chosen.sum())} runs of most compute, from {flops[chosen].min():.3g} FLOPs"
    return Split(chosen, rule, float(flops[chosen].min()))


@dataclass(frozen=True, slots=True)
class Prediction:
    """A quantity foretold with its 95 % interval, and what it turned out to be."""

    predicted: float
    low: float | None
    high: float | None
    observed: float

    @property
    def log_error(self) -> float:
        """ln of predicted over observed."""
        return float(np.log(self.predicted / self.observed))

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds what was observed."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.observed <= self.high

    def to_json(self) -> dict[str, Any]:
        """Its numbers."""
        return {
            "predicted": self.predicted,
            "low": self.low,
            "high": self.high,
            "observed": self.observed,
            "relative_error": float(np.expm1(self.log_error)),
        }


def predictions(samples: Array, observed: Array, level: float) -> list[Prediction]:
    """From replicates [1 + replicates, quantities], row 0 the prediction."""
    tail = (1 - level) / 2
    rows: list[Prediction] = []
    for column, seen in zip(samples.T, observed, strict=True):
        ends: Sequence[float | None] = (None, None)
        if len(column) > 1:
            ends = [float(x) for x in np.quantile(column[1:], [tail, 1 - tail])]
        rows.append(Prediction(float(column[0]), ends[0], ends[1], float(seen)))
    return rows


def score(rows: Sequence[Prediction]) -> dict[str, float | None]:
    """Mean and root mean square of relative errors, and the share that the intervals hold."""
    errors = np.array([row.log_error for row in rows])
    inside = [row.inside for row in rows if row.inside is not None]
    return {
        "bias": float(errors.mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "inside": float(np.mean(inside)) if inside else None,
    }
