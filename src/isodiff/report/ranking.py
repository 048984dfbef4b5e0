"""Where each family stands: its best run at each budget, its optimum, its price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isodiff.report.folder import Run, StudyFolder
from isodiff.report.schema import Estimated, Validation
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import Minimum

TOLD_APART = 2.0
"""Standard errors that a difference must exceed before a family is called better."""
FAR = 10.0
"""A multiplier that reads the reference law this many times below its budgets is extrapolated."""


@dataclass(frozen=True, slots=True)
class Best:
    """The run of lowest bits per byte among a family's `num_runs` finished ones at a budget."""

    run: Run
    validation: Validation
    num_runs: int

    @property
    def bits(self) -> float:
        """Bits per byte."""
        return self.validation.bits_per_byte.value

    def to_json(self) -> dict[str, Any]:
        """Its id, kind, and both losses with their standard errors."""
        return {
            "run": self.run.record.id,
            "num_runs": self.num_runs,
            "kind": self.validation.kind,
            "bits_per_byte": self.validation.bits_per_byte.model_dump(),
            "nats_per_token": self.validation.nats_per_token.model_dump(),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A family: its best run at each budget, its optimum at the largest fitted one, its price.

    `extrapolation` is how many times below its smallest budget the reference law is read. `scatter_known` is
    whether the intervals hold how runs scatter, and not only how well each is evaluated.
    """

    family: str
    best: dict[float, Best]
    optimum: Minimum | None
    multiplier: Quantity | None
    extrapolation: float | None
    scatter_known: bool

    @property
    def extrapolated(self) -> bool:
        """Whether the multiplier rests on the reference law far outside its budgets."""
        return (self.extrapolation or 0.0) > FAR

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; budgets as a list."""
        return {
            "family": self.family,
            "best": [{"budget": budget, **best.to_json()} for budget, best in self.best.items()],
            "optimum": self.optimum and asdict(self.optimum),
            "multiplier_vs_autoregressive": self.multiplier and asdict(self.multiplier),
            "extrapolation": self.extrapolation,
        }


@dataclass(frozen=True, slots=True)
class Lead:
    """The best family at a budget, the next best, and the bits per byte between them.

    The standard error takes the two evaluations as independent. Runs meet the same windows, which
    makes their difference sharper than that, so it errs on the side of caution.
    """

    budget: float
    first: str
    best: Best
    second: str | None = None
    next_best: Best | None = None
    difference: Estimated | None = None

    @property
    def told_apart(self) -> bool:
        """Whether the difference exceeds its noise."""
        gap = self.difference
        return gap is not None and gap.value > TOLD_APART * gap.standard_error

    def to_json(self) -> dict[str, Any]:
        """Names, difference in bits per byte, and whether it exceeds its noise."""
        return {
            "budget": self.budget,
            "first": self.first,
            "second": self.second,
            "difference": self.difference
            and {
                "value": self.difference.value,
                "standard_error": self.difference.standard_error,
            },
            "told_apart": self.told_apart,
        }


def lead(rows: Sequence[Row], budget: float) -> Lead:
    """Who is ahead at `budget`, where at least one family has a finished run."""
    there = [(row.family, row.best[budget]) for row in rows if budget in row.best]
    there.sort(key=lambda pair: pair[1].bits)
    (first, best), others = there[0], there[1:]
    if not others:
        return Lead(budget, first, best)
    second, next_best = others[0]
    errors = [one.validation.bits_per_byte.standard_error for one in (best, next_best)]
    gap = Estimated(value=next_best.bits - best.bits, standard_error=math.hypot(*errors))
    return Lead(budget, first, best, second, next_best, gap)


def row(study: StudyFolder, family: str) -> Row:
    """What the study found of one family."""
    found: dict[float, Best] = {}
    fit = study.fit(family)
    for budget in study.budgets:
        runs = [
            (run, run.record.validation)
            for run in study.finished
            if run.family == family and run.budget == budget
        ]
        pairs = [(run, validation) for run, validation in runs if validation is not None]
        if pairs:
            best = min(pairs, key=lambda pair: pair[1].bits_per_byte.value)
            found[budget] = Best(*best, num_runs=len(pairs))
    optimum = max(fit.budgets, key=lambda minimum: minimum.compute, default=None)
    scatter_known = fit.noise is None or fit.noise.nats is not None
    price = fit.multiplier_vs_autoregressive
    return Row(family, found, optimum, price, fit.extrapolation, scatter_known)


def counts(study: StudyFolder) -> dict[str, int]:
    """Runs by status; `missing` were planned and have no record."""
    by_status = {"done": 0, "diverged": 0, "failed": 0}
    for run in study.runs:
        by_status[run.record.status] += 1
    planned = study.study.planned_runs or len(study.runs)
    return {**by_status, "missing": max(0, planned - len(study.runs))}
