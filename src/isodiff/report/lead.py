"""Who is ahead at a budget: means over seeds, with all that makes them uncertain.

A family's number at a budget is that of its best size: the lowest mean over seeds, m = mean_k y_k. Two of
them differ by m_2 - m_1, with the variance

    s^2 (1/K_1 + 1/K_2) + e^2,                                                               (1)

s^2 the variance between runs of one spec (`run_scatter`) and e the error of the difference by evaluating on
these windows, from the deviations that both have on them (runs/validation.py). F families are told apart
where the first is below each other by more than Student's quantile at the one-sided level

    .04 / (F S),                                                                             (2)

S the sizes of the first, of which the luckiest was taken. Of equal families the first is below any one other
only if one of its sizes is, so a false "is best" has at most the chance of 4 % (Bonferroni);
reproductions/coverage counts it.

Families that are not told apart would be after m further seeds of each one's best size, by (1) and (2) with
K + m for K, if the difference and the scatter stay as they are (`further_seeds`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from isodiff.record import HeldOutLoss, Kind, Mean
from isodiff.report.study_folder import StudyFolder, StudyRun
from isodiff.serialization import canonical, to_json

_FALSE_LEAD = 0.04
"""Chance that one of several equal families is called best; 5 % where noise is not quite normal."""
_MOST_SEEDS = 1000  # that are looked for
_ENOUGH = 8
"""Degrees of freedom from which replicated runs alone say how runs scatter."""
_Unwritten = Field(exclude=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScatter:
    """Standard deviation between runs of one spec, bits per byte: of all families, and of each that shows it.

    Attributes:
        source: runs that differ in their seed alone, or the residuals of the IsoFLOP parabolas.
    """

    bits: float
    degrees_of_freedom: int
    source: Literal["seeds", "parabolas"]
    families: dict[str, float] = field(default_factory=dict)

    def of(self, family: str) -> float:
        """A family's own where that is larger: it may scatter more than the others."""
        return max(self.bits, self.families.get(family, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSize:
    """A family at a budget: the lowest mean over seeds among its `num_sizes`, and the runs that it is of.

    Standard errors hold the evaluation and, where it is known, the scatter between runs.
    """

    budget: float
    runs: tuple[str, ...]
    num_sizes: int
    kind: Kind
    bits_per_byte: Mean
    nats_per_token: Mean
    evaluation_error: float
    scatter: Annotated[float | None, _Unwritten] = None
    deviations: Annotated[tuple[float, ...], _Unwritten] = ()
    text: Annotated[str, _Unwritten] = ""

    @property
    def bits(self) -> float:
        """Bits per byte."""
        return self.bits_per_byte.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of two means, bits per byte."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The best family at a budget, the next best, and the bits per byte between them.

    Attributes:
        told_apart: whether the first is below every other by more than noise explains: Eq. (2).
        tied: those that it is not told apart from.
        further_seeds: of the best sizes of all these, after which it would be; None if never.
        scatter: between runs; None where nothing shows it, and then nobody is told apart.
    """

    budget: float
    first: str
    second: str | None = None
    difference: Difference | None = None
    told_apart: bool = False
    tied: tuple[str, ...] = ()
    further_seeds: int | None = None
    scatter: RunScatter | None = None
    best: Annotated[BestSize, _Unwritten]
    next_best: Annotated[BestSize | None, _Unwritten] = None


def run_scatter(study: StudyFolder) -> RunScatter | None:
    """By seeds where they have enough degrees of freedom, or more than the residuals of parabolas have."""
    seeds, fitted = _by_seeds(study), _by_parabolas(study)
    if seeds and (
        not fitted or seeds.degrees_of_freedom >= min(_ENOUGH, fitted.degrees_of_freedom)
    ):
        return seeds
    return fitted


def best_size(
    study: StudyFolder, family: str, budget: float, scatter: RunScatter | None
) -> BestSize | None:
    """A family at a budget; None without finished runs."""
    runs = [run for run in study.finished if (run.family, run.budget) == (family, budget)]
    sizes = [
        _of_size(alike, None if scatter is None else scatter.of(family))
        for alike in _alike(runs).values()
    ]
    if not sizes:
        return None
    return replace(min(sizes, key=lambda one: one.bits), num_sizes=len(sizes))


def lead_of(
    families: Sequence[tuple[str, BestSize]], budget: float, scatter: RunScatter | None
) -> Lead:
    """Who is ahead among at least one family."""
    (first, best), *others = sorted(families, key=lambda pair: pair[1].bits)
    if not others:
        return Lead(budget=budget, first=first, best=best, scatter=scatter)
    gaps = [_difference(best, other) for _, other in others]
    quantile = math.inf  # with nothing that shows scatter
    if scatter is not None:
        level = _FALSE_LEAD / (len(families) * best.num_sizes)
        quantile = _quantile(level, scatter.degrees_of_freedom)
    pairs = zip(others, gaps, strict=True)
    tied = dict(pair for pair, gap in pairs if not gap.value > quantile * gap.standard_error)
    return Lead(
        budget=budget,
        first=first,
        second=others[0][0],
        difference=gaps[0],
        told_apart=not tied,
        tied=tuple(tied),
        further_seeds=_further_seeds(best, tuple(tied.values()), quantile),
        scatter=scatter,
        best=best,
        next_best=others[0][1],
    )


@cache
def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t as student  # a second to import

    return float(student.isf(level, freedom))


def _further_seeds(best: BestSize, tied: Sequence[BestSize], quantile: float) -> int | None:
    """The fewest after which the best is told apart from all that it is tied with."""

    def decided(further: int) -> bool:
        gaps = [_difference(best, other, further) for other in tied]
        return all(gap.value > quantile * gap.standard_error for gap in gaps)

    return next(filter(decided, range(1, _MOST_SEEDS + 1)), None) if tied else None


def _difference(best: BestSize, other: BestSize, further: int = 0) -> Difference:
    """Eq. (1), after so many further seeds of both."""
    between = [(one.scatter or 0.0) ** 2 / (len(one.runs) + further) for one in (best, other)]
    if best.deviations and best.text == other.text:
        evaluation = _error_of(np.subtract(best.deviations, other.deviations))
    else:
        evaluation = math.hypot(best.evaluation_error, other.evaluation_error)
    return Difference(
        value=other.bits - best.bits, standard_error=math.sqrt(sum(between) + evaluation**2)
    )


def _error_of(deviations: np.ndarray) -> float:
    num = len(deviations)
    return math.sqrt(num / max(1, num - 1) * float(deviations @ deviations))


def _alike(runs: Sequence[StudyRun]) -> dict[str, list[StudyRun]]:
    """Runs that differ in their seed alone, together."""
    found: dict[str, list[StudyRun]] = defaultdict(list)
    for run in runs:
        found[canonical(to_json(replace(run.record.spec, seed=0)))].append(run)
    return found


def _of_size(runs: Sequence[StudyRun], scatter: float | None) -> BestSize:
    """The mean over seeds."""
    losses = [_loss(run) for run in runs]
    parts = [loss.deviations or () for loss in losses]
    paired = len({len(one) for one in parts}) == 1
    deviations = np.mean(parts, 0) if paired else np.zeros(0)
    spec = runs[0].record.spec
    text = [spec.corpus, spec.length, spec.validation, len(deviations)]
    errors = [loss.bits_per_byte.standard_error for loss in losses]
    evaluation = _error_of(deviations) if len(deviations) else float(np.mean(errors))
    bits, nats = (
        float(np.mean([getattr(loss, unit).value for loss in losses]))
        for unit in ("bits_per_byte", "nats_per_token")
    )
    error = math.hypot(evaluation, (scatter or 0.0) / math.sqrt(len(runs)))
    return BestSize(
        budget=runs[0].budget,
        runs=tuple(run.record.id for run in runs),
        num_sizes=1,
        kind=losses[0].kind,
        bits_per_byte=Mean(bits, error, len(runs)),
        nats_per_token=Mean(nats, error * nats / bits, len(runs)),
        evaluation_error=evaluation,
        scatter=scatter,
        deviations=tuple(deviations.tolist()),
        text=canonical(text),
    )


def _loss(run: StudyRun) -> HeldOutLoss:
    loss = run.record.validation
    assert loss is not None
    return loss


def _by_seeds(study: StudyFolder) -> RunScatter | None:
    squares: dict[str, tuple[float, int]] = {}
    for family in study.families:
        runs = [run for run in study.finished if run.family == family]
        bits = [
            np.array([_loss(run).bits_per_byte.value for run in alike])
            for alike in _alike(runs).values()
        ]
        total = sum(float(((one - one.mean()) ** 2).sum()) for one in bits)
        squares[family] = total, sum(len(one) - 1 for one in bits)
    return _pooled(squares, "seeds")


def _by_parabolas(study: StudyFolder) -> RunScatter | None:
    squares: dict[str, tuple[float, int]] = {}
    for family in study.families:
        noise = study.fit(family).noise
        losses = [_loss(run) for run in study.finished if run.family == family]
        if noise is None or noise.nats is None or not losses:
            continue
        bits = np.mean([one.bits_per_byte.value / one.nats_per_token.value for one in losses])
        freedom = noise.degrees_of_freedom
        squares[family] = float(noise.nats * bits) ** 2 * freedom, freedom
    return _pooled(squares, "parabolas")


def _pooled(
    squares: dict[str, tuple[float, int]], source: Literal["seeds", "parabolas"]
) -> RunScatter | None:
    """From the sums of squares and degrees of freedom of families."""
    freedom = sum(count for _, count in squares.values())
    if not freedom:
        return None
    return RunScatter(
        bits=math.sqrt(sum(total for total, _ in squares.values()) / freedom),
        degrees_of_freedom=freedom,
        source=source,
        families={
            name: math.sqrt(total / count) for name, (total, count) in squares.items() if count
        },
    )
