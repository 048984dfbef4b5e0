"""One IsoFLOP curve: the loss against ln N at one budget, its parabola, and whether to trust it.

Parabolas that one bad run does not bend are Huber's regression: they minimize sum rho_d(loss - parabola),
quadratic up to d and linear beyond. d is 1.345 times the scatter of the family's runs, which loses 5 % of
precision where the noise is normal (Huber 1981); the scatter is the median absolute residual of all the
family's curves about parabolas of least absolute deviations.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from isodiff.scaling.fitting.power_law import Array, Mask
from isodiff.scaling.points import Point

_TUNING = 1.345
_STEPS = 40
_SMALLEST = 1e-10
"""Nats; residuals below are rounding."""

Refusal = Literal["too_few_sizes", "concave", "edge"]
"""Why a curve gives no minimum: fewer than three sizes; curved downwards or not at all; lowest at
or beyond the smallest or largest size tried, where a minimum would be an extrapolation."""


@dataclass(frozen=True)
class Curve:
    """The runs of one family at one budget, in order of size.

    The parabola is L(u) = c0 + c1 u + c2 u^2 with u = (ln N - center) / width, which puts the
    smallest size at -1 and the largest at 1. It is plain least squares: standard errors of
    evaluation say nothing of the noise between runs and would weight by the wrong thing. With a
    `threshold` in nats it is Huber's regression.
    """

    budget: float
    points: tuple[Point, ...]
    threshold: float | None = None

    @cached_property
    def log_n(self) -> Array:
        """ln N of each point."""
        return np.log([point.parameters for point in self.points])

    @cached_property
    def nats(self) -> Array:
        """Validation loss of each point, nats per token."""
        return np.array([point.nats for point in self.points])

    @cached_property
    def num_sizes(self) -> int:
        """Distinct sizes; several seeds at one size count once."""
        return len(np.unique(self.log_n))

    @cached_property
    def center(self) -> float:
        """Middle of the sizes tried, in ln N."""
        return float(self.log_n.min() + self.log_n.max()) / 2

    @cached_property
    def width(self) -> float:
        """Half the range of the sizes tried, in ln N; 1 where there is only one."""
        return float(self.log_n.max() - self.log_n.min()) / 2 or 1.0

    @cached_property
    def design(self) -> Array:
        """Columns 1, u, u^2: [points, 3]."""
        u = (self.log_n - self.center) / self.width
        return np.stack([np.ones_like(u), u, u * u], axis=1)

    def coefficients(self, nats: Array) -> Array:
        """(c0, c1, c2) of each row of losses [replicates, points] -> [replicates, 3]."""
        if self.threshold is None:
            return nats @ np.linalg.pinv(self.design).T
        return huber_coefficients(self.design, nats, self.threshold)

    @cached_property
    def fitted(self) -> Array:
        """(c0, c1, c2) of the losses as measured."""
        return self.coefficients(self.nats[None])[0]

    def parabola(self, log_n: Array) -> Array:
        """The fitted parabola at ln N, nats per token."""
        (c0, c1, c2), u = self.fitted, (log_n - self.center) / self.width
        return c0 + u * (c1 + u * c2)

    @cached_property
    def residuals(self) -> Array:
        """Loss minus parabola of each point; those beyond a threshold are cut to it."""
        plain = self.nats - self.parabola(self.log_n)
        return plain if self.threshold is None else winsorized(plain, self.threshold)

    @cached_property
    def degrees_of_freedom(self) -> int:
        """Points beyond the three coefficients; 0 where no parabola can be drawn."""
        return len(self.points) - 3 if self.num_sizes >= 3 else 0

    def minima(self, nats: Array) -> tuple[Array, Array, Mask]:
        """(ln N*, L*, useful) of each row of losses [replicates, points].

        Useful: curved upwards, to a positive loss; NaN where it is not.
        """
        c0, c1, c2 = self.coefficients(nats).T
        convex = c2 > 1e-12 * np.abs(c0)  # a flat line is not a minimum found by rounding
        u = -c1 / np.where(convex, 2 * c2, np.nan)
        lowest = c0 + c1 * u / 2
        useful = convex & (lowest > 0)
        return self.center + self.width * u, np.where(useful, lowest, np.nan), useful

    @cached_property
    def variances(self) -> tuple[float, float]:
        """Of ln N* and of L* where each run scatters by one nat, to first order in the coefficients."""
        _, c1, c2 = self.fitted
        u = -c1 / (2 * c2)
        covariance = np.linalg.pinv(self.design.T @ self.design)
        of_n = self.width / (2 * c2) * np.array([0.0, -1.0, -2 * u])
        of_nats = np.array([1.0, u, u * u])
        return float(of_n @ covariance @ of_n), float(of_nats @ covariance @ of_nats)

    @cached_property
    def refusal(self) -> Refusal | None:
        """Why this curve gives no minimum, or None where it gives one."""
        if self.num_sizes < 3:
            return "too_few_sizes"
        log_n, _, useful = self.minima(self.nats[None])
        if not useful[0]:
            return "concave"
        return None if self.inside(log_n)[0] else "edge"

    def inside(self, log_n: Array) -> Mask:
        """Strictly between the smallest and the largest size tried."""
        return np.abs(log_n - self.center) < self.width * (1 - 1e-9)

    def log_at(self, quantity: Literal["tokens", "flops"], log_n: Array) -> Array:
        """ln of a quantity of the runs at ln N, straight between sizes in log-log."""
        logs = np.log([getattr(point, quantity) for point in self.points])
        sizes, index = np.unique(self.log_n, return_inverse=True)
        mean = np.bincount(index, weights=logs) / np.bincount(index)
        left = np.clip(np.searchsorted(sizes, log_n) - 1, 0, len(sizes) - 2)
        slope = np.diff(mean)[left] / np.diff(sizes)[left]
        return mean[left] + slope * (log_n - sizes[left])

    def compute(self, log_n: float | None = None) -> float:
        """C of this curve in FLOPs: its budget; under another convention, that at ln N.

        Without ln N (a refused curve has no optimum) the geometric mean over the runs.
        """
        if all(point.flops == point.budget for point in self.points):
            return self.budget
        if log_n is None:
            return float(np.exp(np.mean(np.log([point.flops for point in self.points]))))
        return float(np.exp(self.log_at("flops", np.array([log_n]))[0]))


def curves(points: Sequence[Point], *, huber: bool = False) -> tuple[Curve, ...]:
    """The curves of one family by rising budget; the order of the points does not matter."""
    ordered = sorted(points, key=lambda p: (p.budget, p.parameters, p.nats, p.id))
    shared = itertools.groupby(ordered, key=lambda p: p.budget)
    plain = tuple(Curve(budget, tuple(own)) for budget, own in shared)
    if not huber:
        return plain
    rich = [curve for curve in plain if curve.degrees_of_freedom > 0]
    limit = huber_threshold([c.design for c in rich], [c.nats for c in rich])
    return tuple(replace(curve, threshold=limit) if curve in rich else curve for curve in plain)


def huber_coefficients(design: Array, nats: Array, delta: float) -> Array:
    """Coefficients [replicates, 3] of Huber's regression of each row of losses [replicates, points].

    Weighted least squares with weights min(1, d / |r|), which never raises the sum.
    """
    k = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)
    weight, found = np.ones_like(nats), np.zeros((len(nats), k))
    for _ in range(_STEPS):
        heavy, aimed = (weight @ products).reshape(-1, k, k), (weight * nats) @ design
        before = found
        found = np.linalg.solve(heavy, aimed[:, :, None])[:, :, 0].astype(np.float64)
        if np.abs(found - before).max() < 1e-5 * delta:
            break
        residual = np.abs(nats - found @ design.T)
        weight = np.minimum(1.0, delta / np.maximum(residual, delta))
    return found


def huber_threshold(designs: Sequence[Array], nats: Sequence[Array]) -> float:
    """d of a family from the points of its curves that have more than three."""
    residuals = [
        y - huber_coefficients(x, y[None], _SMALLEST)[0] @ x.T
        for x, y in zip(designs, nats, strict=True)
    ]
    if not residuals:
        return np.inf
    # Three residuals of a curve are next to zero because its parabola passes through three points.
    free = np.concatenate([np.sort(np.abs(r))[3:] for r in residuals])
    return max(_TUNING * float(np.median(free)) / 0.6745, _SMALLEST)


def winsorized(residuals: Array, delta: float) -> Array:
    """Residuals cut at d, scaled so that normal ones keep their variance."""
    from scipy.stats import norm

    t = _TUNING  # below: the mean of min(z^2, t^2) of a standard normal z
    kept = 2 * norm.cdf(t) - 1 - 2 * t * norm.pdf(t) + 2 * t**2 * norm.sf(t)
    return np.clip(residuals, -delta, delta) / np.sqrt(kept)
