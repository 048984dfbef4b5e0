"""A fit of repeated data as plain JSON: R_D and R_N, what the data know of them, rival forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.fitting.holdout import predictions, split
from isodiff.scaling.fitting.huber import DELTA, aicc, temperature
from isodiff.scaling.fitting.power_law import exp
from isodiff.scaling.fitting.profile_likelihood import Profile, profile
from isodiff.scaling.fitting.resample import noise
from isodiff.scaling.fitting.terms import NAMES
from isodiff.scaling.laws.data_constrained import (
    R_STARTS,
    FamilyFit,
    Fitter,
    RepeatedFit,
    Worth,
    first_guess,
    fit_worth,
)
from isodiff.scaling.laws.isoflop import REFERENCE
from isodiff.scaling.laws.limited_data import overtaking
from isodiff.scaling.laws.parametric import generator
from isodiff.scaling.laws.parametric_diagnostics import checked
from isodiff.scaling.laws.parametric_summary import cost_summary, falling, ranges
from isodiff.scaling.laws.printed_constants import printed_worth

SCANNED = np.geomspace(0.1, 1e5, 61)
"""Values of R_D and of R_N whose profiles are drawn."""
SHAPES = {"R_D": 5, "R_N": 6}
BEYOND = np.log(100.0)
"""How far past the largest compute, in ln C, overtaking is looked for."""


def summary(fit: RepeatedFit) -> dict[str, Any]:
    """Every number of the fit. With one family its constants stand at the top as well."""
    families = {
        name: family_summary(family, fit.data.source) for name, family in fit.families.items()
    }
    value: dict[str, Any] = {
        "law": "repeated",
        "protocol": protocol(fit),
        "bootstrap": fit.bootstrap,
        "seed": fit.seed,
        "delta": DELTA,
        "flops": fit.data.flops,
        "parameters_convention": fit.data.parameters,
        "source": fit.data.source,
        "warnings": [*fit.data.warnings, *warnings(families)],
        "families": families,
        "overtaking": overtakings(fit),
    }
    if len(families) == 1:
        (only,) = families.values()
        keys = ("R_D", "R_N", "objective", "published", "profile", "intervals", "num_points")
        value = {**{key: only[key] for key in keys}, **value}
    return value


def protocol(fit: RepeatedFit) -> str:
    """What was done, in one sentence."""
    printed = all(family.printed is not None for family in fit.families.values())
    fresh = "as the paper printed them" if printed else "fitted together with R_D and R_N"
    return (
        "Per family L = E + A/N'^alpha + B/D'^beta with D' = U + U R_D (1 - exp(-(D/U - 1)/R_D)), N' "
        f"likewise; constants of fresh data {fresh}; sum of Huber's loss (delta "
        f"{DELTA:g}) of log loss; {LEVEL:.0%} intervals from profile likelihoods, open where the data "
        f"do not bound them; C: {fit.data.flops}, N: {fit.data.parameters}."
    )


def family_summary(family: FamilyFit, source: str) -> dict[str, Any]:
    """One family: the constants with their profiles, the rival forms, what was foretold."""
    worth, runs = family.saturating, family.runs
    profiles = {name: drawn(worth, column) for name, column in SHAPES.items()}
    surface = worth.surface
    return {
        "kind": runs.points[0].kind,
        "num_points": len(runs.points),
        "max_epochs": float(worth.law.at.epochs.max()),
        "R_D": worth.constant(0),
        "R_N": worth.constant(1),
        "objective": worth.objective,
        "intervals": {name: [found.low, found.high] for name, found in profiles.items()},
        "identified": {name: found.identified for name, found in profiles.items()},
        "published": printed_worth(source, family.name),
        "profile": curve(profiles["R_D"]),
        "profile_R_N": curve(profiles["R_N"]),
        "fresh": {
            "printed": family.printed is not None,
            "E": float(surface.irreducible[0]),
            "A": float(exp(surface.log_a)[0]),
            "B": float(exp(surface.log_b)[0]),
            "alpha": float(surface.alpha[0]),
            "beta": float(surface.beta[0]),
        },
        "all_fitted_together": together(family),
        "models": models(family),
        "unimodal": unimodal(family.unimodal),
        "cost": cost_summary(runs.cost),
        "range": ranges(runs),
        "validation": held_out(family),
        "draws": {
            "parameters": [*NAMES, *worth.law.form.names],
            "rows": falling(worth.uncentered(family.replicates)).tolist(),
        },
    }


def drawn(worth: Worth, column: int) -> Profile:
    """The profile of R_D or R_N; every value starts from several of the other."""
    other = 11 - column
    starts = np.repeat(worth.theta[None], 1 + len(R_STARTS), axis=0)
    starts[1:, other] = R_STARTS
    y, held = worth.runs.log_nats, ~worth.free
    return profile(worth.law, starts, y, column, SCANNED, log=True, fixed=held)


def curve(found: Profile) -> list[list[float]]:
    """[[value, objective], ...]."""
    return [[float(v), float(o)] for v, o in zip(found.values, found.objective, strict=True)]


def together(family: FamilyFit) -> dict[str, float] | None:
    """R_D and R_N where the constants of fresh data are fitted too, not taken from print."""
    if family.printed is None:
        return None
    own = Fitter(family.runs, together=True).saturating(first_guess(family.name, family.runs))
    return {
        "R_D": own.constant(0),
        "R_N": own.constant(1),
        "objective": own.objective,
    }


def held_out(family: FamilyFit) -> dict[str, Any]:
    """The runs of most compute predicted from the others; intervals are of new runs."""
    part = split(family.runs.points)
    rest, left = family.runs.keep(~part.held_out), family.runs.keep(part.held_out)
    num = len(family.replicates)
    try:
        fewer = fit_worth(family.name, rest, family.printed, num, 0)
    except InputError as error:
        return {"rule": part.rule, "reason": f"without them {error}"}
    worth = fewer.saturating
    law = worth.foretell(np.vstack([worth.theta[None], fewer.replicates]), left)
    fresh = noise(
        worth.residuals, int(worth.free.sum()), law[1:].shape, generator(0, family.name, "new runs")
    )
    rows = predictions(np.exp(np.vstack([law[:1], law[1:] + fresh])), np.exp(left.log_nats), LEVEL)
    return checked(part, rest, left, rows)


def models(family: FamilyFit) -> list[dict[str, Any]]:
    """The rival forms by AICc, on the same constants of fresh data."""
    forms = {
        "as good as new": family.as_new,
        "saturating": family.saturating,
        "unimodal": family.unimodal,
    }
    n = len(family.runs.points)
    freest = family.unimodal
    scale = temperature(freest.residuals, int(freest.free.sum()))
    rows = [
        {
            "model": name,
            "parameters": int(worth.free.sum()),
            "objective": worth.objective,
            "aicc": aicc(worth.objective, scale, n, int(worth.free.sum())),
        }
        for name, worth in forms.items()
    ]
    lowest = min(row["aicc"] for row in rows)
    return [{**row, "delta_aicc": row["aicc"] - lowest} for row in rows]


def unimodal(worth: Worth) -> dict[str, float]:
    """Constants of D' = U e^p exp(-((e - 1) / e_p)^gamma), e_p = c (U/1e9)^m (1e9/N)^k."""
    p, log_gamma, log_c, m, k = (float(x) for x in worth.theta[5:])
    return {
        "p": p,
        "gamma": float(exp(np.array(log_gamma))),
        "c": float(exp(np.array(log_c))),
        "m": m,
        "k": k,
        "objective": worth.objective,
    }


def overtakings(fit: RepeatedFit) -> list[dict[str, Any]]:
    """The compute from which each family is better than the reference on the same text."""
    reference = fit.families.get(REFERENCE)
    if reference is None:
        return []
    rows = []
    for name, family in fit.families.items():
        if family is reference:
            continue
        texts = np.unique(
            np.concatenate([f.runs.log("unique_tokens") for f in (family, reference)])
        )
        log_c = np.concatenate([f.runs.log("flops") for f in (family, reference)])
        within = float(log_c.min()), float(log_c.max()) + BEYOND
        for log_unique in (texts[0], np.median(texts), texts[-1]):
            found = overtaking(family.limited, reference.limited, float(log_unique), within)
            rows.append(
                {
                    "family": name,
                    "unique_tokens": float(np.exp(log_unique)),
                    "flops": None if found is None else float(np.exp(found)),
                }
            )
    return rows


def allowed(low: float | None, high: float | None) -> str:
    """An interval that is open on a side."""
    if low is None:
        return "any value" if high is None else f"everything up to {high:.3g}"
    return f"{low:.3g} and more"


def warnings(families: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader must know before using the numbers."""
    said = []
    for name, found in families.items():
        for symbol, known in found["identified"].items():
            if not known:
                low, high = found["intervals"][symbol]
                said.append(
                    f"{name}: {symbol} is not identified: the data allow {allowed(low, high)}"
                )
        best = min(found["models"], key=lambda row: row["aicc"])
        if best["model"] != "saturating":
            said.append(
                f"{name}: by AICc the worth of repeated text is {best['model']} rather than saturating"
            )
    return said
