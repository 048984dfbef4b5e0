"""Parabolas that one bad run does not bend: Huber's regression on every replicate of a curve.

Each curve minimizes sum rho_d(loss - parabola), quadratic up to d and linear beyond. d is 1.345 times the
scatter of the family's runs, which loses 5 % of precision where the noise is normal (Huber 1981). The scatter
is the median absolute residual of all the family's curves about parabolas of least absolute deviations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from isodiff.scaling.fitting.power_law import Array

_TUNING = 1.345
_KEPT = (
    2 * norm.cdf(_TUNING) - 1 - 2 * _TUNING * norm.pdf(_TUNING) + 2 * _TUNING**2 * norm.sf(_TUNING)
)
"""Mean of min(z^2, TUNING^2) of a standard normal z."""
_STEPS = 40
_SMALLEST = 1e-10
"""Nats; residuals below are rounding."""


def coefficients(design: Array, nats: Array, delta: float) -> Array:
    """Coefficients [replicates, 3] of Huber's regression of each row of losses [replicates, points].

    Weighted least squares with weights min(1, d / |r|), which never raises the sum.
    """
    k = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)
    weight = np.ones_like(nats)
    found: Array = np.zeros((len(nats), k))
    for _ in range(_STEPS):
        heavy, aimed = (weight @ products).reshape(-1, k, k), (weight * nats) @ design
        before = found
        found = np.linalg.solve(heavy, aimed[:, :, None])[:, :, 0].astype(np.float64)
        if np.abs(found - before).max() < 1e-5 * delta:
            break
        residual = np.abs(nats - found @ design.T)
        weight = np.minimum(1.0, delta / np.maximum(residual, delta))
    return found


def threshold(designs: Sequence[Array], nats: Sequence[Array]) -> float:
    """d of a family from the points of its curves that have more than three."""
    residuals = [
        y - coefficients(x, y[None], _SMALLEST)[0] @ x.T for x, y in zip(designs, nats, strict=True)
    ]
    if not residuals:
        return np.inf
    # Three residuals of a curve are next to zero because its parabola passes through three points.
    free = np.concatenate([np.sort(np.abs(r))[3:] for r in residuals])
    return max(_TUNING * float(np.median(free)) / 0.6745, _SMALLEST)


def winsorized(residuals: Array, delta: float) -> Array:
    """Residuals cut at d, scaled so that normal ones keep their variance."""
    return np.clip(residuals, -delta, delta) / np.sqrt(_KEPT)
