"""From a parametric fit to its result: the budget it predicts, the runs that carry it, its profiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import Resampling, interval
from isodiff.scaling.fitting.holdout import (
    REPLICATES,
    RunsHeldOut,
    predictions,
    score,
    split,
)
from isodiff.scaling.fitting.huber import DELTA, slopes_of_rho
from isodiff.scaling.fitting.newton import NAMES, minimize
from isodiff.scaling.fitting.power_law import Array, exp, finite
from isodiff.scaling.fitting.profile_likelihood import profile
from isodiff.scaling.laws.law import Law, Span
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.model_comparison import compare
from isodiff.scaling.laws.parametric import (
    LOOSE,
    ParametricFamilyFit,
    ParametricFit,
    Runs,
    falling,
    fit_parametric,
    fit_parametric_family,
)
from isodiff.scaling.laws.parametric_result import (
    FittedRun,
    Optimum,
    OptimumExponents,
    ParametricFamily,
    ParametricIntervals,
    ParametricResult,
    PrintedParametric,
    Profiles,
    RelativeScatter,
    Starts,
)

_SCANNED, _COARSE = 41, 15
"""Values of each profile; of many runs, whose profiles are narrow."""
_REFITTED = 500
"""Runs up to which the law is fitted again without each of them; more are many."""
_DRAWS = 200
"""Replicates of the law that are kept, for intervals of whatever is read off it later."""
_BEYOND = 10
"""How far past the largest compute, as a factor, the table of optima goes."""
_COST_MISFIT = 0.05
"""Above this relative error the law of FLOPs per token is worth a warning."""
_HOW: dict[Resampling, str] = {
    "case": "with random weights of the runs",
    "residual": "with fresh residuals",
}


def _diagnose_parametric(fit: ParametricFit) -> ParametricResult:
    families = {name: _diagnosed(fit, family) for name, family in fit.families.items()}
    protocol = (
        "Per family L = E + A/N^alpha + B/D^beta by the sum of Huber's loss "
        f"(delta {DELTA:g}) of log loss, from many starts; optimal N and D at C = c(N) D with the FLOPs "
        f"per token c(N) of these runs; {fit.intervals(_HOW[fit.resampling])}"
    )
    return fit.as_result(
        ParametricResult,
        families,
        protocol,
        _warnings(families),
        resampling=fit.resampling,
        delta=DELTA,
        comparison=compare(fit),
    )


def _diagnosed(fit: ParametricFit, family: ParametricFamilyFit) -> ParametricFamily:
    surface, runs = family.surface, family.runs
    n, d = family.exponents()
    return ParametricFamily(
        kind=family.kind,
        num_points=len(runs.points),
        **vars(surface.constants()),
        objective=family.objective,
        exponents=OptimumExponents(
            N=float(n[0]), D=float(d[0]), at_flops=float(np.exp(family.middle))
        ),
        intervals=ParametricIntervals(
            E=_ends(surface.irreducible),
            A=_ends(exp(surface.log_a)),
            B=_ends(exp(surface.log_b)),
            alpha=_ends(surface.alpha),
            beta=_ends(surface.beta),
            N=_ends(n),
            D=_ends(d),
        ),
        starts=Starts(num=family.starts, at_the_optimum=family.agreeing),
        noise=_scatter(family.residuals),
        cost=runs.cost,
        range=runs.ranges,
        validation=hold_out(runs, partial(_predicted, family, fit.resampling)),
        profiles=_profiles(family),
        optima=_optima(family),
        runs=_fitted_runs(family),
        draws=falling(NAMES, runs.design.of_family(family.theta[1 : _DRAWS + 1], 0)),
    )


def _ends(values: Array) -> Span | None:
    return interval(values[1:])  # of a statistic [1 + replicates]


def _scatter(residuals: Array) -> RelativeScatter:
    free = len(residuals) - len(NAMES)
    return RelativeScatter(
        rms=float(np.sqrt(residuals @ residuals / free)),
        robust=float(np.median(np.abs(residuals)) / 0.6745),
    )


def _fitted_runs(family: ParametricFamilyFit) -> tuple[FittedRun, ...]:
    """Every run with its residual, and what leaving it out does."""
    runs, exponents = family.runs, family.exponents()[0]
    surface = Surface.of(runs.design.of_family(_without_each(family), 0))
    moved = surface.exponents(family.middle, runs.cost)[0] - exponents[0]
    floors = surface.irreducible - family.surface.irreducible[0]
    spread = float(np.nanstd(exponents[1:])) if np.isfinite(exponents[1:]).any() else None
    return tuple(
        FittedRun(
            id=point.id,
            parameters=point.parameters,
            tokens=point.tokens,
            flops=point.flops,
            nats=point.nats,
            residual=float(residual),
            moves_N_exponent=finite(exponent),
            moves_N_exponent_by_errors=finite(exponent / spread) if spread else None,
            moves_E=float(floor),
        )
        for point, residual, exponent, floor in zip(
            runs.points, family.residuals, moved, floors, strict=True
        )
    )


def _without_each(family: ParametricFamilyFit) -> Array:
    """theta without each run [runs, 5]: fitted again; of many runs by one Newton step, H^-1 grad_i."""
    terms, best, n = family.runs.design.terms, family.theta[:1], len(family.runs.points)
    if n <= _REFITTED:
        start, but_one = np.repeat(best, n, axis=0), 1 - np.eye(n)
        return minimize(terms, start, family.runs.log_nats, but_one, tolerance=LOOSE).theta
    residual = -family.residuals[None]
    _, shares = terms.log_nats(best)
    first = slopes_of_rho(residual, np.ones_like(residual))[0]
    gradient = ((first * shares)[:, 0, :, None] * terms.x).sum(axis=0)
    hessian = terms.slopes(shares, residual, np.ones_like(residual))[1][0]
    return best + gradient @ np.linalg.pinv(hessian)


def _optima(family: ParametricFamilyFit) -> tuple[Optimum, ...]:
    """Optimal N, D and loss per decade from the smallest compute to ten times the largest."""
    log_c = family.runs.log("flops")
    first, last = math.ceil(log_c.min() / math.log(10)), log_c.max() / math.log(10)
    powers = range(first, math.floor(last + math.log10(_BEYOND) + 1e-9) + 1)
    decades = np.array([float(f"1e{power}") for power in powers])  # some 10.0 ** power are none
    best = family.surface.optimum(np.log(decades), family.runs.cost)
    new = np.exp(family.new_runs(np.log(best.nats)))
    return tuple(
        Optimum(
            flops=float(c),
            N=float(exp(best.log_n[0, j])),
            N_interval=_ends(exp(best.log_n[:, j])),
            D=float(exp(best.log_d[0, j])),
            L=float(best.nats[0, j]),
            L_interval=_ends(best.nats[:, j]),
            L_interval_of_a_run=_ends(new[:, j]),
        )
        for j, c in enumerate(decades)
    )


def _profiles(fit: ParametricFamilyFit) -> Profiles:
    """Of E, from 0 to the lowest loss, and of both exponents, over a factor of 40."""
    law, theta, y = fit.runs.design.terms, fit.theta[:1], fit.runs.log_nats
    num = _SCANNED if len(y) <= _REFITTED else _COARSE
    floors = np.exp(y.min()) * np.linspace(0.01, 0.99, num)
    exponents = np.geomspace(0.05, 2.0, num)
    return Profiles(
        E=profile(law, theta, y, 4, floors, log=True),
        alpha=profile(law, theta, y, 1, exponents, log=False),
        beta=profile(law, theta, y, 3, exponents, log=False),
    )


def hold_out(runs: Runs, predict: Callable[[Runs, Runs], Array]) -> RunsHeldOut:
    """The largest budget predicted from the others.

    `predict` fits the runs of the first kind and gives ln L of the second: the law and replicates of new
    runs, noise included, [1 + replicates, runs].
    """
    part = split(runs.points)
    rest, left = runs.keep(~part.held_out), runs.keep(part.held_out)
    try:
        log_nats = predict(rest, left)
    except InputError as error:
        return RunsHeldOut(rule=part.rule, reason=f"without them {error}")
    beyond = float(np.exp(left.log("flops").max() - rest.log("flops").max()))
    rows = predictions(np.exp(log_nats), np.exp(left.log_nats))
    return score(part.rule, beyond, left.points, rows)


def _predicted(fit: ParametricFamilyFit, resampling: Resampling, rest: Runs, left: Runs) -> Array:
    replicates = min(fit.bootstrap, REPLICATES)
    fewer = fit_parametric_family(fit.name, rest, replicates, fit.seed, resampling)
    return fewer.new_runs(np.log(fewer.surface.nats(left.log_n, left.log_d)))


def _warnings(families: dict[str, ParametricFamily]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = []
    for name, found in families.items():
        for symbol, known in vars(found.profiles).items():
            low, high = known.low, known.high
            if low is None or high is None:
                side = "small" if low is None and high is not None else "large"
                side = side if low is not None or high is not None else "small or large"
                said.append(
                    f"{name}: {symbol} is not identified: however {side} it is (in the range "
                    "scanned), the other constants make up for it"
                )
        if found.cost.misfit > _COST_MISFIT:
            said.append(
                f"{name}: FLOPs per token follow their law of N to {found.cost.misfit:.0%} "
                "only, so optimal sizes are as uncertain"
            )
        inside = found.validation.inside
        if inside is not None and inside < 0.5:
            said.append(
                f"{name}: {1 - inside:.0%} of the runs left out lie outside the prediction's interval; "
                "do not trust its extrapolation"
            )
    return said


LAW = Law(
    name="parametric",
    summary="E + A/N^alpha + B/D^beta",
    fit=fit_parametric,
    diagnose=_diagnose_parametric,
    result=ParametricResult,
    as_printed=PrintedParametric,
)
