"""An IsoFLOP fit as plain JSON: numbers, null where nothing is identified, and what to draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from isodiff.scaling.fitting.bootstrap import LEVEL, interval
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, PowerLaw, exp
from isodiff.scaling.laws.isoflop import REFERENCE, FamilyFit, IsoflopFit
from isodiff.scaling.laws.isoflop_diagnostics import held_out, parabola_bias, surface_of
from isodiff.scaling.laws.isoflop_warnings import biased, warnings
from isodiff.scaling.laws.loss_surface import Surface

LINE_SAMPLES = 41
BAND_SAMPLES = 25
DRAWS = 200
"""Replicates of the laws that are kept, for intervals of whatever is read off them later."""


def summary(fit: IsoflopFit) -> dict[str, Any]:
    """Every number of the fit; `curves` and `bands` are all that a figure needs."""
    families = {name: family_summary(fit, name) for name in fit.families}
    bias = [line for name, family in families.items() for line in biased(name, family)]
    return {
        "law": "isoflop",
        "protocol": protocol(fit),
        "bootstrap": fit.bootstrap,
        "seed": fit.seed,
        "irreducible": fit.irreducible,
        "huber": fit.huber,
        "flops": fit.data.flops,
        "parameters_convention": fit.data.parameters,
        "source": fit.data.source,
        "warnings": [*fit.data.warnings, *warnings(fit), *bias],
        "families": families,
    }


def protocol(fit: IsoflopFit) -> str:
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


def family_summary(fit: IsoflopFit, name: str) -> dict[str, Any]:
    """One family's exponents, multiplier, minima, refusals, curves and bands."""
    family = fit.families[name]
    minima, surface = family.minima, surface_of(family)
    return {
        "kind": family.kind,
        "N_exponent": family.estimate(family.parameters.exponent).to_json(),
        "D_exponent": family.estimate(family.tokens.exponent).to_json(),
        "L_exponent": family.estimate(family.loss.exponent).to_json(),
        "irreducible_loss": family.estimate(family.loss.irreducible).to_json()
        if fit.irreducible
        else None,
        "multiplier_vs_autoregressive": fit.multiplier(name).to_json(),
        "multiplier_alternatives": fit.multiplier_alternatives(name),
        "extrapolation": fit.extrapolation(name),
        "laws": {
            "N": law_summary(family.parameters),
            "D": law_summary(family.tokens),
            "L": law_summary(family.loss),
        },
        "noise": {
            "nats": family.noise.nats,
            "degrees_of_freedom": family.noise.degrees_of_freedom,
        },
        "excess_scatter": family.excess,
        "refits": {
            "refused": minima.share_lost(minima.keep),
            "edge": minima.share_lost(minima.inside | ~minima.keep),
        },
        "validation": held_out(fit, family),
        "surface": surface_summary(surface),
        "budgets": [
            {**budget_summary(family, curve, j), **bias_summary(curve, surface)}
            for j, curve in enumerate(family.accepted)
        ],
        "refused": [
            {"budget": curve.budget, "flops": curve.compute(), "reason": curve.refusal}
            for curve in family.curves
            if curve.refusal
        ],
        "curves": [curve_summary(curve) for curve in family.curves],
        "bands": bands(family),
        "range": {
            "C": [min(c.compute() for c in family.curves), max(c.compute() for c in family.curves)]
        },
        "draws": draws(family),
    }


def draws(family: FamilyFit) -> dict[str, Any]:
    """Replicates of the three laws y = irreducible + e^log_k C^exponent; none without a bootstrap."""
    laws = {"N": family.parameters, "D": family.tokens, "L": family.loss}
    columns = {
        f"{symbol}_{part}": getattr(law, part)[1 : DRAWS + 1]
        for symbol, law in laws.items()
        for part in ("log_k", "exponent", "irreducible")
    }
    rows = np.stack(list(columns.values()), axis=1)
    return {"parameters": list(columns), "rows": rows[np.isfinite(rows).all(axis=1)].tolist()}


def law_summary(law: PowerLaw) -> dict[str, float] | None:
    """Coefficients of y = irreducible + k C^exponent; null where there is no law."""
    if not np.isfinite(law.exponent[0]):
        return None
    return {
        "k": float(np.exp(law.log_k[0])),
        "exponent": float(law.exponent[0]),
        "irreducible": float(law.irreducible[0]),
    }


def budget_summary(family: FamilyFit, curve: Curve, j: int) -> dict[str, Any]:
    """The minimum of one accepted curve, N and L with their intervals."""
    minima = family.minima
    size, loss = exp(minima.log_n[:, j]), minima.nats[:, j]
    n, nats = family.estimate(size), family.estimate(loss)
    return {
        "budget": curve.budget,
        "flops": curve.compute(float(minima.log_n[0, j])),
        "N_opt": n.value,
        "N_low": n.low,
        "N_high": n.high,
        "D_opt": float(np.exp(minima.log_d[0, j])),
        "L_opt": nats.value,
        "L_low": nats.low,
        "L_high": nats.high,
        "sizes": curve.num_sizes,
        "runs": len(curve.points),
    }


def surface_summary(surface: Surface | None) -> dict[str, float] | None:
    """Constants of the least-squares surface by which parabolas are judged."""
    if surface is None:
        return None
    return {
        "E": float(surface.irreducible[0]),
        "A": float(exp(surface.log_a)[0]),
        "B": float(exp(surface.log_b)[0]),
        "alpha": float(surface.alpha[0]),
        "beta": float(surface.beta[0]),
    }


def bias_summary(curve: Curve, surface: Surface | None) -> dict[str, float | None]:
    """How far the parabola itself moves N* (relative) and L* (nats) on these sizes."""
    bias = None if surface is None else parabola_bias(curve, surface)
    return {
        "parabola_bias_N": None if bias is None else bias.size - 1,
        "parabola_bias_L": None if bias is None else bias.nats,
    }


def curve_summary(curve: Curve) -> dict[str, Any]:
    """One IsoFLOP curve as a figure draws it; a refused one too."""
    parabola, samples = None, []
    if curve.num_sizes >= 3:
        log_n = np.linspace(curve.log_n.min(), curve.log_n.max(), LINE_SAMPLES)
        samples = [
            {"parameters": float(np.exp(x)), "nats": float(y)}
            for x, y in zip(log_n, curve.parabola(log_n), strict=True)
        ]
        parabola = {
            "coefficients": curve.coefficients(curve.nats[None])[0].tolist(),
            "center": curve.center,
            "width": curve.width,
        }
    best = curve.minima(curve.nats[None])[0][0] if curve.refusal is None else None
    return {
        "budget": curve.budget,
        "flops": curve.compute(None if best is None else float(best)),
        "accepted": curve.refusal is None,
        "reason": curve.refusal,
        "parabola": parabola,
        "points": [
            {
                "parameters": point.parameters,
                "tokens": point.tokens,
                "nats": point.nats,
                "standard_error": point.standard_error,
                "id": point.id,
            }
            for point in curve.points
        ],
        "line": samples,
    }


def bands(family: FamilyFit) -> dict[str, list[dict[str, float | None]]]:
    """L*(C) and N*(C) from half a decade under the smallest C to half a decade over the largest."""
    if not np.isfinite(family.loss.exponent[0]):
        return {"L": [], "N": []}
    measured, margin = family.minima.log_c[0], np.log(10) / 2
    log_c = np.linspace(measured.min() - margin, measured.max() + margin, BAND_SAMPLES)
    return {
        "L": band(log_c, family.loss(log_c), family.missing_interval),
        "N": band(log_c, family.parameters(log_c), family.missing_interval),
    }


def band(log_c: Array, y: Array, missing: str | None) -> list[dict[str, float | None]]:
    """Value and interval of a law [1 + replicates, grid] at each C of the grid."""
    rows = []
    for x, column in zip(log_c, y.T, strict=True):
        found = None if missing else interval(column[1:])
        low, high = found or (None, None)
        rows.append(
            {"flops": float(np.exp(x)), "value": float(column[0]), "low": low, "high": high}
        )
    return rows
