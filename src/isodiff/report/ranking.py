"""Where each family stands: its best run at each budget, its optimum, its price; and who is ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from isodiff.record import Kind, Mean
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import Minimum

_TOLD_APART = 2.0
"""Standard errors that a difference must exceed before a family is called better."""
FAR = 10.0
"""A multiplier that reads the reference law this many times below its budgets is extrapolated."""
_Unwritten = Field(exclude=True)


def _whole(quantity: Quantity | None) -> dict[str, Any] | None:
    return None if quantity is None else vars(quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRun:
    """The run of lowest bits per byte among a family's `num_runs` finished ones at a budget."""

    budget: float
    run: str
    num_runs: int
    kind: Kind
    bits_per_byte: Mean
    nats_per_token: Mean

    @property
    def bits(self) -> float:
        """Bits per byte."""
        return self.bits_per_byte.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRanking:
    """A family: its best runs by budget, its optimum at the largest fitted one, its price.

    Attributes:
        extrapolation: how many times below its smallest budget the reference law is read.
        scatter_known: whether intervals hold how runs scatter, and not only how well each is evaluated.
    """

    family: str
    best: tuple[BestRun, ...] = ()
    optimum: Minimum | None = None
    multiplier_vs_autoregressive: Annotated[Quantity | None, PlainSerializer(_whole)] = None
    extrapolation: float | None = None
    scatter_known: Annotated[bool, _Unwritten] = False

    @property
    def extrapolated(self) -> bool:
        """Whether the multiplier rests on the reference law far outside its budgets."""
        return (self.extrapolation or 0.0) > FAR

    def at(self, budget: float) -> BestRun | None:
        """The best run at a budget."""
        return next((best for best in self.best if best.budget == budget), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of two means, bits per byte."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The best family at a budget, the next best, and the bits per byte between them.

    The standard error takes the two evaluations as independent. Runs meet the same windows, which
    makes their difference sharper than that, so it errs on the side of caution.
    `told_apart`: whether the difference exceeds its noise.
    """

    budget: float
    first: str
    second: str | None = None
    difference: Difference | None = None
    told_apart: bool = False
    best: Annotated[BestRun, _Unwritten]
    next_best: Annotated[BestRun | None, _Unwritten] = None


def family_ranking(study: StudyFolder, family: str) -> FamilyRanking:
    """What the study found of one family."""
    fit = study.fit(family)
    budgets = sorted({run.budget for run in study.finished})
    return FamilyRanking(
        family=family,
        best=tuple(best for budget in budgets if (best := _best(study, family, budget))),
        optimum=max(fit.budgets, key=lambda minimum: minimum.compute, default=None),
        multiplier_vs_autoregressive=fit.multiplier_vs_autoregressive,
        extrapolation=fit.extrapolation,
        scatter_known=fit.noise is None or fit.noise.nats is not None,
    )


def _best(study: StudyFolder, family: str, budget: float) -> BestRun | None:
    found = [
        (validation.bits_per_byte.value, run.record.id, validation)
        for run in study.finished
        if run.family == family and run.budget == budget and (validation := run.record.validation)
    ]
    if not found:
        return None
    _, run, validation = min(found, key=lambda one: one[0])
    return BestRun(
        budget=budget,
        run=run,
        num_runs=len(found),
        kind=validation.kind,
        bits_per_byte=validation.bits_per_byte,
        nats_per_token=validation.nats_per_token,
    )


def lead(rankings: Sequence[FamilyRanking], budget: float) -> Lead:
    """Who is ahead at `budget`, where at least one family has a finished run."""
    there = [(one.family, best) for one in rankings if (best := one.at(budget))]
    (first, best), *others = sorted(there, key=lambda pair: pair[1].bits)
    if not others:
        return Lead(budget=budget, first=first, best=best)
    second, other = others[0]
    error = math.hypot(best.bits_per_byte.standard_error, other.bits_per_byte.standard_error)
    gap = other.bits - best.bits
    return Lead(
        budget=budget,
        first=first,
        second=second,
        difference=Difference(value=gap, standard_error=error),
        told_apart=gap > _TOLD_APART * error,
        best=best,
        next_best=other,
    )


def run_counts(study: StudyFolder) -> dict[str, int]:
    """Runs by status; `missing` were planned and have no record."""
    by_status = {"done": 0, "diverged": 0, "failed": 0}
    for run in study.runs:
        by_status[run.record.status] += 1
    planned = study.study.planned_runs or len(study.runs)
    return {**by_status, "missing": max(0, planned - len(study.runs))}
