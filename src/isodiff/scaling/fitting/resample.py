"""Replicates of a set of runs about a fitted law: the runs weighed anew, or fresh residuals.

`case` gives the n runs the random weights n Dirichlet(1, ..., 1) (the Bayesian bootstrap, Rubin 1981):
like drawing runs with replacement, but no run is ever lost, which a law carried by few runs would not
survive. It assumes nothing about the noise.

`residual` keeps every (N, D) and gives it the fitted loss with fresh noise: narrower intervals, which
hold only where all runs scatter alike (with noise that falls with size they cover 72 % instead of 95).
The noise is drawn from the residuals r_i with random signs, and smoothed, because a robust fit feels the
density of the noise at zero, where it has itself put as many residuals as it has parameters:

    e = s (sigma r_i + w z) / sqrt(1 + w^2 / v),   s^2 = n / chi^2_nu,   nu = n - k            (1)

with sigma = +-1, z normal, v = sum r^2 / n, and Silverman's bandwidth w. The spread of e is that of
the residuals corrected for k fitted parameters, and as uncertain as nu residuals leave it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from isodiff.scaling.fitting.huber import bandwidth
from isodiff.scaling.fitting.power_law import Array

Resampling = Literal["case", "residual"]


def weights(n: int, num: int, rng: np.random.Generator) -> Array:
    """Random weights of n runs, n in all: [replicates, n]."""
    drawn = rng.exponential(size=(num, n))
    return drawn * (n / drawn.sum(axis=1, keepdims=True))


def noise(
    residuals: Array, parameters: int, shape: tuple[int, int], rng: np.random.Generator
) -> Array:
    """Fresh noise [replicates, points] that scatters as the residuals [n] do: Eq. (1)."""
    n = len(residuals)
    free = n - parameters
    variance = float(residuals @ residuals) / n
    width = bandwidth(residuals)
    drawn = rng.choice(residuals, size=shape) * rng.choice([-1.0, 1.0], size=shape)
    smooth = drawn + width * rng.standard_normal(shape)
    shrink = np.sqrt(1 + width**2 / max(variance, 1e-300))
    return smooth / shrink * np.sqrt(n / rng.chisquare(free, size=(shape[0], 1)))
