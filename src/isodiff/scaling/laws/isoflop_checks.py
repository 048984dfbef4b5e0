"""Checks of an IsoFLOP fit: the largest budget predicted by the others, and the bias of its parabolas.

A loss surface is not a parabola in ln N. How far that moves a minimum depends on where the sizes lie, so
it is measured on the sizes of the study itself: the parametric law of the family's runs gives losses without
noise at every run, parabolas go through these, and their lowest points are compared with the surface's own
along the same curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.holdout import predictions
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, exp
from isodiff.scaling.laws.isoflop import IsoflopFamilyFit, IsoflopFit, fit_isoflop
from isodiff.scaling.laws.isoflop_result import BudgetHeldOut
from isodiff.scaling.laws.law import generator
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import Runs, fit_parametric_family, ordered

SmallerFits = dict[float, IsoflopFit]
"""By the budget that they and all larger ones leave out."""


def smaller_fits(fit: IsoflopFit) -> SmallerFits:
    """The fit of all runs below the largest accepted budget of a family, by that budget."""
    found: SmallerFits = {}
    for budget in {one.accepted[-1].budget for one in fit.families.values() if one.accepted}:
        points = [p for p in fit.data.points if p.budget < budget]
        if points:
            found[budget] = fit_isoflop(
                points,
                bootstrap=fit.bootstrap,
                seed=fit.seed,
                irreducible=fit.irreducible,
                huber=fit.huber,
            )
    return found


def held_out_budget(family: IsoflopFamilyFit, smaller: SmallerFits) -> BudgetHeldOut:
    """N*, D* and L* of the largest accepted budget, predicted by the laws of the smaller ones.

    The intervals hold the law's uncertainty, the noise of the minimum it predicts, and how far that may lie
    off the law, as the minima do that the law goes through.
    """
    if len(family.accepted) < 3:
        return BudgetHeldOut(
            reason=f"{len(family.accepted)} accepted budgets; 3 are needed to leave one out"
        )
    last, minima = family.accepted[-1], family.minima
    fewer = smaller[last.budget].families[family.name]
    laws = (fewer.parameters, fewer.tokens, fewer.loss)
    predicted = [np.log(law(minima.log_c[:1, -1])) for law in laws]
    rows = min(len(minima.nats), *map(len, predicted))
    log_n, log_nats = minima.log_n[:rows, -1].copy(), np.log(minima.nats[:rows, -1])
    rng = generator(smaller[last.budget].seed, f"beyond {family.name}")
    budgets = np.log([curve.budget for curve in fewer.accepted])
    if len(budgets) and fewer.loss_from != "joint surface":
        log_n[1:] += fewer.spread.size.off_line(budgets, np.log(last.budget), rng)[: rows - 1]
        log_nats[1:] += fewer.spread.loss.again(rng)[: rows - 1]
    observed = np.stack([log_n, last.log_at("tokens", log_n), log_nats], axis=1)
    samples = exp(np.hstack([law[:rows] for law in predicted]) + observed - observed[0])
    size, tokens, loss = predictions(samples[np.isfinite(samples).all(axis=1)], np.exp(observed[0]))
    return BudgetHeldOut(
        rule=f"the largest budget, {last.budget:.3g} FLOPs",
        extrapolation=last.budget / max(point.budget for point in fewer.points),
        N=size,
        D=tokens,
        L=loss,
    )


def best_surface(family: IsoflopFamilyFit) -> Surface | None:
    """The parametric law of a family's runs; None with too few, or where it has no optimum."""
    try:
        return fit_parametric_family(family.name, Runs(ordered(family.points)), 0, 0).surface
    except InputError:
        return None


def parabola_bias(curve: Curve, surface: Surface) -> tuple[float | None, float | None]:
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
