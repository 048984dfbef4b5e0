"""The law of repeated data: E + A/N'^alpha + B/D'^beta with effective N' and D' (`effective`).

The five constants of fresh data are those that the runs' paper printed, or are fitted together with the
form's own. R_D and R_N are then judged by their profiles: a good fit does not mean that the data know them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import check_options, weights
from isodiff.scaling.fitting.holdout import REPLICATES
from isodiff.scaling.fitting.huber import DELTA, rho, slopes_of_rho
from isodiff.scaling.fitting.newton import NAMES, minimize
from isodiff.scaling.fitting.power_law import Array, Mask
from isodiff.scaling.laws.effective_data import AS_NEW, Form, Limited, Repeats, Saturating, Unimodal
from isodiff.scaling.laws.law import Fit, generator
from isodiff.scaling.laws.load import fresh_constants
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.laws.parametric import (
    LOOSE,
    Runs,
    check_falling,
    fit_parametric_family,
    ordered,
)
from isodiff.scaling.points import Point, Points, by_family

_ONE_EPOCH = 1.001
"""Runs seen at most so often are of fresh data."""
ROUNDS, SETTLED = 60, 1e-9
"""How often, and until when, U_N follows constants that are fitted together with the form's."""
R_STARTS = np.log([1.0, 4.0, 16.0, 64.0, 256.0])
_UNIMODAL_STARTS = [
    (p, np.log(gamma), np.log(scale), 0.0, 0.0)
    for p, gamma, scale in itertools.product((0.5, 1.0, 1.5), (0.4, 1.0), (10.0, 100.0, 1000.0))
]


@dataclass(frozen=True)
class DataConstrainedLaw:
    """`newton.LogLossLaw` with parameters (log_a, alpha, log_b, beta, log_e, *form); A and B at the center.

    The Hessian is that of Gauss and Newton with a majorant's weights: always positive.
    """

    form: Form
    at: Repeats
    center: tuple[float, float]
    delta: float = DELTA

    def log_nats(self, theta: Array) -> tuple[Array, Any]:
        """ln L [batch, points]; and what gives its slopes [batch, points, parameters]."""
        worth = self.form.effective(theta[:, 5:], self.at)
        x, y = worth.log_n - self.center[0], worth.log_d - self.center[1]
        alpha, beta = theta[:, 1:2], theta[:, 3:4]
        z = np.stack(
            np.broadcast_arrays(theta[:, :1] - alpha * x, theta[:, 2:3] - beta * y, theta[:, 4:5])
        )
        top = z.max(axis=0)
        p = np.exp(z - top)
        whole = p.sum(axis=0)
        p /= whole

        def jacobian() -> Array:
            base = np.stack([p[0], -p[0] * x, p[1], -p[1] * y, p[2]], axis=-1)
            size, tokens = (-alpha * p[0])[..., None], (-beta * p[1])[..., None]
            form = size * worth.slope_n + tokens * worth.slope_d
            return np.concatenate([base, form], axis=-1)

        return top + np.log(whole), jacobian

    def slopes(self, known: Any, residual: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Gradient, majorant and scale of the objective."""
        jacobian: Array = known()
        first, _, soft = slopes_of_rho(residual, weight)
        across = jacobian.transpose(0, 2, 1)
        gradient = (across @ first[..., None])[..., 0]
        hessian = across @ (soft[..., None] * jacobian)
        return gradient, hessian, np.einsum("bkk->bk", hessian)


@dataclass(frozen=True)
class Worth:
    """One form fitted to one family: theta [parameters], of which some were free, and the objective."""

    law: DataConstrainedLaw
    theta: Array
    objective: float
    free: Mask
    runs: Runs

    @property
    def num_free(self) -> int:
        """How many parameters were free."""
        return int(self.free.sum())

    def constant(self, place: int) -> float:
        """R_D (0) or R_N (1); at most `AS_NEW`'s, beyond which nothing changes."""
        return float(np.exp(min(self.theta[5 + place], AS_NEW)))

    def uncentered(self, theta: Array) -> Array:
        """Rows of parameters with A and B at N = D = 1."""
        own = theta.copy()
        own[:, 0] += own[:, 1] * self.law.center[0]
        own[:, 2] += own[:, 3] * self.law.center[1]
        return own

    @property
    def surface(self) -> Surface:
        """The constants of fresh data."""
        return Surface.of(self.uncentered(self.theta[None])[:, :5])

    @cached_property
    def residuals(self) -> Array:
        """ln L_i - ln of the law."""
        return self.runs.log_nats - self.law.log_nats(self.theta[None])[0][0]

    def predict(self, theta: Array, runs: Runs) -> Array:
        """ln L [rows of theta, runs] of other runs."""
        at = _repeats(runs, self.surface)
        return DataConstrainedLaw(self.law.form, at, self.law.center).log_nats(theta)[0]


def _repeats(runs: Runs, fresh: Surface) -> Repeats:
    new = np.minimum(runs.log("unique_tokens"), runs.log_d)
    return Repeats.of(runs.log_n, runs.log_d, new, fresh.size_for(new)[0])


@dataclass(frozen=True)
class DataConstrainedFamilyFit:
    """Both forms of one family, and the same law with repeated tokens as good as new.

    `printed` are the constants of fresh data they stand on; None where these were fitted with them.
    """

    name: str
    runs: Runs
    printed: Surface | None
    saturating: Worth
    unimodal: Worth
    as_new: Worth
    replicates: Array

    @property
    def limited(self) -> Limited:
        """The law as a plan reads it."""
        return Limited(
            self.saturating.surface,
            self.saturating.law.form,
            self.saturating.theta[None, 5:],
            self.runs.cost,
        )


@dataclass(frozen=True)
class DataConstrainedFit(Fit):
    """The law of repeated data of every family."""

    law: ClassVar = "repeated"

    families: dict[str, DataConstrainedFamilyFit]

    def numbers(self) -> dict[str, dict[str, float | None]]:
        """R_D and R_N."""
        return {
            name: {
                "R_D": family.saturating.constant(0),
                "R_N": family.saturating.constant(1),
                "objective": family.saturating.objective,
            }
            for name, family in self.families.items()
        }


def fit_data_constrained(
    points: Points | Sequence[Point],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> DataConstrainedFit:
    """Fit the worth of repeated data to each family.

    Published runs take the constants of fresh data that their paper printed.

    Raises:
        InputError: runs that do not say how long their text is, none that repeats it, or too few.
    """
    data, named = by_family(points)
    check_options(bootstrap, seed)
    families = {
        name: fit_worth(
            name, Runs(ordered(own)), fresh_constants(data.source, name), bootstrap, seed
        )
        for name, own in named.items()
    }
    return DataConstrainedFit(data, bootstrap, seed, families)


def fit_worth(
    name: str, runs: Runs, printed: Surface | None, bootstrap: int, seed: int
) -> DataConstrainedFamilyFit:
    """Every form of one family."""
    _check_text(name, runs)
    fresh = first_guess(name, runs) if printed is None else printed
    fit = Fitter(runs, together=printed is None)
    saturating = fit.saturating(fresh)
    check_falling(name, saturating.theta)
    again = np.repeat(saturating.theta[None], min(bootstrap, REPLICATES), axis=0)
    if bootstrap:
        weight = weights(len(runs.points), len(again), generator(seed, name, "repeated"))
        law, fixed = saturating.law, ~saturating.free
        again = minimize(law, again, runs.log_nats, weight, fixed=fixed, tolerance=LOOSE).theta
    return DataConstrainedFamilyFit(
        name,
        runs,
        printed,
        saturating,
        fit(Unimodal(), fresh, _UNIMODAL_STARTS),
        fit(Saturating(), fresh, [(AS_NEW, AS_NEW)], held=True),
        again,
    )


@dataclass(frozen=True)
class Fitter:
    """Fits a form to the runs of one family, with the constants of fresh data free or not."""

    runs: Runs
    together: bool

    def saturating(self, fresh: Surface) -> Worth:
        """From many starts; where U_N moves with the constants of fresh data, it is let follow."""
        found = self(Saturating(), fresh, list(itertools.product(R_STARTS, R_STARTS)))
        for _ in range(ROUNDS if self.together else 0):
            before = found.theta
            found = self(Saturating(), found.surface, [tuple(before[5:])])
            if np.allclose(found.theta, before, rtol=0, atol=SETTLED):
                break
        return found

    def __call__(
        self, form: Form, fresh: Surface, starts: Sequence[Sequence[float]], *, held: bool = False
    ) -> Worth:
        """The best of `starts`; `held` keeps the form's constants as they are."""
        runs = self.runs
        center = (float(runs.log_n.mean()), float(runs.log_d.mean()))
        base = [
            fresh.log_a[0] - fresh.alpha[0] * center[0],
            fresh.alpha[0],
            fresh.log_b[0] - fresh.beta[0] * center[1],
            fresh.beta[0],
            fresh.log_e[0],
        ]
        start = np.array([[*base, *shape] for shape in starts], float)
        free = np.repeat([self.together, not held], [5, len(form.names)])
        law = DataConstrainedLaw(form, _repeats(runs, fresh), center)
        if not free.any():
            residual = law.log_nats(start)[0] - runs.log_nats
            return Worth(law, start[0], float(rho(residual).sum()), free, runs)
        found = minimize(law, start, runs.log_nats, fixed=~free)
        return Worth(law, found.best, float(found.objective.min()), free, runs)


def _check_text(name: str, runs: Runs) -> None:
    """Refuse runs that can say nothing of repeated text."""
    if any(point.unique_tokens is None for point in runs.points):
        raise InputError(
            f"some runs of {name} do not say how long their text is; give unique_tokens for each"
        )
    if (runs.log_d - runs.log("unique_tokens")).max() < np.log(_ONE_EPOCH):
        raise InputError(f"no run of {name} sees its text more than once; use --law parametric")
    constants = len(NAMES) + len(Unimodal().names)
    if len(runs.points) <= constants:
        raise InputError(
            f"{name} has {len(runs.points)} runs; up to {constants} constants of fresh and repeated data "
            f"need {constants + 1} at least"
        )
    runs.check(name)


def first_guess(name: str, runs: Runs) -> Surface:
    """Constants of fresh data from the runs of one epoch; from all where these are too few."""
    once = runs.keep(runs.log_d - runs.log("unique_tokens") < np.log(_ONE_EPOCH))
    try:
        return fit_parametric_family(name, once, 0, 0).surface
    except InputError:
        return fit_parametric_family(name, runs, 0, 0).surface
