"""The law of repeated data as files and reports hold it, and how it comes from a fit: R_D and R_N, what the
data know of them, rival forms, the runs of most compute predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL, Quantity, noise
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.fitting.huber import DELTA, temperature
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.fitting.profile_likelihood import Profile, profile
from isodiff.scaling.laws.data_constrained import (
    R_STARTS,
    DataConstrainedFamilyFit,
    DataConstrainedFit,
    Fitter,
    Worth,
    first_guess,
    fit_data_constrained,
    fit_worth,
)
from isodiff.scaling.laws.effective_data import crossover, forecast
from isodiff.scaling.laws.law import (
    REFERENCE,
    Constant,
    FamilyResult,
    Forecast,
    Law,
    LawResult,
    OpenSpan,
    generator,
)
from isodiff.scaling.laws.load import printed
from isodiff.scaling.laws.loss_surface import Cost, Surface, SurfaceConstants
from isodiff.scaling.laws.model_comparison import Rival, rivals
from isodiff.scaling.laws.parametric import Runs, falling
from isodiff.scaling.laws.parametric_diagnostics import hold_out
from isodiff.scaling.points import Points

_SCANNED = np.geomspace(0.1, 1e5, 61)
"""Values of R_D and of R_N whose profiles are drawn."""
_BEYOND = np.log(100.0)
"""How far past the largest compute, in ln C, a crossover is looked for."""


@dataclass(frozen=True, kw_only=True)
class DecayConstants:
    """R_D and R_N, and the objective of the fit."""

    R_D: float
    R_N: float
    objective: float


@dataclass(frozen=True, kw_only=True)
class _DecayIntervals:
    """Values that the data do not reject, open where they do not bound them."""

    R_D: OpenSpan
    R_N: OpenSpan


@dataclass(frozen=True, kw_only=True)
class _DecayIdentified:
    R_D: bool
    R_N: bool


@dataclass(frozen=True, kw_only=True)
class _FreshConstants(SurfaceConstants):
    printed: bool


@dataclass(frozen=True, kw_only=True)
class _UnimodalConstants:
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
    intervals: _DecayIntervals
    identified: _DecayIdentified
    published: DecayConstants | None
    profile: tuple[tuple[float, float], ...]
    profile_R_N: tuple[tuple[float, float], ...]
    fresh: _FreshConstants
    all_fitted_together: DecayConstants | None
    models: tuple[Rival, ...]
    unimodal: _UnimodalConstants
    cost: Cost
    validation: RunsHeldOut

    @property
    def held_out_error(self) -> float | None:
        """Of the lowest loss of the runs of most compute."""
        return self.validation.lowest_error

    def constants(self) -> tuple[Constant, ...]:
        """R_D and R_N."""
        (d, d_high), (n, n_high) = self.intervals.R_D, self.intervals.R_N
        return (
            Constant("R_D", "epochs that pay", Quantity(value=self.R_D, low=d, high=d_high)),
            Constant("R_N", "sizes that pay", Quantity(value=self.R_N, low=n, high=n_high)),
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


def _diagnose_data_constrained(fit: DataConstrainedFit) -> DataConstrainedResult:
    families = {name: _diagnosed(family, fit.data.source) for name, family in fit.families.items()}
    as_printed = all(family.printed is not None for family in fit.families.values())
    fresh = "as the paper printed them" if as_printed else "fitted together with R_D and R_N"
    protocol = (
        "Per family L = E + A/N'^alpha + B/D'^beta with D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' "
        f"likewise; constants of fresh data {fresh}; sum of Huber's loss (delta "
        f"{DELTA:g}) of log loss; {LEVEL:.0%} intervals from profile likelihoods, open where the data "
        "do not bound them"
    )
    return fit.as_result(
        DataConstrainedResult,
        families,
        protocol,
        _warnings(families),
        delta=DELTA,
        overtaking=_crossovers(fit),
    )


def _diagnosed(family: DataConstrainedFamilyFit, source: str) -> DataConstrainedFamily:
    worth, runs = family.saturating, family.runs
    r_d, r_n = _drawn(worth, 5), _drawn(worth, 6)
    known, together = printed(source, "repeated", family.name), None
    if family.printed is not None:  # the same with the constants of fresh data fitted too
        guess = first_guess(family.name, runs)
        together = _constants(Fitter(runs, together=True).saturating(guess))
    return DataConstrainedFamily(
        kind=runs.points[0].kind,
        num_points=len(runs.points),
        max_epochs=float(worth.law.at.epochs.max()),
        **vars(_constants(worth)),
        intervals=_DecayIntervals(R_D=(r_d.low, r_d.high), R_N=(r_n.low, r_n.high)),
        identified=_DecayIdentified(R_D=r_d.identified, R_N=r_n.identified),
        published=None if known is None else DecayConstants(**known),
        profile=r_d.curve,
        profile_R_N=r_n.curve,
        fresh=_FreshConstants(
            printed=family.printed is not None, **vars(worth.surface.constants())
        ),
        all_fitted_together=together,
        models=_forms(family),
        unimodal=_unimodal(family.unimodal),
        cost=runs.cost,
        range=runs.ranges,
        validation=hold_out(runs, partial(_predicted, family)),
        draws=falling((*NAMES, *worth.law.form.names), worth.uncentered(family.replicates)),
    )


def _constants(worth: Worth) -> DecayConstants:
    return DecayConstants(R_D=worth.constant(0), R_N=worth.constant(1), objective=worth.objective)


def _drawn(worth: Worth, column: int) -> Profile:
    """The profile of R_D or R_N; every value starts from several of the other."""
    starts = np.repeat(worth.theta[None], 1 + len(R_STARTS), axis=0)
    starts[1:, 11 - column] = R_STARTS
    y = worth.runs.log_nats
    return profile(worth.law, starts, y, column, _SCANNED, log=True, fixed=~worth.free)


def _predicted(family: DataConstrainedFamilyFit, rest: Runs, left: Runs) -> Array:
    fewer = fit_worth(family.name, rest, family.printed, len(family.replicates), 0)
    worth, rng = fewer.saturating, generator(0, family.name, "new runs")
    law = worth.predict(np.vstack([worth.theta[None], fewer.replicates]), left)
    fresh = noise(worth.residuals, worth.num_free, law[1:].shape, rng)
    return np.vstack([law[:1], law[1:] + fresh])


def _forms(family: DataConstrainedFamilyFit) -> tuple[Rival, ...]:
    """The rival forms, on the same constants of fresh data."""
    forms = {
        "as good as new": family.as_new,
        "saturating": family.saturating,
        "unimodal": family.unimodal,
    }
    scale = temperature(family.unimodal.residuals, family.unimodal.num_free)
    fitted = {name: (worth.objective, worth.num_free) for name, worth in forms.items()}
    return tuple(rivals(fitted, scale, len(family.runs.points)))


def _unimodal(worth: Worth) -> _UnimodalConstants:
    p, log_gamma, log_c, m, k = (float(x) for x in worth.theta[5:])
    return _UnimodalConstants(
        p=p,
        gamma=float(np.exp(min(log_gamma, 700.0))),
        c=float(np.exp(min(log_c, 700.0))),
        m=m,
        k=k,
        objective=worth.objective,
    )


def _crossovers(fit: DataConstrainedFit) -> tuple[Crossover, ...]:
    """The compute from which each family is better than the reference on the same text."""
    reference, rows = fit.families.get(REFERENCE), []
    for name, family in fit.families.items():
        if reference is None or family is reference:
            continue
        both = (family.runs, reference.runs)
        texts = np.unique(np.concatenate([runs.log("unique_tokens") for runs in both]))
        log_c = np.concatenate([runs.log("flops") for runs in both])
        within = float(log_c.min()), float(log_c.max()) + _BEYOND
        for text in (texts[0], np.median(texts), texts[-1]):
            found = crossover(family.limited, reference.limited, float(text), within)
            flops = None if found is None else float(np.exp(found))
            rows.append(Crossover(family=name, unique_tokens=float(np.exp(text)), flops=flops))
    return tuple(rows)


def _allowed(low: float | None, high: float | None) -> str:
    if low is None:
        return "any value" if high is None else f"everything up to {high:.3g}"
    return f"{low:.3g} and more"


def _warnings(families: dict[str, DataConstrainedFamily]) -> list[str]:
    said = []
    for name, found in families.items():
        for symbol, known in vars(found.identified).items():
            if not known:
                allowed = _allowed(*vars(found.intervals)[symbol])
                said.append(f"{name}: {symbol} is not identified: the data allow {allowed}")
        best = min(found.models, key=lambda row: row.aicc)
        if best.model != "saturating":
            rather = f"{best.model} rather than saturating"
            said.append(f"{name}: by AICc the worth of repeated text is {rather}")
    return said


def _check_repeats(points: Points) -> None:
    """Refuse runs that say nothing of repeated text."""
    if not any(p.unique_tokens and p.tokens > p.unique_tokens for p in points.points):
        raise InputError("no run has seen its text more than once")


LAW = Law(
    name="repeated",
    summary="the parametric law with effective N and D of text seen several times; runs must say how "
    "long their text is",
    fit=fit_data_constrained,
    diagnose=_diagnose_data_constrained,
    result=DataConstrainedResult,
    applies=_check_repeats,
)
