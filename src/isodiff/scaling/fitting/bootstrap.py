"""Replicates of a study: fitted parabolas or a fitted law with fresh noise, or the runs weighed anew.

**About parabolas** (`replicates`). A run scatters about its parabola by seed, by data order and by
evaluation, and the parabola itself is only an approximation. The scale of that scatter is one number per
family, estimated from the residuals of all its curves together, s^2 = sum r^2 / nu with nu = sum (points -
3). Replicate b draws the noise of every run from N(0, s_b^2), where s_b^2 = s^2 nu / chi^2_nu: the scale is
no better known than nu residuals allow, and with it percentile intervals of any statistic linear in the
losses are exactly Student's t_nu intervals. Resampling residuals instead would take the few residuals there
are (often one or two a curve) for the whole law of the noise.

Where no curve has more than three points nothing estimates s; the standard errors of the runs'
evaluations stand in for it. They leave out the noise between seeds, so a warning goes with them.

**About a law**, by `case` (`weights`): n runs get the random weights n Dirichlet(1, ..., 1) (the Bayesian
bootstrap, Rubin 1981): like drawing runs with replacement, but no run is ever lost, which a law carried by
few runs would not survive. It assumes nothing about the noise.

By `residual` (`noise`) every (N, D) gets its fitted loss with fresh noise: narrower intervals, which hold
only where all runs scatter alike (with noise that falls with size they cover 72 % instead of 95). The noise
is drawn from the residuals r_i with random signs, and smoothed, because a robust fit feels the density of
the noise at zero, where it has itself put as many residuals as it has parameters:

    e = s (sigma r_i + w z) / sqrt(1 + w^2 / v),   s^2 = n / chi^2_nu,   nu = n - k            (1)

with sigma = +-1, z normal, v = sum r^2 / n, and Silverman's bandwidth w. The spread of e is that of
the residuals corrected for k fitted parameters, and as uncertain as nu residuals leave it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.huber import bandwidth
from isodiff.scaling.fitting.parabola import Curve
from isodiff.scaling.fitting.power_law import Array, line
from isodiff.scaling.points import Point
from isodiff.serialization import IfAny

Resampling = Literal["case", "residual"]
LEVEL = 0.95
"""Coverage every interval aims at."""
SIGNIFICANT = 0.2
"""Below this share the scatter of minima about their law counts as more than noise within curves.
At 0.05 intervals covered 85 % where the excess was moderate; at 1 they were twice too wide."""
FEWEST = 20
"""Replicates that must have given a value before quantiles of them are reported."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A value with its interval; `reason` says why a part is missing."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: IfAny[str] = None


def check_options(bootstrap: int, seed: int) -> None:
    """Whether a number of replicates and a seed make sense."""
    if bootstrap < 0:
        raise InputError(f"--bootstrap is {bootstrap}; give 0 (no intervals) or more, e.g. 1000")
    if seed < 0:
        raise InputError(f"--seed is {seed}; give 0 or more")


@dataclass(frozen=True, slots=True)
class RunNoise:
    """Scatter of a family's runs about their parabolas, and how many residuals speak for it."""

    nats: float | None = None
    degrees_of_freedom: int = 0


def scatter(curves: Sequence[Curve]) -> RunNoise:
    """s and nu of all curves together; a refused curve's minimum is not trusted, its noise is."""
    fitted = [curve for curve in curves if curve.degrees_of_freedom > 0]
    nu = sum(curve.degrees_of_freedom for curve in fitted)
    total = sum(float(curve.residuals @ curve.residuals) for curve in fitted)
    return RunNoise(math.sqrt(total / nu) if nu else None, nu)


def replicates(
    curves: Sequence[Curve], accepted: Sequence[Curve], num: int, rng: np.random.Generator
) -> list[Array] | None:
    """Losses [1 + num, points] of each accepted curve: row 0 as measured, the others replicated.

    None where the noise is not identified: three points a curve and no standard errors.
    """
    measured = scatter(curves)
    nu = measured.degrees_of_freedom
    runs = [point for curve in accepted for point in curve.points]
    if measured.nats is None and any(run.standard_error is None for run in runs):
        return None
    if measured.nats is not None:
        scale = measured.nats * np.sqrt(nu / rng.chisquare(nu, size=(num, 1)))
    else:
        scale = np.array([[float(run.standard_error or 0.0) for run in runs]])
    fresh = scale * rng.standard_normal((num, len(runs)))
    parts = np.split(fresh, np.cumsum([len(curve.points) for curve in accepted]), axis=1)
    fresh += common_errors(runs, num, rng)
    return [
        np.vstack([curve.nats, curve.parabola(curve.log_n) + part])
        for curve, part in zip(accepted, parts, strict=False)  # the last part is empty
    ]


def common_errors(runs: Sequence[Point], num: int, rng: np.random.Generator) -> Array:
    """Nats [num, runs] that noise draws, the same for all runs of a family, put on every loss alike."""
    errors = np.array([run.noise_error or 0.0 for run in runs])
    return errors * rng.standard_normal((num, 1)) if errors.any() else np.zeros((num, len(runs)))


def interval(samples: Array, *, fewest: int = FEWEST) -> tuple[float, float] | None:
    """Central percentile interval at `LEVEL` of the replicates that gave a value; None with too few."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < fewest:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Excess:
    """How far minima leave their law, beyond the noise within their curves.

    `p_value` is the share of replicates whose noise alone scatters as much about the law as the
    minima do (None where there is nothing to judge by). `noise` [replicates, budgets] is what to
    add to the replicates, of scale `tau` [replicates, 1]: zero unless `p_value` is below `SIGNIFICANT`.
    `walk` [replicates, 1] is the scale per ln C of a random walk in those that take the excess for one,
    else zero. `weight` [budgets] is 1 / (variance + tau^2), by which a law goes through the minima.
    """

    p_value: float | None
    noise: Array
    weight: Array
    tau: Array
    walk: Array

    def again(self, rng: np.random.Generator) -> Array:
        """The noise [replicates] of a new minimum."""
        return self.tau[:, 0] * rng.standard_normal(len(self.tau))

    def off_line(self, log_c: Array, new: float, rng: np.random.Generator) -> Array:
        """How far [replicates] a new minimum is off the line through those at ln C [budgets]."""
        steps = self.walk * np.sqrt(np.diff(log_c, prepend=log_c[0], append=new))
        walked = (steps * rng.standard_normal(steps.shape)).cumsum(axis=1)
        x = np.broadcast_to(log_c, walked[:, :-1].shape)
        intercept, slope = line(x, walked[:, :-1], np.ones(x.shape, bool), self.weight)
        ahead = walked[:, -1] - intercept - slope * new
        return np.where(self.walk[:, 0] > 0, ahead, self.again(rng))


def no_excess(num: int, weight: Array, p_value: float | None = None) -> Excess:
    """Minima that only the noise within curves takes off their law."""
    none = np.zeros((num, 1))
    return Excess(p_value, np.zeros((num, len(weight))), weight, none, none)


def excess_scatter(
    log_c: Array, y: Array, variance: Array, degree: int, rng: np.random.Generator
) -> Excess:
    """Scatter of minima y [1 + replicates, budgets] about a polynomial in ln C [budgets], rising.

    `variance` [budgets] is that of the minima by the noise within curves, W its inverse. About the
    best polynomial Q = y' P y with P = W - W X (X' W X)^-1 X' W is f = budgets - degree - 1 on average,
    and tau^2 tr P K more with noise of covariance tau^2 K between budgets (DerSimonian and Laird 1986).
    Where it is significant, tau^2 = max(0, (Q f / chi^2_f - f) / tr P K) is drawn anew for every replicate:
    f residuals leave the whole variance unsure. (The replicates' mean of Q is no f: flat curves are wild.)
    K = 1 within the budgets. Beyond them a random walk in ln C, K_ij = min(x_i, x_j), goes on; each
    replicate takes either by its restricted likelihood.
    """
    num, num_budgets = len(y) - 1, len(log_c)
    free = num_budgets - degree - 1

    if free < 1:
        return no_excess(num, 1 / variance)
    design = np.vander((log_c - log_c.mean()) / log_c.std(), degree + 1)
    off_law = _off_law(np.diag(variance), design)

    def misfit(rows: Array) -> Array:
        return ((rows @ off_law) * rows).sum(axis=1)

    measured = float(misfit(y[:1])[0])
    kinds = np.eye(num_budgets), np.minimum.outer(log_c, log_c) - log_c[0]
    traces = [float(np.trace(off_law @ kind)) for kind in kinds]
    tau2 = [max(0.0, measured - free) / trace for trace in traces]
    weight = 1 / (variance + tau2[0])
    within = misfit(y[1:] - y[0])
    within = within[np.isfinite(within)]
    p_value = float(np.mean(within >= measured)) if len(within) >= FEWEST else None
    if p_value is None or p_value >= SIGNIFICANT:
        return no_excess(num, weight, p_value)
    own, walk = (
        _restricted_likelihood(y[0], np.diag(variance) + t * kind, design)
        for t, kind in zip(tau2, kinds, strict=True)
    )
    walks = rng.random((num, 1)) < 1 / (1 + np.exp(own - walk))
    drawn = np.sqrt(np.maximum(0, measured * free / rng.chisquare(free, size=(num, 1)) - free))
    tau, per_log_c = (drawn / np.sqrt(trace) for trace in traces)
    noise = tau * rng.standard_normal((num, num_budgets))
    return Excess(p_value, noise, weight, tau, np.where(walks, per_log_c, 0.0))


def _off_law(covariance: Array, design: Array) -> Array:
    """P = W - W X (X' W X)^-1 X' W, W the inverse of a covariance."""
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    scaled = root @ design
    return root.T @ (np.eye(len(root)) - scaled @ np.linalg.pinv(scaled)) @ root


def _restricted_likelihood(y: Array, covariance: Array, design: Array) -> float:
    """ln of the density of what y says beside its law (Patterson and Thompson 1971), up to a constant."""
    of_law = design.T @ np.linalg.solve(covariance, design)
    volume = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(of_law)[1]
    return -0.5 * float(volume + y @ _off_law(covariance, design) @ y)


def weights(n: int, num: int, rng: np.random.Generator) -> Array:
    """Random weights of n runs, n in all: [replicates, n]."""
    drawn = rng.exponential(size=(num, n))
    return drawn * (n / drawn.sum(axis=1, keepdims=True))


def noise(
    residuals: Array, parameters: int, shape: tuple[int, int], rng: np.random.Generator
) -> Array:
    """Fresh noise [replicates, points] that scatters as the residuals [n] do: Eq. (1)."""
    n, width = len(residuals), bandwidth(residuals)
    variance = float(residuals @ residuals) / n
    drawn = rng.choice(residuals, size=shape) * rng.choice([-1.0, 1.0], size=shape)
    smooth = drawn + width * rng.standard_normal(shape)
    shrink = np.sqrt(1 + width**2 / max(variance, 1e-300))
    return smooth / shrink * np.sqrt(n / rng.chisquare(n - parameters, size=(shape[0], 1)))
