"""The law of repeated data as files and reports hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.laws.effective_data import forecast
from isodiff.scaling.laws.law import Constant, FamilyResult, Forecast, LawResult, OpenSpan
from isodiff.scaling.laws.loss_surface import Cost, Surface, SurfaceConstants
from isodiff.scaling.laws.model_comparison import Rival


@dataclass(frozen=True, kw_only=True)
class DecayConstants:
    """R_D and R_N, and the objective of the fit."""

    R_D: float
    R_N: float
    objective: float


@dataclass(frozen=True, kw_only=True)
class DecayIntervals:
    """Values that the data do not reject, open where they do not bound them."""

    R_D: OpenSpan
    R_N: OpenSpan


@dataclass(frozen=True, kw_only=True)
class DecayIdentified:
    """Whether the data bound R_D and R_N on both sides."""

    R_D: bool
    R_N: bool


@dataclass(frozen=True, kw_only=True)
class FreshConstants(SurfaceConstants):
    """Constants of fresh data, as printed or fitted."""

    printed: bool


@dataclass(frozen=True, kw_only=True)
class UnimodalConstants:
    """D' = U e^p exp(-((e - 1) / e_p)^gamma), e_p = c (U/1e9)^m (1e9/N)^k."""

    p: float
    gamma: float
    c: float
    m: float
    k: float
    objective: float


@dataclass(frozen=True, kw_only=True)
class DataConstrainedFamily(DecayConstants, FamilyResult):
    """R_D and R_N of a family with their profiles [[value, objective], ...], and the rival forms."""

    num_points: int
    max_epochs: float
    intervals: DecayIntervals
    identified: DecayIdentified
    published: DecayConstants | None
    profile: tuple[tuple[float, float], ...]
    profile_R_N: tuple[tuple[float, float], ...]
    fresh: FreshConstants
    all_fitted_together: DecayConstants | None
    models: tuple[Rival, ...]
    unimodal: UnimodalConstants
    cost: Cost
    validation: RunsHeldOut

    @property
    def held_out_error(self) -> float | None:
        """Of the runs of most compute, rms."""
        return self.validation.rmse

    def constants(self) -> tuple[Constant, ...]:
        """R_D and R_N."""
        d, n = self.intervals.R_D, self.intervals.R_N
        return (
            Constant("R_D", "epochs that pay", Quantity(value=self.R_D, low=d[0], high=d[1])),
            Constant("R_N", "sizes that pay", Quantity(value=self.R_N, low=n[0], high=n[1])),
        )

    def predict(self, name: str, budget: float, unique_tokens: float | None) -> Forecast | None:
        """The optimum of fresh text, or of repeated text by this law's own R_D and R_N."""
        rows = self.drawn((*self.fresh.theta, np.log(self.R_D), np.log(self.R_N)))
        how = "R_D and R_N of the law"
        return forecast(Surface.of(rows[:, :5]), rows[:, 5:], self.cost, budget, unique_tokens, how)


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The compute from which a family is better than the reference on a text; None where never."""

    family: str
    unique_tokens: float
    flops: float | None


@dataclass(frozen=True, kw_only=True)
class DataConstrainedResult(LawResult):
    """The law of repeated data of every family: `repeated.json`."""

    on_top: ClassVar = (
        *("R_D", "R_N", "objective", "published", "profile", "intervals", "num_points"),
    )
    delta: float = 0.0
    families: Mapping[str, DataConstrainedFamily] = field(default_factory=dict)
    overtaking: tuple[Crossover, ...] = ()
