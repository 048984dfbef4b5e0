"""Power laws by least squares through the minima of IsoFLOP curves.

y = E + k C^p is linear in (E, k): only p is searched (variable projection, Golub and Pereyra 1973; for
scaling laws arXiv 2603.22339).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

_EXPONENTS = np.linspace(-1.5, -0.005, 60)
"""Where an exponent is sought when the irreducible loss E is free."""
FEWEST_WITH_FLOOR = 4
"""Minima below which three coefficients fit anything, and E is taken as 0."""
_WILD = 50.0
"""ln of losses beyond which a replicate's minimum is only wild."""
GOLDEN = (np.sqrt(5) - 1) / 2


def exp(x: Array) -> Array:
    """e^x held below e^700: few residuals make wild replicates, and an interval may show it."""
    return np.exp(np.minimum(x, 700.0))


def finite(value: float) -> float | None:
    """A number, or None (null in JSON) where there is none."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = irreducible + exp(log_k) C^exponent. Every field is an array of shape [replicates]."""

    log_k: Array
    exponent: Array
    irreducible: Array

    def __call__(self, log_c: Array) -> Array:
        """The law at ln C [points] -> y [replicates, points]."""
        log_y = self.log_k[:, None] + self.exponent[:, None] * log_c
        return self.irreducible[:, None] + exp(log_y)

    def log_compute(self, y: Array) -> Array:
        """ln C at which a falling law gives y [replicates, points]; NaN where it never does."""
        above = y - self.irreducible[:, None]
        log_above = np.log(np.where(above > 0, above, np.nan))
        slope = np.where(self.exponent < 0, self.exponent, np.nan)
        return (log_above - self.log_k[:, None]) / slope[:, None]


def line(x: Array, y: Array, keep: Mask, weight: Array | None = None) -> tuple[Array, Array]:
    """Least-squares (intercept, slope) per row over the kept columns; NaN with fewer than two."""
    enough, w = keep.sum(axis=1) >= 2, _kept(keep, weight)
    count = np.where(enough, w.sum(axis=1), 1.0)
    x_mean, y_mean = ((w * np.where(keep, z, 0)).sum(axis=1) / count for z in (x, y))
    dx = np.where(keep, x - x_mean[:, None], 0)
    dy = np.where(keep, y - y_mean[:, None], 0)
    spread = (w * dx * dx).sum(axis=1)
    slope = np.full(len(x), np.nan)
    np.divide((w * dx * dy).sum(axis=1), spread, out=slope, where=enough & (spread > 0))
    return y_mean - slope * x_mean, slope


def _kept(keep: Mask, weight: Array | None) -> Array:
    """Weights of the columns, 1 on average; 0 where a row does not keep one."""
    own = np.ones(keep.shape[1]) if weight is None or not weight.size else weight / weight.mean()
    return np.where(keep, own, 0.0)


def straight(log_c: Array, log_y: Array, keep: Mask, weight: Array | None = None) -> PowerLaw:
    """A straight line in log-log through each row [replicates, budgets]; E = 0."""
    intercept, slope = line(log_c, log_y, keep, weight)
    return PowerLaw(intercept, slope, np.zeros(len(slope)))


def fit_loss(
    log_c: Array, log_y: Array, keep: Mask, weight: Array | None = None, *, irreducible: bool
) -> PowerLaw:
    """Fit each row of ln y [replicates, budgets]: `straight`, or with E free.

    With E free, (y - E - k C^p) / y is minimized, each column by its weight: linear in E and k at a given p,
    so only p is searched. Where the best E would be negative,
    or where fewer than four minima leave nothing to judge it by, E = 0.
    """
    plain = straight(log_c, log_y, keep, weight)
    if not irreducible or keep.shape[1] < FEWEST_WITH_FLOOR:
        return plain
    y = np.exp(np.clip(np.where(keep, log_y, 0.0), -_WILD, _WILD))
    exponent, log_k, floor = _free_floor(log_c, y, np.sqrt(_kept(keep, weight)) / y)
    free = (floor > 0) & np.isfinite(log_k) & (keep.sum(axis=1) >= FEWEST_WITH_FLOOR)
    return PowerLaw(
        np.where(free, log_k, plain.log_k),
        np.where(free, exponent, plain.exponent),
        np.where(free, floor, 0.0),
    )


def _free_floor(log_c: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    """(p, ln k, E) of the best y = E + k C^p per row; ln k is NaN where the law would rise.

    The squares of weight times residual [replicates, budgets] are minimized.
    """
    origin = log_c.mean(axis=1, keepdims=True)  # k C^p = k' (C / C0)^p: well scaled for any C

    def solve(exponent: Array) -> tuple[Array, Array, Array]:
        a, b, r = weight, weight * np.exp(exponent[:, None] * (log_c - origin)), weight * y
        aa, ab, bb = ((u * v).sum(axis=1) for u, v in ((a, a), (a, b), (b, b)))
        ar, br = (a * r).sum(axis=1), (b * r).sum(axis=1)
        determinant = aa * bb - ab * ab
        determinant = np.where(determinant > 0, determinant, np.nan)
        floor, k = (bb * ar - ab * br) / determinant, (aa * br - ab * ar) / determinant
        miss = r - a * floor[:, None] - b * k[:, None]
        return np.nan_to_num((miss * miss).sum(axis=1), nan=np.inf), floor, k

    miss = np.stack([solve(np.full(len(y), p))[0] for p in _EXPONENTS], axis=1)
    best = miss.argmin(axis=1)
    low, high = _EXPONENTS[np.clip([best - 1, best + 1], 0, len(_EXPONENTS) - 1)]
    # Golden section, not elementwise.find_minimum: that is as fast, but refuses rows whose lowest value
    # lies at an end of the grid. The bracket shrinks by 0.618^45 < 1e-9.
    for _ in range(45):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        go_left = solve(left)[0] <= solve(right)[0]
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
    exponent = (low + high) / 2
    _, floor, k = solve(exponent)
    log_k = np.log(np.where(k > 0, k, np.nan)) - exponent * origin[:, 0]
    return exponent, log_k, floor
