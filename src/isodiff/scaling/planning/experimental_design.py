r"""Which runs to train next: those after which the verdict will be surest, for the compute there is.

A verdict between families is about one number q, which each replicate of their laws gives (`_contrast`):
`lead`: how far the first family is ahead of the one that may overtake it, nats at the target budget.
`multiplier`: ln of the compute that the best other family needs over what autoregressive needs for its loss.

Each replicate of the parametric laws also gives the log loss y_i of every run that could be trained
(`candidate_runs`). Over replicates q and y are taken as jointly Gaussian; runs are chosen for how far they
lower Var(q) (`best_runs`).

Replicates redraw the noise of the runs there are (`resample`, residual): what counts is which runs a law
rests on, not which of them happened to lie off it. Huber's loss makes less of a run than least squares would:
with psi = rho' and the scatter s of the residuals, taken as normal (Huber, 1964), run i has the noise

    sigma^2 = E psi^2 / (E psi')^2 nu / (nu - 2),   from s^2 (s << delta) to pi/2 s^2 (s >> delta),   (1)

where nu residuals beyond the parameters leave s as uncertain as the replicates have it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from scipy.optimize import elementwise

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import FEWEST, LEVEL, Quantity
from isodiff.scaling.fitting.huber import DELTA
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.power_law import Array, Index
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import ParametricFamilyFit, fit_parametric
from isodiff.scaling.planning.candidate_runs import (
    REACH,
    ProposedRun,
    best_runs,
    budgets_below,
    budgets_to_try,
    candidate_runs,
    ratios,
)
from isodiff.scaling.points import Point, Points, by_family
from isodiff.serialization import IfAny

Verdict = Literal["lead", "multiplier"]
_REPLICATES = 1000
_FARTHEST = 25.0
"""ln of the largest multiplier that is looked for."""
_GRID = 64
"""Sizes among which the best is sought."""


@dataclass(frozen=True, slots=True)
class _Contrast:
    """q of a verdict: [1 + replicates], row 0 as fitted, and the families it compares."""

    first: str
    second: str
    samples: Array


def _error(replicates: Array) -> float:
    return float(np.nanstd(replicates, ddof=1))


def _contrast(
    fits: Mapping[str, ParametricFamilyFit], verdict: Verdict, target: float
) -> _Contrast:
    log_c = np.log([target])
    best = {name: best_nats(fit, log_c) for name, fit in fits.items()}
    first, *others = sorted(best, key=lambda name: best[name][0])
    if verdict == "lead":
        leads = [_Contrast(first, name, best[name] - best[first]) for name in others]
        return min(leads, key=lambda one: one.samples[0] / max(_error(one.samples[1:]), 1e-300))
    if REFERENCE not in fits:
        raise InputError(f"no law of {REFERENCE} to compare with; --verdict lead needs none")
    first = others[0] if first == REFERENCE else first
    needed = log_compute(fits[REFERENCE], best[first], target)
    return _Contrast(first, REFERENCE, log_c[0] - needed)


def best_nats(fit: ParametricFamilyFit, log_c: Array, rows: Index | slice = slice(None)) -> Array:
    """Lowest loss of each replicate in `rows` at ln C [1 or rows], among the sizes that candidates may have.

    Not at the law's own optimum: where few runs leave that to chance, it lies at sizes nobody would train.
    """
    log_r = np.linspace(*ratios(fit.runs), _GRID)
    x = np.linspace(fit.runs.log_n.min() - _FARTHEST, fit.runs.log_n.max() + _FARTHEST, 100 * _GRID)
    log_nd = x + fit.runs.cost.log(x)  # C = c(N) D = N c(N) r
    real = np.isfinite(log_nd)
    log_n = np.interp(log_c[:, None] - log_r, log_nd[real], x[real])
    law = Surface(*(getattr(fit.surface, part.name)[rows] for part in fields(Surface)))
    return law.nats(log_n, log_n + log_r).min(axis=1)


def log_compute(fit: ParametricFamilyFit, nats: Array, target: float) -> Array:
    """ln C at which each replicate reaches its row of `nats`; NaN where it never does."""

    def short(log_c: Array, rows: Array, nats: Array) -> Array:
        return best_nats(fit, log_c, rows.astype(int)) - nats

    ends = np.log(target) - _FARTHEST, np.log(target) + _FARTHEST
    return elementwise.find_root(short, ends, args=(np.arange(len(nats)), nats)).x


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Runs to train next, in order of importance; q before them, and its standard error before and after.

    `multiplier` is that of the isoflop law, as `isodiff fit` gives it; q and its error are then those of its
    logarithm, and the parametric laws say by which share the runs lower the error.
    """

    verdict: Verdict
    families: tuple[str, str]
    target: float
    value: float
    error: float
    error_after: float
    confidence: float
    confidence_after: float
    allowance: float
    flops: float
    runs: tuple[ProposedRun, ...]
    candidates: int
    reach: float
    replicates: int
    source: str
    flops_convention: str
    parameters_convention: str
    warnings: tuple[str, ...]
    multiplier: IfAny[Quantity] = None


def _confidence(value: float, error: float) -> float:
    return NormalDist().cdf(value / error) if error else float(value > 0)


def next_runs(
    points: Points | Sequence[Point],
    num: int,
    *,
    verdict: Verdict = "lead",
    target: float | None = None,
    allowance: float | None = None,
    cores: Mapping[str, float] | None = None,
    bootstrap: int = _REPLICATES,
    seed: int = 0,
) -> Proposal:
    """At most `num` runs, in order of importance.

    `target` is the largest budget of the points by default, `allowance` (FLOPs of all runs together) `num`
    times that. `cores` has the block parameters of runs by id; with it, sizes are those of the ladder.

    Raises:
        InputError: fewer than two families with a law, no autoregressive one where the verdict needs it, or
            an allowance that buys nothing.
    """
    data, named = by_family(points)
    largest = max(point.budget for point in data.points)
    at, target = target, largest if target is None else target
    allowance = num * largest if allowance is None else allowance
    _check(num, target, allowance, bootstrap)
    fits, warnings = _fitted(data, named, bootstrap, seed)
    asked = _contrast(fits, verdict, target)
    compared = [fits[name] for name in (asked.first, asked.second)]
    budgets, stated, below = budgets_to_try(data.points), None, []
    if verdict == "multiplier":
        stated = _stated_multiplier(data, asked.first, at, seed)
        times = float(np.exp(asked.samples[0])) if stated is None else stated.value or 1.0
        below = budgets_below(fits[REFERENCE].runs, target / times)
    every = (
        candidate_runs(
            fit.name, fit.runs, budgets, cores or {}, below if fit.name == REFERENCE else ()
        )
        for fit in compared
    )
    tried = [one for one in itertools.chain(*every) if one.flops <= allowance]
    if not tried:
        raise InputError(
            f"{allowance:.3g} FLOPs buy no run worth considering; the cheapest budget of these runs is "
            f"{budgets[0]:.3g}"
        )
    sigma = np.array([noise_of_a_run(fits[one.family]) for one in tried])
    losses = [
        fits[one.family].surface.nats(np.log([one.parameters]), np.log([one.tokens]))[:, 0]
        for one in tried
    ]
    rows = np.vstack([asked.samples, np.log(losses)])[:, 1:]
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    if rows.shape[1] < FEWEST:
        raise InputError(
            "the laws of too few replicates say anything at the target; add runs first"
        )
    lowest = [i for i, one in enumerate(tried) if one.below and one.flops == below[-1]]
    first = min(lowest, key=lambda i: losses[i][0], default=None)
    runs = best_runs(np.cov(rows), sigma, tried, num, allowance, first)
    value, error = float(asked.samples[0]), _error(rows[0])
    after = runs[-1].error_after if runs else error
    if stated is not None:
        value = float(np.log(stated.value or 1.0))
        share = _log_error(stated) / error if error else 1.0
        runs = tuple(replace(run, error_after=run.error_after * share) for run in runs)
        error, after = error * share, after * share
    return Proposal(
        verdict=verdict,
        families=(asked.first, asked.second),
        target=target,
        value=value,
        error=error,
        error_after=after,
        confidence=_confidence(value, error),
        confidence_after=_confidence(value, after),
        allowance=allowance,
        flops=sum(run.flops for run in runs),
        runs=runs,
        candidates=len(tried),
        reach=REACH,
        replicates=rows.shape[1],
        source=data.source,
        flops_convention=data.flops,
        parameters_convention=data.parameters,
        warnings=(*data.warnings, *warnings),
        multiplier=stated,
    )


def _stated_multiplier(
    data: Points, family: str, target: float | None, seed: int
) -> Quantity | None:
    """The multiplier of `isodiff fit`, at a target or at the family's largest budget; None without."""
    fit = fit_isoflop(data, seed=seed)
    found = fit.multiplier(family, None if target is None else float(np.log(target)))
    return None if found.value is None or found.low is None else found


def _log_error(found: Quantity) -> float:
    """Standard error of ln of a quantity, of the width of its interval."""
    low, high = (float(end or 1.0) for end in (found.low, found.high))
    return float(np.log(high / low)) / (2 * NormalDist().inv_cdf((1 + LEVEL) / 2))


def _check(num: int, target: float, allowance: float, bootstrap: int) -> None:
    if num < 1:
        raise InputError(f"--num is {num}; give 1 or more")
    if bootstrap < FEWEST:
        raise InputError(
            f"--bootstrap is {bootstrap}; a proposal needs {FEWEST} replicates or more"
        )
    for name, value in (("--budget", target), ("--budget-left", allowance)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number of FLOPs")


def _fitted(
    data: Points, named: Mapping[str, list[Point]], bootstrap: int, seed: int
) -> tuple[dict[str, ParametricFamilyFit], list[str]]:
    fits, without = {}, []
    for own in named.values():
        try:
            law = fit_parametric(own, bootstrap=bootstrap, seed=seed, resampling="residual")
            fits |= law.families
        except InputError as error:
            without.append(f"no law: {error}")
    if len(fits) < 2:
        have = "has" if len(fits) == 1 else "have"
        raise InputError(
            f"{data.source}: a verdict compares two families, and {len(fits)} of {len(named)} {have} a law"
            + "".join(f"; {why}" for why in without[:1])
        )
    return fits, without


def noise_of_a_run(fit: ParametricFamilyFit) -> float:
    """sigma of Eq. (1)."""
    free = len(fit.residuals) - len(NAMES)
    spread = float(np.sqrt(fit.residuals @ fit.residuals / free))
    if not spread:
        return 0.0
    normal, k = NormalDist(), DELTA / spread
    inside = 2 * normal.cdf(k) - 1
    psi = spread**2 * (inside - 2 * k * normal.pdf(k)) + DELTA**2 * (1 - inside)
    return float(np.sqrt(psi * free / max(free - 2, 1)) / inside)
