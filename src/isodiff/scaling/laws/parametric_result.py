"""The parametric law as files and reports hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from isodiff.scaling.fitting.bootstrap import Quantity, Resampling
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.fitting.profile_likelihood import Profile
from isodiff.scaling.laws.effective_data import AS_NEW, forecast
from isodiff.scaling.laws.law import (
    Constant,
    FamilyResult,
    Forecast,
    LawResult,
    Span,
)
from isodiff.scaling.laws.load import printed_repetition
from isodiff.scaling.laws.loss_surface import SIX, Cost, Surface, SurfaceConstants
from isodiff.scaling.laws.model_comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class ParametricConstants(SurfaceConstants, FamilyResult):
    """E + A/N^alpha + B/D^beta of a family, all that is needed to read it anywhere: also as printed."""

    cost: Cost = SIX
    validation: RunsHeldOut

    @property
    def held_out_error(self) -> float | None:
        """Of the lowest loss of the largest budget."""
        return self.validation.lowest_error

    def constants(self) -> tuple[Constant, ...]:
        """E, A, B and the exponents."""
        return (
            Constant("E", "nats per token", Quantity(value=self.E)),
            Constant("A", "scale of N", Quantity(value=self.A)),
            Constant("B", "scale of D", Quantity(value=self.B)),
            Constant("alpha", "exponent of N", Quantity(value=self.alpha)),
            Constant("beta", "exponent of D", Quantity(value=self.beta)),
        )

    def predict(self, name: str, budget: float, unique_tokens: float | None) -> Forecast | None:
        """The optimum of fresh text; of repeated text with the R_D that is printed for the family."""
        surface = Surface.of(self.drawn(self.theta))
        rows, known = len(surface.alpha), printed_repetition(name)
        shape = np.full((rows, 2), AS_NEW)  # parameters beyond U_N do not decay
        how = f"no R_D was measured for {name}: repeated text counts as new"
        if known is not None:
            # R_D is spread evenly in ln R_D over its range.
            low, high = np.log(known)
            spread = np.linspace(low, high, max(rows - 1, 1))
            order = np.random.default_rng(0).permutation(len(spread))
            shape[:, 0] = [(low + high) / 2, *spread[order][: rows - 1]]
            how = f"R_D between {known[0]:g} and {known[1]:g}, as printed"
        found = forecast(surface, shape, self.cost, budget, unique_tokens, how)
        return replace(found, optimistic=known is None and found.repetition is not None)


@dataclass(frozen=True, kw_only=True)
class PrintedParametric(LawResult):
    """Constants of every family as a paper prints them."""

    families: Mapping[str, ParametricConstants] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OptimumExponents:
    """Of N* and D* in C, in the middle of the runs' compute."""

    N: float
    D: float
    at_flops: float


@dataclass(frozen=True, kw_only=True)
class ParametricIntervals:
    """Intervals of the constants, and of the exponents of N* and D*; None without replicates."""

    E: Span | None
    A: Span | None
    B: Span | None
    alpha: Span | None
    beta: Span | None
    N: Span | None
    D: Span | None


@dataclass(frozen=True, kw_only=True)
class Starts:
    """How many starts there were, and how many of them ended at the optimum."""

    num: int
    at_the_optimum: int


@dataclass(frozen=True, kw_only=True)
class RelativeScatter:
    """Of the runs about the law: as it is, and as most runs have it."""

    rms: float
    robust: float


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """What the data say of E and of both exponents."""

    E: Profile
    alpha: Profile
    beta: Profile


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best size and tokens at a compute, and their loss; also with the noise of a run."""

    flops: float
    N: float
    N_interval: Span | None
    D: float
    L: float
    L_interval: Span | None
    L_interval_of_a_run: Span | None


@dataclass(frozen=True, kw_only=True)
class FittedRun:
    """A run, its residual of log loss, and how far leaving it out moves the law."""

    id: str
    parameters: float
    tokens: float
    flops: float
    nats: float
    residual: float
    moves_N_exponent: float | None
    moves_N_exponent_by_errors: float | None
    moves_E: float


@dataclass(frozen=True, kw_only=True)
class ParametricFamily(ParametricConstants):
    """The parametric law of a family: its intervals, its checks, its runs."""

    num_points: int
    objective: float
    exponents: OptimumExponents
    intervals: ParametricIntervals
    starts: Starts
    noise: RelativeScatter
    profiles: Profiles
    optima: tuple[Optimum, ...]
    runs: tuple[FittedRun, ...]

    def scatter(self, nats: float) -> float:
        """Of runs about the law, rms."""
        return self.noise.rms


@dataclass(frozen=True, kw_only=True)
class ParametricResult(LawResult):
    """The parametric law of every family: `parametric.json`."""

    on_top: ClassVar = (
        *("E", "A", "B", "alpha", "beta", "objective", "exponents", "intervals", "num_points"),
    )
    resampling: Resampling = "case"
    delta: float = 0.0
    families: Mapping[str, ParametricFamily] = field(default_factory=dict)
    comparison: Comparison | None = None
