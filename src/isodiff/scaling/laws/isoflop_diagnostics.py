"""From an IsoFLOP fit to its result: intervals, the budget it predicts, its parabolas' bias, what to draw.

A loss surface is not a parabola in ln N. How far that moves a minimum depends on where the sizes lie, so
it is measured on the sizes of the study itself: the surface E + A/N^alpha + B/D^beta that fits the family's
runs best gives losses without noise at every run, parabolas go through these, and their lowest points are
compared with the surface's own along the same curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL, SIGNIFICANT, interval
from isodiff.scaling.fitting.holdout import REPLICATES, predictions
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import FEWEST_WITH_FLOOR, Array, PowerLaw, exp, least_squares
from isodiff.scaling.laws.isoflop import (
    IsoflopFamilyFit,
    IsoflopFit,
    fit_isoflop,
    fit_isoflop_family,
)
from isodiff.scaling.laws.isoflop_result import (
    BandPoint,
    Bands,
    BudgetHeldOut,
    IsoflopCurve,
    IsoflopFamily,
    IsoflopResult,
    Minimum,
    PowerLawConstants,
    PowerLaws,
    RefusedCurve,
)
from isodiff.scaling.laws.law import REFERENCE, Draws, Law, Ranges, generator
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.points import Points

_BAND_SAMPLES = 25
_DRAWS = 200
"""Replicates of the laws that are kept, for intervals of whatever is read off them later."""
_TOO_MANY = (1 - LEVEL) / 2
"""Share of lost refits from which an interval's ends can no longer be trusted."""
_BIASED = 0.1
"""Relative bias of N* from which the parabola's form is worth a warning."""


def _diagnose_isoflop(fit: IsoflopFit) -> IsoflopResult:
    families = {name: _diagnosed(fit, name) for name in fit.families}
    regression = "Huber-regression" if fit.huber else "least-squares"
    floor = "with an irreducible loss" if fit.irreducible else "without an irreducible loss"
    spread = fit.intervals(
        "with the runs' scatter about their parabolas, and the minima's excess scatter about their "
        "laws, redrawn"
    )
    protocol = (
        f"Per family and budget a {regression} parabola of loss in ln N, refused where it has no "
        f"minimum inside the sizes tried; power laws in C through the minima, {floor}; compute "
        f"multipliers by the {REFERENCE} law read at each family's lowest losses; {spread}"
    )
    own = {"irreducible": fit.irreducible, "huber": fit.huber}
    return fit.as_result(IsoflopResult, families, protocol, _warnings(fit, families), **own)


def _diagnosed(fit: IsoflopFit, name: str) -> IsoflopFamily:
    family = fit.families[name]
    surface = _surface_of(family)
    compute = [curve.compute() for curve in family.curves]
    floor = family.estimate(family.loss.irreducible) if fit.irreducible else None
    return IsoflopFamily(
        kind=family.kind,
        N_exponent=family.estimate(family.parameters.exponent),
        D_exponent=family.estimate(family.tokens.exponent),
        L_exponent=family.estimate(family.loss.exponent),
        irreducible_loss=floor,
        multiplier_vs_autoregressive=fit.multiplier(name),
        multiplier_alternatives=fit.multiplier_alternatives(name),
        extrapolation=fit.extrapolation(name),
        laws=PowerLaws(
            N=_constants(family.parameters), D=_constants(family.tokens), L=_constants(family.loss)
        ),
        noise=family.noise,
        excess_scatter=family.excess,
        refits=family.minima.refits,
        validation=_held_out(fit, family),
        surface=None if surface is None else surface.constants(),
        budgets=tuple(
            _minimum(family, curve, j, surface) for j, curve in enumerate(family.accepted)
        ),
        refused=tuple(
            RefusedCurve(budget=curve.budget, flops=curve.compute(), reason=curve.refusal)
            for curve in family.curves
            if curve.refusal
        ),
        curves=tuple(map(IsoflopCurve.of, family.curves)),
        bands=_bands(family),
        range=Ranges(C=(min(compute), max(compute))),
        draws=_draws(family),
    )


def _draws(family: IsoflopFamilyFit) -> Draws:
    """Replicates of the three laws y = irreducible + e^log_k C^exponent; none without a bootstrap."""
    laws = {"N": family.parameters, "D": family.tokens, "L": family.loss}
    columns = {
        f"{symbol}_{part}": getattr(law, part)[1 : _DRAWS + 1]
        for symbol, law in laws.items()
        for part in ("log_k", "exponent", "irreducible")
    }
    rows = np.stack(list(columns.values()), axis=1)
    return Draws.of(tuple(columns), rows[np.isfinite(rows).all(axis=1)])


def _constants(law: PowerLaw) -> PowerLawConstants | None:
    if not np.isfinite(law.exponent[0]):
        return None
    return PowerLawConstants(
        k=float(np.exp(law.log_k[0])),
        exponent=float(law.exponent[0]),
        irreducible=float(law.irreducible[0]),
    )


def _held_out(fit: IsoflopFit, family: IsoflopFamilyFit) -> BudgetHeldOut:
    """N*, D* and L* of the largest accepted budget, predicted by the laws of the smaller ones.

    The intervals hold the law's uncertainty and the noise of the minimum it predicts.
    """
    if len(family.accepted) < 3:
        return BudgetHeldOut(
            reason=f"{len(family.accepted)} accepted budgets; 3 are needed to leave one out"
        )
    last = family.accepted[-1]
    points = [p for curve in family.curves for p in curve.points if p.budget < last.budget]
    replicates, rng = min(fit.bootstrap, REPLICATES), generator(fit.seed, family.name)
    fewer = fit_isoflop_family(family.name, points, replicates, rng, fit.irreducible, fit.huber)
    minima = family.minima
    columns = (minima.log_n[:, -1], minima.log_d[:, -1], np.log(minima.nats[:, -1]))
    observed = np.stack(columns, axis=1)
    laws = (fewer.parameters, fewer.tokens, fewer.loss)
    predicted = np.log(np.hstack([law(minima.log_c[:1, -1]) for law in laws]))
    rows = min(len(predicted), len(observed))
    samples = exp(predicted[:rows] + observed[:rows] - observed[0])
    size, tokens, loss = predictions(samples[np.isfinite(samples).all(axis=1)], np.exp(observed[0]))
    return BudgetHeldOut(
        rule=f"the largest budget, {last.budget:.3g} FLOPs",
        extrapolation=last.budget / max(p.budget for p in points),
        N=size,
        D=tokens,
        L=loss,
    )


def _surface_of(family: IsoflopFamilyFit) -> Surface | None:
    """The least-squares surface of a family's runs; None with too few or where it makes no sense."""
    points = [point for curve in family.curves for point in curve.points]
    if len(points) <= len(NAMES) or len(family.curves) < 2:
        return None
    log_n, log_d = (np.log([getattr(p, name) for p in points]) for name in ("parameters", "tokens"))
    found = least_squares(log_n, log_d, np.array([p.nats for p in points]))
    return None if found is None else Surface.of(found[None])


def _parabola_bias(curve: Curve, surface: Surface) -> tuple[float | None, float | None]:
    """Of N*, relative, and of L*, in nats; None where the surface's minimum is outside the sizes."""

    from scipy.optimize import minimize_scalar

    def loss(log_n: Array) -> Array:
        return surface.nats(log_n, curve.log_at("tokens", log_n))[0]

    low, high = curve.log_n.min(), curve.log_n.max()
    found: Any = minimize_scalar(
        lambda x: float(loss(np.array([x]))[0]),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-10},
    )
    log_n, nats, useful = curve.minima(loss(curve.log_n)[None])
    if min(found.x - low, high - found.x) < 1e-6 * (high - low) or not useful[0]:
        return None, None
    return float(np.exp(log_n[0] - found.x)) - 1, float(nats[0] - found.fun)


def _minimum(family: IsoflopFamilyFit, curve: Curve, j: int, surface: Surface | None) -> Minimum:
    minima = family.minima
    size, loss = exp(minima.log_n[:, j]), minima.nats[:, j]
    n, nats = family.estimate(size), family.estimate(loss)
    bias_n, bias_l = (None, None) if surface is None else _parabola_bias(curve, surface)
    return Minimum(
        budget=curve.budget,
        flops=curve.compute(float(minima.log_n[0, j])),
        N_opt=float(size[0]),
        N_low=n.low,
        N_high=n.high,
        D_opt=float(np.exp(minima.log_d[0, j])),
        L_opt=float(loss[0]),
        L_low=nats.low,
        L_high=nats.high,
        sizes=curve.num_sizes,
        runs=len(curve.points),
        parabola_bias_N=bias_n,
        parabola_bias_L=bias_l,
    )


def _bands(family: IsoflopFamilyFit) -> Bands:
    """L*(C) and N*(C) from half a decade under the smallest C to half a decade over the largest."""
    if not np.isfinite(family.loss.exponent[0]):
        return Bands()
    measured, margin = family.minima.log_c[0], np.log(10) / 2
    log_c = np.linspace(measured.min() - margin, measured.max() + margin, _BAND_SAMPLES)

    def band(law: PowerLaw) -> tuple[BandPoint, ...]:
        rows = []
        for x, y in zip(log_c, law(log_c).T, strict=True):
            low, high = (None if family.missing_interval else interval(y[1:])) or (None, None)
            rows.append(BandPoint(flops=float(np.exp(x)), value=float(y[0]), low=low, high=high))
        return tuple(rows)

    return Bands(L=band(family.loss), N=band(family.parameters))


def _warnings(fit: IsoflopFit, families: dict[str, IsoflopFamily]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = [f"{name}: {line}" for name in families for line in _of_family(fit, name)]
    if REFERENCE not in families:
        said.insert(0, f"no family is named {REFERENCE}: there are no multipliers")
    for name, family in families.items():
        bias = [row.parabola_bias_N for row in family.budgets if row.parabola_bias_N is not None]
        if bias and max(map(abs, bias)) > _BIASED:
            said.append(
                f"{name}: on these sizes parabolas move N* by {min(bias):+.0%} to {max(bias):+.0%}, by the "
                "surface that fits the runs; center the sizes better, or use --law parametric"
            )
    return said


def _of_family(fit: IsoflopFit, name: str) -> list[str]:
    family, said = fit.families[name], []
    accepted, refits = len(family.accepted), family.minima.refits
    if accepted < 2:
        said.append(f"{accepted} of {len(family.curves)} budgets accepted; no laws")
    if fit.irreducible and 2 <= accepted < FEWEST_WITH_FLOOR:
        said.append(
            f"an irreducible loss needs {FEWEST_WITH_FLOOR} accepted budgets, there are {accepted}; "
            "it is taken as 0"
        )
    if family.noise.nats is None and accepted and not family.missing_interval:
        said.append(
            "three sizes a budget leave no residuals; the intervals hold the evaluations' standard "
            "errors only, not the noise between seeds"
        )
    for symbol, p_value in vars(family.excess).items():
        if p_value is not None and p_value < SIGNIFICANT:
            said.append(
                f"{symbol}* scatters about its power law by more than the runs' noise explains "
                f"(p = {p_value:.2g}); the excess is counted as noise between budgets"
            )
    if refits.refused > _TOO_MANY:
        said.append(f"{refits.refused:.0%} of the refits had no minimum and were left out")
    if refits.edge > _TOO_MANY:
        said.append(f"{refits.edge:.0%} of the refits had their minimum beyond the sizes")
    factor = fit.extrapolation(name)
    if factor is not None and factor > 1:
        below = f"{factor:.0f} times below the smallest budget"
        said.append(f"its multiplier reads the {REFERENCE} law {below}")
    return said


def _check_curves(points: Points, result: IsoflopResult) -> None:
    """Refuse runs of which no IsoFLOP law can come."""
    budgets, families = {point.budget for point in points.points}, result.families.values()
    if len(budgets) == 1:
        raise InputError(
            f"{points.source} has one budget only, {min(budgets):.3g} FLOPs; a law in C needs two at least"
        )
    if any(family.budgets for family in families):
        return
    reasons = sorted({row.reason for family in families for row in family.refused})
    raise InputError(
        f"no IsoFLOP curve of {points.source} has a minimum inside its sizes ({', '.join(reasons)}); run "
        "three sizes or more at each budget, some on either side of the best"
    )


LAW = Law(
    name="isoflop",
    summary="a parabola in ln N per budget, power laws through the minima",
    fit=fit_isoflop,
    diagnose=_diagnose_isoflop,
    result=IsoflopResult,
    file="fits.json",
    check=_check_curves,
    by_convention=True,
)
