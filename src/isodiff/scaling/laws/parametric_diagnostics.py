"""What stands behind a parametric fit: the budget it predicts, the runs that carry it, its profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import Resampling
from isodiff.scaling.fitting.holdout import (
    REPLICATES,
    RunsHeldOut,
    Split,
    predictions,
    score,
    split,
)
from isodiff.scaling.fitting.newton import minimize
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.fitting.profile_likelihood import profile
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import LOOSE, ParametricFamilyFit, Runs, fit_family
from isodiff.scaling.laws.parametric_result import Profiles

_SCANNED = 41
"""Values of each profile."""


def held_out(fit: ParametricFamilyFit, resampling: Resampling) -> RunsHeldOut:
    """The largest budget predicted from the others; intervals are of new runs, noise included."""
    runs = fit.runs
    part = split(runs.points)
    rest, left = runs.keep(~part.held_out), runs.keep(part.held_out)
    try:
        replicates = min(fit.bootstrap, REPLICATES)
        fewer = fit_family(fit.name, rest, replicates, fit.seed, resampling)
    except InputError as error:
        return RunsHeldOut(rule=part.rule, reason=f"without them {error}")
    law = np.log(fewer.surface.nats(left.log_n, left.log_d))
    return checked(part, rest, left, fewer.new_runs(law))


def checked(part: Split, rest: Runs, left: Runs, log_nats: Array) -> RunsHeldOut:
    """How well replicates of the law [1 + replicates, runs] predicted the runs left out."""
    beyond = float(np.exp(left.log("flops").max() - rest.log("flops").max()))
    rows = predictions(np.exp(log_nats), np.exp(left.log_nats))
    return score(part.rule, beyond, left.points, rows)


@dataclass(frozen=True, slots=True)
class Influence:
    """What leaving each run out does to the exponent of N* and to E: [runs] each."""

    exponent: Array
    irreducible: Array


def influence(fit: ParametricFamilyFit) -> Influence:
    """Exact: every run is left out in turn and the law fitted again."""
    n = len(fit.runs.points)
    start = np.repeat(fit.theta[:1], n, axis=0)
    law = fit.runs.design.terms
    without = minimize(law, start, fit.runs.log_nats, 1 - np.eye(n), tolerance=LOOSE).theta
    surface = Surface.of(fit.runs.design.of_family(without, 0))
    exponent = surface.exponents(fit.middle, fit.runs.cost)[0]
    return Influence(
        exponent - fit.exponents()[0][0], surface.irreducible - fit.surface.irreducible[0]
    )


def profiles(fit: ParametricFamilyFit) -> Profiles:
    """Of E, from 0 to the lowest loss, and of both exponents, over a factor of 40."""
    law, theta, y = fit.runs.design.terms, fit.theta[:1], fit.runs.log_nats
    floors = np.exp(y.min()) * np.linspace(0.01, 0.99, _SCANNED)
    exponents = np.geomspace(0.05, 2.0, _SCANNED)
    return Profiles(
        E=profile(law, theta, y, 4, floors, log=True),
        alpha=profile(law, theta, y, 1, exponents, log=False),
        beta=profile(law, theta, y, 3, exponents, log=False),
    )
