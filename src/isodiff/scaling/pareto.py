r"""The speed-quality frontier: which sampler is best at each throughput, and how surely.

A point is a run with one sampler: tokens per second against a loss in nats (of generative perplexity, or of
bits per byte). Point a dominates b if it is no slower and no worse, and better in one. Required r tokens per
second, the best of the points at least that fast is taken:

    best(r) = min { loss_i : speed_i >= r },                                                      (1)

a staircase. Every quantity is recomputed on replicates in which ln speed and loss are normal about their
measured values with their standard errors; a confidence is the share of replicates that agree, averaged over
the range of throughputs that it speaks of (evenly in ln r). The area of a family is the dominated area

    A = int max(0, worst - best(r)) d ln r,                                                       (2)

over the measured throughputs, worst being the largest loss of any point (hypervolume, two objectives).

Points whose texts have less entropy than a share of held-out text's are *degenerate*: they are shown, but win
nothing, since repeating oneself buys a low perplexity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import Quantity, interval
from isodiff.scaling.fitting.power_law import Array

REPLICATES = 1000
_GRID = 24
"""Throughputs at which a range is asked who wins."""


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """A run with one sampler; its JSON leaves out what the range or row that holds it says.

    Attributes:
        loss: nats, the smaller the better; `loss_se` its standard error.
        tokens_per_second: median; `log_speed_se` is the standard error of its logarithm.
        budget: training FLOPs of the run.
        degenerate: entropy too far below that of held-out text, or no speed that counts: wins nothing.
    """

    run: str
    budget: float
    sampler: str
    steps: int | None = None
    tokens_per_second: float
    loss: float
    family: Annotated[str, Field(exclude=True)] = ""
    log_speed_se: Annotated[float, Field(exclude=True)] = 0.0
    loss_se: Annotated[float, Field(exclude=True)] = 0.0
    degenerate: Annotated[bool, Field(exclude=True)] = False

    @property
    def way(self) -> tuple[str, str]:
        """What wins a range: family and sampler."""
        return self.family, self.sampler


@dataclass(frozen=True, kw_only=True)
class ThroughputRange:
    """Required tokens per second (from, to] for which one family and sampler is best, how surely.

    Attributes:
        settings: its points on the frontier, slowest (and best) first; the last is as fast as the end.
    """

    tokens_per_second_from: float
    tokens_per_second_to: float
    family: str
    sampler: str
    confidence: float
    settings: Annotated[tuple[FrontierPoint, ...], Field(min_length=1)]


class Frontier:
    """Points with replicates of their measurements: row 0 as measured."""

    def __init__(
        self, points: Sequence[FrontierPoint], *, replicates: int = REPLICATES, seed: int = 0
    ) -> None:
        """Degenerate points are kept for `dominated` and left out of everything that can be won."""
        self.points = tuple(points)
        self.eligible = tuple(point for point in points if not point.degenerate)
        fresh = np.random.default_rng(seed).standard_normal((2, replicates, len(self.eligible)))
        log_speed = np.log([p.tokens_per_second for p in self.eligible])
        speed_noise = fresh[0] * [p.log_speed_se for p in self.eligible]
        loss = np.array([p.loss for p in self.eligible])
        loss_noise = fresh[1] * [p.loss_se for p in self.eligible]
        self.log_speed = np.vstack([log_speed, log_speed + speed_noise])
        self.loss = np.vstack([loss, loss + loss_noise])

    def dominated(self) -> list[bool]:
        """Of every point as measured, degenerate ones included: whether an eligible one is better."""
        return [any(dominates(other, point) for other in self.eligible) for point in self.points]

    def winner(self, rate: float, rows: slice = slice(None)) -> NDArray[np.int64]:
        """Index of the best eligible point at `rate` in each replicate; -1 where none is that fast."""
        loss = np.where(self.log_speed[rows] >= np.log(rate), self.loss[rows], np.inf)
        return np.where(np.isfinite(loss.min(1)), loss.argmin(1), -1)

    def verdict(self) -> list[ThroughputRange]:
        """Who wins which throughputs: neighboring ranges of one family and sampler are one."""
        ranges: list[ThroughputRange] = []
        low = 0.0
        for way, group in groupby(_undominated(self.eligible), key=lambda point: point.way):
            points = tuple(group)
            high = points[-1].tokens_per_second
            ranges.append(
                ThroughputRange(
                    tokens_per_second_from=low,
                    tokens_per_second_to=high,
                    family=way[0],
                    sampler=way[1],
                    confidence=self._confidence(low, high, way),
                    settings=points,
                )
            )
            low = high
        return ranges

    def _confidence(self, low: float, high: float, way: tuple[str, str]) -> float:
        """Share of replicates and throughputs of a range at which this family and sampler win.

        A range that begins at 0 is asked from half the speed of the slowest eligible point on.
        """
        floor = min(p.tokens_per_second for p in self.eligible) / 2
        start, stop = np.log(max(low, min(floor, high))), np.log(high)
        agrees = np.array([other.way == way for other in self.eligible] + [False])
        middles = start + (np.arange(_GRID) + 0.5) / _GRID * (stop - start)
        rows = slice(1 if len(self.loss) > 1 else 0, None)
        shares = [agrees[self.winner(np.exp(rate), rows)].mean() for rate in middles]
        return float(np.mean(shares))

    def area(self, chosen: Callable[[FrontierPoint], bool]) -> Quantity:
        """Eq. (2) for the eligible points `chosen`."""
        columns = [i for i, point in enumerate(self.eligible) if chosen(point)]
        worst = max((point.loss for point in self.points), default=0.0)
        start = min((point.tokens_per_second for point in self.points), default=1.0)
        areas = staircase_area(
            self.log_speed[:, columns], self.loss[:, columns], worst, float(np.log(start))
        )
        low, high = interval(areas[1:]) or (None, None)
        return Quantity(value=float(areas[0]), low=low, high=high)

    def recommend(self, rate: float, budget: float | None = None) -> FrontierPoint:
        """The best eligible point at least `rate` tokens per second fast, trained within `budget` FLOPs.

        Raises:
            InputError: no point is that fast or that cheap.
        """
        affordable = [p for p in self.eligible if budget is None or p.budget <= budget * 1.005]
        if not affordable:
            raise InputError(
                f"no run was trained within {budget:.3g} FLOPs; the cheapest took "
                f"{min(p.budget for p in self.eligible):.3g}"
            )
        fast = [p for p in affordable if p.tokens_per_second >= rate]
        if not fast:
            most = max(p.tokens_per_second for p in affordable)
            raise InputError(
                f"nothing measured here writes {rate:g} tokens/s; the fastest writes {most:.4g}"
            )
        return min(fast, key=lambda p: p.loss)


def _undominated(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Slowest first."""
    kept = [p for p in points if not any(dominates(other, p) for other in points)]
    return sorted(kept, key=lambda p: p.tokens_per_second)


def dominates(one: FrontierPoint, other: FrontierPoint) -> bool:
    """Whether `one` is no slower and no worse than `other`, and better in one."""
    faster = one.tokens_per_second - other.tokens_per_second
    better = other.loss - one.loss
    return faster >= 0 and better >= 0 and (faster > 0 or better > 0)


def staircase_area(log_speed: Array, loss: Array, worst: float, start: float) -> Array:
    """Area between best(r) of Eq. (1) and `worst`, for ln r from `start` on: of points [..., n], [...]."""
    fastest = np.argsort(-log_speed, axis=-1)
    edge = np.maximum(np.take_along_axis(log_speed, fastest, -1), start)
    best = np.minimum.accumulate(np.take_along_axis(loss, fastest, -1), axis=-1)
    width = -np.diff(edge, axis=-1, append=start)
    parts = np.maximum(0.0, worst - best) * width
    return sum(parts.T, np.zeros(parts.shape[:-1]))


def at_rate(points: Sequence[FrontierPoint], rate: float) -> float | None:
    """Loss at `rate` between the non-dominated of `points`, linear in ln speed; None beyond the fastest.

    Steps are a dial that can be turned between two measured settings; below the slowest point its loss holds.
    """
    kept = _undominated(points)
    if not kept or rate > kept[-1].tokens_per_second:
        return None
    speeds = np.log([p.tokens_per_second for p in kept])
    return float(np.interp(np.log(rate), speeds, [p.loss for p in kept]))
