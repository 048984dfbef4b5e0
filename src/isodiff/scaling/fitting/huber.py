"""Huber's loss on residuals of log loss, and what a difference of it means.

The objective of a law is S = sum_i rho(r_i), r_i = ln L_law - ln L_i, with (Huber 1964)

    rho(r) = r^2 / 2 where |r| <= delta, delta (|r| - delta / 2) beyond.                       (1)

It is summed, not averaged: an average makes gradients fall below an optimizer's default tolerance
long before the minimum (arXiv 2404.10102). With delta = 1e-3 it is nearly the sum of |r| for the
scatter of real runs.

Constraining q parameters raises S; where the constraint is true, 2 (S_q - S) / T follows chi^2_q, with
psi = rho' (Schrader and Hettmansperger 1980)

    T = mean psi(r)^2 / mean psi'(r).                                                          (2)

For small residuals T is their variance, for large ones delta over twice their density at zero, whatever
their law. So profiles have likelihood-ratio intervals, and models an AICc (Ronchetti 1985).
"""

from __future__ import annotations

import numpy as np

from isodiff.scaling.fitting.power_law import Array

DELTA = 1e-3
"""Where the loss turns from quadratic to linear, in log loss (arXiv 2203.15556, App. D.3)."""
_ROUNDING = 1e-18
"""T is never believed to be smaller: a law without noise still has finite ratios."""


def rho(r: Array, delta: float = DELTA) -> Array:
    """Eq. (1); half the square where delta is infinite."""
    size = np.abs(r)
    core = np.minimum(size, delta)
    return core * (size - 0.5 * core)


def slopes_of_rho(
    residual: Array, weight: Array, delta: float = DELTA
) -> tuple[Array, Array, Array]:
    """w rho'(r), w rho''(r), and w rho'(r) / r: the last is a majorant's curvature."""
    size = np.abs(residual)
    first = weight * np.clip(residual, -delta, delta)
    within = size <= delta
    soft = np.divide(delta, size, out=np.ones_like(size), where=~within)
    return first, weight * within, weight * soft


def bandwidth(residuals: Array) -> float:
    """Silverman's, with the robust scale of the residuals."""
    return float(1.06 * np.median(np.abs(residuals)) / 0.6745 * len(residuals) ** -0.2)


def temperature(residuals: Array, parameters: int) -> float:
    """T of Eq. (2), corrected for the fitted parameters.

    The residuals are smoothed, because a robust fit puts as many at zero as it has parameters.
    """
    from scipy.special import ndtr

    width = max(bandwidth(residuals), 1e-30)
    core = float((ndtr((DELTA - residuals) / width) - ndtr((-DELTA - residuals) / width)).mean())
    squared = float((np.clip(residuals, -DELTA, DELTA) ** 2).mean())
    free = max(len(residuals) - parameters, 1)
    return max(squared / core * len(residuals) / free, _ROUNDING)


def aicc(objective: float, temperature: float, num: int, parameters: int) -> float:
    """2 S / T + 2 k n / (n - k - 1); T is that of the freest of the models compared."""
    spare = num - parameters - 1
    return 2 * objective / temperature + 2 * parameters * num / spare if spare > 0 else float("inf")
