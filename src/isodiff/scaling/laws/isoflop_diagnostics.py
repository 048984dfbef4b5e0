"""What stands behind an IsoFLOP law: the budget it predicts, and the bias of its parabolas.

A loss surface is not a parabola in ln N. How far that moves a minimum depends on where the sizes lie, so
it is measured on the sizes of the study itself: the surface E + A/N^alpha + B/D^beta that fits the family's
runs best (`projection`) gives losses without noise at every run, parabolas go through these, and their
lowest points are compared with the surface's own along the same curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from isodiff.scaling.fitting.holdout import REPLICATES, predictions
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, exp, least_squares
from isodiff.scaling.laws.isoflop import IsoflopFamilyFit, IsoflopFit, family_generator, fit_family
from isodiff.scaling.laws.isoflop_result import BudgetHeldOut
from isodiff.scaling.laws.loss_surface import Surface


@dataclass(frozen=True, slots=True)
class Bias:
    """A parabola's minimum over the surface's own: N* as a ratio, L* as a difference in nats."""

    size: float
    nats: float


def surface_of(family: IsoflopFamilyFit) -> Surface | None:
    """The least-squares surface of a family's runs; None with too few or where it makes no sense."""
    points = [point for curve in family.curves for point in curve.points]
    if len(points) <= len(NAMES) or len(family.curves) < 2:
        return None
    log_n, log_d = (np.log([getattr(p, name) for p in points]) for name in ("parameters", "tokens"))
    found = least_squares(log_n, log_d, np.array([p.nats for p in points]))
    return None if found is None else Surface.of(found[None])


def parabola_bias(curve: Curve, surface: Surface) -> Bias | None:
    """The bias of one accepted curve; None where the surface's minimum is outside its sizes."""

    def loss(log_n: Array) -> Array:
        return surface.nats(log_n, curve.log_at("tokens", log_n))[0]

    low, high = curve.log_n.min(), curve.log_n.max()
    found = minimize_scalar(
        lambda x: float(loss(np.array([x]))[0]),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-10},
    )
    if min(found.x - low, high - found.x) < 1e-6 * (high - low):
        return None
    log_n, nats, useful = curve.minima(loss(curve.log_n)[None])
    if not useful[0]:
        return None
    return Bias(float(np.exp(log_n[0] - found.x)), float(nats[0] - found.fun))


def held_out(fit: IsoflopFit, family: IsoflopFamilyFit) -> BudgetHeldOut:
    """N*, D* and L* of the largest accepted budget, predicted by the laws of the smaller ones.

    The intervals hold the law's uncertainty and the noise of the minimum it predicts.
    """
    if len(family.accepted) < 3:
        return BudgetHeldOut(
            reason=f"{len(family.accepted)} accepted budgets; 3 are needed to leave one out"
        )
    last = family.accepted[-1]
    points = [p for curve in family.curves for p in curve.points if p.budget < last.budget]
    replicates = min(fit.bootstrap, REPLICATES)
    rng = family_generator(fit.seed, family.name)
    fewer = fit_family(family.name, points, replicates, rng, fit.irreducible, fit.huber)
    minima = family.minima
    log_c = minima.log_c[:1, -1]
    observed = np.stack(
        [minima.log_n[:, -1], minima.log_d[:, -1], np.log(minima.nats[:, -1])], axis=1
    )
    laws = (fewer.parameters, fewer.tokens, fewer.loss)
    predicted = np.log(np.hstack([law(log_c) for law in laws]))
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
