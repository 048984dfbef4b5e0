"""Where each family stands: its best size at each budget, its optimum, its price; and who is ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from isodiff.report.lead import BestSize, RunScatter, best_size
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import Minimum

FAR = 10.0
"""A multiplier that reads the reference law this many times below its budgets is extrapolated."""
_Unwritten = Field(exclude=True)


def _whole(quantity: Quantity | None) -> dict[str, Any] | None:
    return None if quantity is None else vars(quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRanking:
    """A family: its best sizes by budget, its optimum at the largest fitted one, its price.

    Attributes:
        extrapolation: how many times below its smallest budget the reference law is read.
        scatter_known: whether intervals hold how runs scatter, and not only how well each is evaluated.
    """

    family: str
    best: tuple[BestSize, ...] = ()
    optimum: Minimum | None = None
    multiplier_vs_autoregressive: Annotated[Quantity | None, PlainSerializer(_whole)] = None
    extrapolation: float | None = None
    scatter_known: Annotated[bool, _Unwritten] = False

    @property
    def extrapolated(self) -> bool:
        """Whether the multiplier rests on the reference law far outside its budgets."""
        return (self.extrapolation or 0.0) > FAR

    def at(self, budget: float) -> BestSize | None:
        """The best size at a budget."""
        return next((best for best in self.best if best.budget == budget), None)


def family_ranking(study: StudyFolder, family: str, scatter: RunScatter | None) -> FamilyRanking:
    """What the study found of one family."""
    fit = study.fit(family)
    budgets = sorted({run.budget for run in study.finished})
    return FamilyRanking(
        family=family,
        best=tuple(
            best for budget in budgets if (best := best_size(study, family, budget, scatter))
        ),
        optimum=max(fit.budgets, key=lambda minimum: minimum.compute, default=None),
        multiplier_vs_autoregressive=fit.multiplier_vs_autoregressive,
        extrapolation=fit.extrapolation,
        scatter_known=fit.noise is None or fit.noise.nats is not None,
    )


def run_counts(study: StudyFolder) -> dict[str, int]:
    """Runs by status; `missing` were planned and have no record."""
    by_status = {"done": 0, "diverged": 0, "failed": 0}
    for run in study.runs:
        by_status[run.record.status] += 1
    planned = study.study.planned_runs or len(study.runs)
    return {**by_status, "missing": max(0, planned - len(study.runs))}
