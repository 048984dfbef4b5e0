"""Profile likelihoods: what the data say of one parameter when all others are free.

A parameter is identified where the likelihood ratio (`huber`, Eq. 2) rejects values on both sides
within the range scanned; otherwise the data allow arbitrarily small or large values, and a point
estimate of it means nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from isodiff.scaling.bootstrap import LEVEL
from isodiff.scaling.huber import temperature
from isodiff.scaling.newton import Law, minimise
from isodiff.scaling.power import Array


@dataclass(frozen=True, slots=True)
class Profile:
    """Objective of the best fit at each value of a parameter, and the values not rejected.

    `low` or `high` is None where nothing in the range is rejected on that side.
    """

    values: Array
    objective: Array
    low: float | None
    high: float | None

    @property
    def identified(self) -> bool:
        """Bounded on both sides."""
        return self.low is not None and self.high is not None

    def to_json(self) -> dict[str, Any]:
        """Interval, verdict and curve."""
        return {
            "low": self.low,
            "high": self.high,
            "identified": self.identified,
            "curve": [
                [float(v), float(o)] for v, o in zip(self.values, self.objective, strict=True)
            ],
        }


def profile(
    law: Law, theta: Array, log_nats: Array, column: int, at: Array, shown: Array
) -> Profile:
    """Hold theta[column] at each value of `at` and fit the others; `shown` are the values' names.

    Each value starts from the best fit, and again from where its neighbours ended.
    """
    fixed = np.arange(len(theta)) == column
    start = np.repeat(theta[None], len(at), axis=0)
    start[:, column] = at
    found = minimise(law, start, log_nats, fixed=fixed)
    where, objective = found.theta, found.objective
    for step in (1, -1):
        beside = np.roll(where, step, axis=0)
        beside[:, column] = at
        again = minimise(law, beside, log_nats, fixed=fixed)
        better = again.objective < objective
        where = np.where(better[:, None], again.theta, where)
        objective = np.where(better, again.objective, objective)
    best = minimise(law, theta[None], log_nats)
    residuals = log_nats - law.log_nats(best.theta)[0][0]
    low, high = ends(
        shown,
        2 * (objective - min(float(best.objective[0]), float(objective.min()))),
        temperature(residuals, len(theta)) * float(chi2.ppf(LEVEL, 1)),
    )
    return Profile(shown, objective, low, high)


def ends(values: Array, rise: Array, allowed: float) -> tuple[float | None, float | None]:
    """Where a rising curve passes `allowed` on either side of its lowest point, straight between values."""
    excess = rise - allowed
    bottom = int(np.argmin(excess))

    def crossing(outward: range) -> float | None:
        inner = bottom
        for outer in outward:
            if excess[outer] > 0:
                share = (
                    excess[inner] / (excess[inner] - excess[outer]) if excess[inner] < 0 else 0.0
                )
                return float(values[inner] + share * (values[outer] - values[inner]))
            inner = outer
        return None

    return crossing(range(bottom - 1, -1, -1)), crossing(range(bottom + 1, len(values)))
