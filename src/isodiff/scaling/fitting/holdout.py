"""Does a law predict? The largest budget is left out, predicted from the rest, and compared.

The split is the one that a plan makes: everything affordable so far, then one step beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.bootstrap import interval
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.points import Point
from isodiff.serialization import IfAny

_LARGEST_SHARE = 0.1
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
    budgets, flops = np.array([(point.budget, point.flops) for point in points]).T
    if 2 * len(np.unique(budgets)) <= len(points):
        chosen = budgets == budgets.max()
        rule = f"the {chosen.sum()} runs of the largest budget, {budgets.max():.3g} FLOPs"
    else:
        chosen = flops >= np.sort(flops)[-max(1, round(_LARGEST_SHARE * len(points)))]
        rule = f"the {chosen.sum()} runs of most compute, from {flops[chosen].min():.3g} FLOPs"
    return Split(chosen, rule, float(flops[chosen].min()))


@dataclass(frozen=True, kw_only=True)
class HeldOutPrediction:
    """A quantity predicted with its 95 % interval, and what it turned out to be."""

    predicted: float
    low: float | None
    high: float | None
    observed: float
    relative_error: float

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


@dataclass(frozen=True, kw_only=True)
class RunPrediction(HeldOutPrediction):
    """The loss of a run."""

    id: str
    parameters: float
    tokens: float


@dataclass(frozen=True, kw_only=True)
class RunsHeldOut:
    """Runs left out and predicted from the others; or the reason why not.

    Mean and root mean square of the errors of log loss, and the share that the intervals hold (None
    without any).
    """

    rule: IfAny[str] = None
    reason: IfAny[str] = None
    extrapolation: IfAny[float] = None
    bias: IfAny[float] = None
    rmse: IfAny[float] = None
    inside: float | None = None
    runs: IfAny[tuple[RunPrediction, ...]] = None

    @property
    def lowest_error(self) -> float | None:
        """Relative error of the lowest loss, as IsoFLOP laws are held to it: minima of two parabolas in ln N.

        One goes through the losses predicted, one through those observed; without both minima, of the mean.
        """
        if not self.runs:
            return None
        log_n = np.log([run.parameters for run in self.runs])
        predicted, observed = (
            _lowest(log_n, np.array([getattr(run, name) for run in self.runs]))
            for name in ("predicted", "observed")
        )
        if predicted is None or observed is None:
            return None if self.bias is None else abs(float(np.expm1(self.bias)))
        return abs(predicted / observed - 1)


def _lowest(log_n: Array, nats: Array) -> float | None:
    """The minimum of the parabola through losses; None where it has none among the sizes."""
    if len(np.unique(log_n)) < 3:
        return None
    bend, slope, level = np.polyfit(log_n - log_n.mean(), nats, 2)
    if bend <= 0:
        return None
    lowest = -slope / (2 * bend) + log_n.mean()
    inside = log_n.min() <= lowest <= log_n.max()
    return float(level - slope**2 / (4 * bend)) if inside else None


def predictions(samples: Array, observed: Array) -> list[HeldOutPrediction]:
    """From replicates [1 + replicates, quantities], row 0 the prediction."""
    rows: list[HeldOutPrediction] = []
    for column, seen in zip(samples.T, observed, strict=True):
        low, high = interval(column[1:], fewest=1) or (None, None)
        found, error = float(column[0]), float(np.expm1(np.log(column[0] / seen)))
        row = HeldOutPrediction(
            predicted=found, low=low, high=high, observed=float(seen), relative_error=error
        )
        rows.append(row)
    return rows


def score(
    rule: str, extrapolation: float, points: Sequence[Point], rows: Sequence[HeldOutPrediction]
) -> RunsHeldOut:
    """How well the losses of `points` were predicted."""
    errors = np.array([row.log_error for row in rows])
    inside = [row.inside for row in rows if row.inside is not None]
    return RunsHeldOut(
        rule=rule,
        extrapolation=extrapolation,
        bias=float(errors.mean()),
        rmse=float(np.sqrt((errors**2).mean())),
        inside=float(np.mean(inside)) if inside else None,
        runs=tuple(
            RunPrediction(id=p.id, parameters=p.parameters, tokens=p.tokens, **vars(row))
            for p, row in zip(points, rows, strict=True)
        ),
    )
