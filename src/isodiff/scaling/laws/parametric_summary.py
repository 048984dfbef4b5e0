"""From a parametric fit to its result: intervals, checks, predictions, and what carries them."""

from __future__ import annotations

import math

import numpy as np

from isodiff.scaling.fitting.bootstrap import LEVEL, interval
from isodiff.scaling.fitting.huber import DELTA
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.power_law import Array, exp, finite
from isodiff.scaling.laws.law import Draws, Law, Ranges, Span
from isodiff.scaling.laws.parametric import ParametricFamilyFit, ParametricFit, Runs, fit_parametric
from isodiff.scaling.laws.parametric_diagnostics import held_out, influence, profiles
from isodiff.scaling.laws.parametric_result import (
    FittedRun,
    Optimum,
    OptimumExponents,
    ParametricFamily,
    ParametricIntervals,
    ParametricResult,
    RelativeScatter,
    Starts,
)
from isodiff.scaling.laws.shared_constants import compare

_DRAWS = 200
"""Replicates of the law that are kept, for intervals of whatever is read off it later."""
_BEYOND = 10
"""How far past the largest compute, as a factor, the table of optima goes."""
_COST_MISFIT = 0.05
"""Above this relative error the law of FLOPs per token is worth a warning."""


def _diagnose_parametric(fit: ParametricFit) -> ParametricResult:
    families = {name: _diagnosed(fit, family) for name, family in fit.families.items()}
    return ParametricResult(
        law="parametric",
        protocol=_protocol(fit),
        bootstrap=fit.bootstrap,
        resampling=fit.resampling,
        seed=fit.seed,
        delta=DELTA,
        flops=fit.data.flops,
        parameters_convention=fit.data.parameters,
        source=fit.data.source,
        warnings=(*fit.data.warnings, *_warnings(families)),
        families=families,
        comparison=compare(fit),
    )


def _protocol(fit: ParametricFit) -> str:
    """What was done, in one sentence."""
    how = {
        "case": "with random weights of the runs",
        "residual": "with fresh residuals",
    }[fit.resampling]
    spread = (
        f"{LEVEL:.0%} intervals from {fit.bootstrap} replicates (seed {fit.seed}) {how}"
        if fit.bootstrap
        else "no intervals"
    )
    return (
        "Per family L = E + A/N^alpha + B/D^beta by the sum of Huber's loss "
        f"(delta {DELTA:g}) of log loss, from many starts; optimal N and D at C = c(N) D with the FLOPs "
        f"per token c(N) of these runs; {spread}; C: {fit.data.flops}, N: {fit.data.parameters}."
    )


def _diagnosed(fit: ParametricFit, family: ParametricFamilyFit) -> ParametricFamily:
    """One family: the law, its intervals, its checks, its runs, its draws."""
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
        range=ranges(runs),
        validation=held_out(family, fit.resampling),
        profiles=profiles(family),
        optima=_optima(family),
        runs=_fitted_runs(family),
        draws=draws(NAMES, runs.design.of_family(family.theta[1 : _DRAWS + 1], 0)),
    )


def _fitted_runs(family: ParametricFamilyFit) -> tuple[FittedRun, ...]:
    """Every run with its residual and its influence."""
    n = family.exponents()[0][1:]
    spread = float(np.nanstd(n)) if np.isfinite(n).any() else None
    moved = influence(family)
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
            family.runs.points, family.residuals, moved.exponent, moved.irreducible, strict=True
        )
    )


def draws(names: tuple[str, ...], theta: Array) -> Draws:
    """The replicates whose terms fall with N and with D; others have no optimum."""
    kept = theta[(theta[:, 1] > 0) & (theta[:, 3] > 0)]
    return Draws(parameters=names, rows=tuple(map(tuple, kept.tolist())))


def ranges(runs: Runs) -> Ranges:
    """Smallest and largest C, N and D."""

    def span(quantity: str) -> Span:
        values = runs.log(quantity)
        return float(np.exp(values.min())), float(np.exp(values.max()))

    return Ranges(C=span("flops"), N=span("parameters"), D=span("tokens"))


def _ends(values: Array) -> Span | None:
    """Interval of a statistic [1 + replicates], or None without replicates."""
    return interval(values[1:])


def _scatter(residuals: Array) -> RelativeScatter:
    """Of the runs about the law."""
    free = len(residuals) - len(NAMES)
    return RelativeScatter(
        rms=float(np.sqrt(residuals @ residuals / free)),
        robust=float(np.median(np.abs(residuals)) / 0.6745),
    )


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


def _warnings(families: dict[str, ParametricFamily]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = []
    for name, found in families.items():
        for symbol, profile in vars(found.profiles).items():
            low, high = profile.low, profile.high
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
)
