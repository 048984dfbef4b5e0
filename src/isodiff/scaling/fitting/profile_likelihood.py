"""Profile likelihoods: what the data say of one parameter when all others are free.

A parameter is identified where the likelihood ratio (`huber`, Eq. 2) rejects values on both sides
within the range scanned; otherwise the data allow arbitrarily small or large values, and a point
estimate of it means nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.fitting.huber import temperature
from isodiff.scaling.fitting.newton import LogLossLaw, minimize
from isodiff.scaling.fitting.power_law import Array, Mask

_FINER = 7
"""Values added between neighbors of which one is rejected."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The values of a parameter that are not rejected, and (value, objective of the best fit at it).

    `low` or `high` is None where nothing in the range is rejected on that side;
    `identified`: both are bounded.
    """

    low: float | None
    high: float | None
    identified: bool
    curve: tuple[tuple[float, float], ...]


def profile(
    law: LogLossLaw,
    theta: Array,
    log_nats: Array,
    column: int,
    values: Array,
    *,
    log: bool,
    fixed: Mask | None = None,
) -> Profile:
    """Hold a parameter at each of `values` and fit the others; theta holds its logarithm if `log`.

    Each value starts from every row of `theta` [starts, k], the best fit first, and again from where
    its neighbors ended; the best fit's own value and finer ones about the ends are added. What is
    `fixed` stays so.
    """
    from scipy.stats import chi2

    others = np.zeros(theta.shape[1], bool) if fixed is None else fixed
    best = minimize(law, theta[:1], log_nats, fixed=others)
    residuals = log_nats - law.log_nats(best.theta)[0][0]
    allowed = temperature(residuals, int((~others).sum())) * float(chi2.ppf(LEVEL, 1))
    starts = np.vstack([best.theta, theta[1:]])
    lattice = np.log(values) if log else values
    at = np.union1d(lattice, np.clip(best.theta[0, column], lattice[0], lattice[-1]))
    objective = _trace(law, starts, log_nats, column, at, others)
    lowest = min(float(best.objective[0]), float(objective.min()))
    ends = _brackets(2 * (objective - lowest) - allowed)
    if ends:
        finer = np.concatenate([np.linspace(at[i], at[j], _FINER + 2)[1:-1] for i, j in ends])
        more = _trace(law, starts, log_nats, column, finer, others)
        order = np.argsort(np.concatenate([at, finer]))
        at = np.concatenate([at, finer])[order]
        objective = np.concatenate([objective, more])[order]
    shown = np.exp(at) if log else at
    low, high = _ends(shown, 2 * (objective - lowest), allowed)
    return Profile(
        low=low,
        high=high,
        identified=low is not None and high is not None,
        curve=tuple(zip(shown.tolist(), objective.tolist(), strict=True)),
    )


def _trace(
    law: LogLossLaw, starts: Array, log_nats: Array, column: int, at: Array, fixed: Mask
) -> Array:
    num, k = starts.shape
    held = fixed | (np.arange(k) == column)
    begin = np.repeat(starts, len(at), axis=0)
    begin[:, column] = np.tile(at, num)
    found = minimize(law, begin, log_nats, fixed=held)
    every = found.objective.reshape(num, len(at))
    where = found.theta.reshape(num, len(at), k)[every.argmin(axis=0), np.arange(len(at))]
    objective = every.min(axis=0)
    for step in (1, -1):
        beside = np.roll(where, step, axis=0)
        beside[:, column] = at
        again = minimize(law, beside, log_nats, fixed=held)
        better = again.objective < objective
        where = np.where(better[:, None], again.theta, where)
        objective = np.where(better, again.objective, objective)
    return objective


def _brackets(excess: Array) -> list[tuple[int, int]]:
    """Neighbors on either side of the lowest value, of which the outer one is the first rejected."""
    bottom = int(np.argmin(excess))
    above = np.flatnonzero(excess > 0)
    left, right = above[above < bottom], above[above > bottom]
    found = [(int(left[-1]), int(left[-1]) + 1)] if len(left) else []
    return found + ([(int(right[0]) - 1, int(right[0]))] if len(right) else [])


def _ends(values: Array, ratio: Array, allowed: float) -> tuple[float | None, float | None]:
    """Where the likelihood ratio passes what is allowed; its root is straight, as of a parabola."""
    excess, root = ratio - allowed, np.sqrt(np.maximum(ratio, 0.0))
    bottom, low, high = int(np.argmin(excess)), None, None
    for i, j in _brackets(excess):
        share = (root[i] - np.sqrt(allowed)) / (root[i] - root[j])
        cut = float(values[i] + share * (values[j] - values[i]))
        low, high = (cut, high) if j <= bottom else (low, cut)
    return low, high
