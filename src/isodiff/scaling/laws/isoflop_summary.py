"""From an IsoFLOP fit to its result: intervals, checks, and what to draw."""

from __future__ import annotations

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL, interval
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, PowerLaw, exp
from isodiff.scaling.laws.isoflop import IsoflopFamilyFit, IsoflopFit, fit_isoflop
from isodiff.scaling.laws.isoflop_diagnostics import held_out, parabola_bias, surface_of
from isodiff.scaling.laws.isoflop_result import (
    BandPoint,
    Bands,
    CurvePoint,
    IsoflopCurve,
    IsoflopFamily,
    IsoflopResult,
    LinePoint,
    Minimum,
    Parabola,
    PowerLawConstants,
    PowerLaws,
    Refits,
    RefusedCurve,
)
from isodiff.scaling.laws.isoflop_warnings import biased, warnings
from isodiff.scaling.laws.law import REFERENCE, Draws, Law, Ranges
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.points import Points

_LINE_SAMPLES = 41
_BAND_SAMPLES = 25
_DRAWS = 200
"""Replicates of the laws that are kept, for intervals of whatever is read off them later."""


def _diagnose_isoflop(fit: IsoflopFit) -> IsoflopResult:
    """Every number of the fit; `curves` and `_bands` are all that a figure needs."""
    families = {name: _diagnosed(fit, name) for name in fit.families}
    bias = [line for name, family in families.items() for line in biased(name, family)]
    return IsoflopResult(
        law="isoflop",
        protocol=_protocol(fit),
        bootstrap=fit.bootstrap,
        seed=fit.seed,
        irreducible=fit.irreducible,
        huber=fit.huber,
        flops=fit.data.flops,
        parameters_convention=fit.data.parameters,
        source=fit.data.source,
        warnings=(*fit.data.warnings, *warnings(fit), *bias),
        families=families,
    )


def _protocol(fit: IsoflopFit) -> str:
    """What was done, in one sentence."""
    regression = "Huber-regression" if fit.huber else "least-squares"
    floor = "with an irreducible loss" if fit.irreducible else "without an irreducible loss"
    spread = (
        f"{LEVEL:.0%} intervals from {fit.bootstrap} replicates (seed {fit.seed}) with the runs' "
        "scatter about their parabolas, and the minima's excess scatter about their laws, redrawn"
        if fit.bootstrap
        else "no intervals"
    )
    return (
        f"Per family and budget a {regression} parabola of loss in ln N, refused where it has no "
        f"minimum inside the sizes tried; power laws in C through the minima, {floor}; compute "
        f"multipliers by the {REFERENCE} law read at each family's lowest losses; {spread}; "
        f"C: {fit.data.flops}, N: {fit.data.parameters}."
    )


def _diagnosed(fit: IsoflopFit, name: str) -> IsoflopFamily:
    """One family's exponents, multiplier, minima, refusals, curves and bands."""
    family = fit.families[name]
    minima, surface = family.minima, surface_of(family)
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
        refits=Refits(
            refused=minima.share_lost(minima.keep),
            edge=minima.share_lost(minima.inside | ~minima.keep),
        ),
        validation=held_out(fit, family),
        surface=None if surface is None else surface.constants(),
        budgets=tuple(
            _minimum(family, curve, j, surface) for j, curve in enumerate(family.accepted)
        ),
        refused=tuple(
            RefusedCurve(budget=curve.budget, flops=curve.compute(), reason=curve.refusal)
            for curve in family.curves
            if curve.refusal
        ),
        curves=tuple(map(_drawn_curve, family.curves)),
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
    kept = rows[np.isfinite(rows).all(axis=1)]
    return Draws(parameters=tuple(columns), rows=tuple(map(tuple, kept.tolist())))


def _constants(law: PowerLaw) -> PowerLawConstants | None:
    """Coefficients of the law as fitted; None where there is none."""
    if not np.isfinite(law.exponent[0]):
        return None
    return PowerLawConstants(
        k=float(np.exp(law.log_k[0])),
        exponent=float(law.exponent[0]),
        irreducible=float(law.irreducible[0]),
    )


def _minimum(family: IsoflopFamilyFit, curve: Curve, j: int, surface: Surface | None) -> Minimum:
    """The minimum of one accepted curve, N and L with their intervals, and its parabola's bias."""
    minima = family.minima
    size, loss = exp(minima.log_n[:, j]), minima.nats[:, j]
    n, nats = family.estimate(size), family.estimate(loss)
    bias = None if surface is None else parabola_bias(curve, surface)
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
        parabola_bias_N=None if bias is None else bias.size - 1,
        parabola_bias_L=None if bias is None else bias.nats,
    )


def _drawn_curve(curve: Curve) -> IsoflopCurve:
    """One IsoFLOP curve as a figure draws it; a refused one too."""
    parabola, line = None, ()
    if curve.num_sizes >= 3:
        log_n = np.linspace(curve.log_n.min(), curve.log_n.max(), _LINE_SAMPLES)
        line = tuple(
            LinePoint(parameters=float(np.exp(x)), nats=float(y))
            for x, y in zip(log_n, curve.parabola(log_n), strict=True)
        )
        parabola = Parabola(
            coefficients=tuple(curve.fitted.tolist()), center=curve.center, width=curve.width
        )
    best = curve.minima(curve.nats[None])[0][0] if curve.refusal is None else None
    return IsoflopCurve(
        budget=curve.budget,
        flops=curve.compute(None if best is None else float(best)),
        accepted=curve.refusal is None,
        reason=curve.refusal,
        parabola=parabola,
        points=tuple(
            CurvePoint(
                parameters=point.parameters,
                tokens=point.tokens,
                nats=point.nats,
                standard_error=point.standard_error,
                id=point.id,
            )
            for point in curve.points
        ),
        line=line,
    )


def _bands(family: IsoflopFamilyFit) -> Bands:
    """L*(C) and N*(C) from half a decade under the smallest C to half a decade over the largest."""
    if not np.isfinite(family.loss.exponent[0]):
        return Bands()
    measured, margin = family.minima.log_c[0], np.log(10) / 2
    log_c = np.linspace(measured.min() - margin, measured.max() + margin, _BAND_SAMPLES)
    return Bands(
        L=_band(log_c, family.loss(log_c), family.missing_interval),
        N=_band(log_c, family.parameters(log_c), family.missing_interval),
    )


def _band(log_c: Array, y: Array, missing: str | None) -> tuple[BandPoint, ...]:
    """Value and interval of a law [1 + replicates, grid] at each C of the grid."""
    rows = []
    for x, column in zip(log_c, y.T, strict=True):
        low, high = (None if missing else interval(column[1:])) or (None, None)
        rows.append(BandPoint(flops=float(np.exp(x)), value=float(column[0]), low=low, high=high))
    return tuple(rows)


def _check_curves(points: Points, result: IsoflopResult) -> None:
    """Refuse runs of which no IsoFLOP law can come.

    Raises:
        InputError: there is one budget only, or no curve has a minimum.
    """
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
