"""Many robust fits at once: damped Newton steps on a batch of starts, replicates or profiles.

Every problem of the batch minimizes sum_i w_i rho(f_i(theta) - y_i) (`huber`). A law gives f and,
at a residual, gradient and Hessian; Levenberg's damping and a shift by the lowest eigenvalue make
every accepted step go down. All of it is matrix products over the batch: a thousand replicates of
240 points take about a second.

The parametric law and its relatives that share parameters between families (`design`) are sums of
terms whose logarithms are affine in the parameters (`Terms`), which gives the slopes in closed form:

    ln L_i = ln sum_j exp(x_ij . theta),      p_ij = exp(x_ij . theta) / L_i

    grad L_i = sum_j p_ij x_ij,      Hess L_i = sum_j p_ij x_ij x_ij' - grad grad'
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from isodiff.scaling.fitting.huber import DELTA, rho, slopes_of_rho
from isodiff.scaling.fitting.power_law import Array, Index, Mask

NAMES = ("log_a", "alpha", "log_b", "beta", "log_e")
"""Parameters of one family's law, in order; log_a and log_b are those at the middle of the points."""
_TOGETHER = 100_000
"""Points times problems that are worked on at a time: memory stays below 100 MB."""
_PRODUCTS = 5_000_000
"""Numbers that products of terms may take."""


class LogLossLaw(Protocol):
    """ln L of a law with parameters theta [batch, k] at the points it was made for."""

    @property
    def delta(self) -> float:
        """Of Huber's loss of its residuals."""
        ...

    def log_nats(self, theta: Array) -> tuple[Array, Any]:
        """ln L [batch, points], and what `slopes` wants to know of it."""
        ...

    def slopes(self, known: Any, residual: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Gradient [batch, k], Hessian (or a majorant) [batch, k, k], positive scale [batch, k]."""
        ...


@dataclass(frozen=True, slots=True)
class Solved:
    """Where each problem of a batch ended: theta [batch, k], objective [batch]."""

    theta: Array
    objective: Array

    @property
    def best(self) -> Array:
        """The theta of the lowest objective."""
        return self.theta[int(np.argmin(self.objective))]


def minimize(
    law: LogLossLaw,
    start: Array,
    log_nats: Array,
    weight: Array | None = None,
    *,
    fixed: Mask | None = None,
    tolerance: float = 1e-13,
    calm: int = 3,
    most: int = 400,
) -> Solved:
    """Fit a batch from `start` [batch, k]; losses and weights are [batch, points] or [points].

    Parameters marked in `fixed` [k] keep the values they start with. A problem is solved when `calm` steps
    in a row lower its objective by no more than the relative `tolerance`.
    """
    theta = np.array(start, float)
    batch, k = theta.shape
    target = np.broadcast_to(log_nats, (batch, log_nats.shape[-1]))
    weight = np.broadcast_to(1.0 if weight is None else weight, target.shape)
    free = np.ones(k, bool) if fixed is None else ~fixed
    objective = np.empty(batch)
    rows = max(1, _TOGETHER // target.shape[1])
    for first in range(0, batch, rows):
        part = slice(first, first + rows)
        theta[part], objective[part] = _minimize(
            law, theta[part], target[part], weight[part], free, tolerance, calm, most
        )
    return Solved(theta, objective)


def _minimize(
    law: LogLossLaw,
    theta: Array,
    target: Array,
    weight: Array,
    free: Mask,
    tolerance: float,
    calm: int,
    most: int,
) -> tuple[Array, Array]:
    """`minimize` of as many problems as memory is given to at a time."""
    batch = len(theta)
    objective = _total(law, theta, target, weight)
    damping, unmoved, active = np.full(batch, 1e-3), np.zeros(batch, int), np.arange(batch)
    for _ in range(most):
        at, w, y = theta[active], weight[active], target[active]
        values, known = law.log_nats(at)
        gradient, hessian, scale = law.slopes(known, values - y, w)
        down = _descent(
            gradient[:, free], hessian[:, free][:, :, free], scale[:, free], damping[active]
        )
        new = at.copy()
        new[:, free] -= down
        reached = _total(law, new, y, w)
        before = objective[active]
        good = reached <= before  # False for NaN
        theta[active] = np.where(good[:, None], new, at)
        objective[active] = np.where(good, reached, before)
        damping[active] *= np.where(good, 0.25, 5.0)
        np.clip(damping, 1e-12, 1e12, out=damping)
        still = np.abs(before - reached) <= tolerance * before + 1e-30
        unmoved[active] = (unmoved[active] + 1) * still
        active = active[unmoved[active] < calm]
        if not len(active):
            break
    return theta, objective


def _total(law: LogLossLaw, theta: Array, target: Array, weight: Array) -> Array:
    """The objective of each problem; a step out of all bounds is infinitely bad."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = (weight * rho(law.log_nats(theta)[0] - target, law.delta)).sum(axis=1)
    return np.nan_to_num(found, nan=np.inf)


def _descent(gradient: Array, hessian: Array, scale: Array, damping: Array) -> Array:
    """Newton's step with a Hessian made positive, in coordinates of unit scale."""
    size = np.sqrt(np.maximum(scale, 1e-14 * scale.max(axis=1, keepdims=True) + 1e-300))
    scaled = hessian / (size[:, :, None] * size[:, None, :])
    lowest = np.linalg.eigvalsh(scaled)[:, 0]
    shift = np.maximum(0.0, -lowest) + damping
    scaled = scaled + shift[:, None, None] * np.eye(scaled.shape[1])
    step = np.linalg.solve(scaled, (gradient / size)[:, :, None])[:, :, 0]
    return step / size


@dataclass(frozen=True)
class Terms:
    """The law whose terms are `x` [terms, points, parameters]; residuals beyond `delta` weigh less."""

    x: Array
    delta: float = DELTA

    @cached_property
    def flat(self) -> Array:
        """[parameters, terms x points]."""
        terms, points, k = self.x.shape
        return np.ascontiguousarray(self.x.reshape(terms * points, k).T)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Terms j <= l."""
        return [(j, m) for j in range(len(self.x)) for m in range(j, len(self.x))]

    @cached_property
    def products(self) -> Array:
        """x_ij x_il' + x_il x_ij' (once where j = l) of every pair: [pairs x points, k x k]."""
        rows = []
        for j, m in self.pairs:
            outer = self.x[j][:, :, None] * self.x[m][:, None, :]
            rows.append(outer if j == m else outer + outer.transpose(0, 2, 1))
        return np.concatenate(rows).reshape(len(self.pairs) * self.x.shape[1], -1)

    def log_nats(self, theta: Array) -> tuple[Array, Any]:
        """ln L [batch, points] and p [terms, batch, points]."""
        terms, points, _ = self.x.shape
        z = (theta @ self.flat).reshape(len(theta), terms, points).transpose(1, 0, 2)
        top = z.max(axis=0)
        p = np.exp(z - top)
        whole = p.sum(axis=0)
        p /= whole
        return top + np.log(whole), p

    def slopes(self, known: Any, residual: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Gradient, Hessian and scale of the objective (`LogLossLaw`)."""
        p: Array = known
        first, second, soft = slopes_of_rho(residual, weight, self.delta)
        k = self.x.shape[2]
        gradient = np.concatenate(list(first * p), axis=1) @ self.flat.T
        bend = second - first
        parts = [bend * p[j] * p[m] + (first * p[j] if j == m else 0.0) for j, m in self.pairs]
        if len(self.pairs) * self.x[0].size * k > _PRODUCTS:
            hessian = self._by_pairs(parts)
        else:
            hessian = (np.concatenate(parts, axis=1) @ self.products).reshape(-1, k, k)
        scale = np.concatenate(list(soft * p), axis=1) @ self.flat.T**2
        return gradient, hessian, scale

    def _by_pairs(self, parts: Sequence[Array]) -> Array:
        """The sum over points without `products`, which grow as points times k^2."""
        own = [np.flatnonzero(x.any(axis=0)) for x in self.x]
        hessian = np.zeros((len(parts[0]), self.x.shape[2], self.x.shape[2]))
        for (j, m), part in zip(self.pairs, parts, strict=True):
            left, right = self.x[j][:, own[j]], self.x[m][:, own[m]]
            for row, weight in zip(hessian, part, strict=True):
                block = left.T @ (weight[:, None] * right)
                row[np.ix_(own[j], own[m])] += block
                if j != m:
                    row[np.ix_(own[m], own[j])] += block.T
        return hessian


@dataclass(frozen=True)
class Design:
    """Terms of one or several families, and where each family's parameters stand in theta."""

    terms: Terms
    columns: Index
    center: tuple[float, float]

    @property
    def num_parameters(self) -> int:
        """Length of theta."""
        return self.terms.x.shape[2]

    def of_family(self, theta: Array, family: int) -> Array:
        """(log_a, alpha, log_b, beta, log_e) of a family, at N = D = 1: [batch, 5]."""
        own = theta[..., self.columns[family]]
        own[..., 0] += own[..., 1] * self.center[0]
        own[..., 2] += own[..., 3] * self.center[1]
        return own

    def from_families(self, own: Sequence[Array]) -> Array:
        """theta whose shared parameters are the families' means; inverse of `of_family`."""
        theta, count = np.zeros((2, self.num_parameters))
        for family, values in enumerate(own):
            inner = np.array(values, float)
            inner[0] -= inner[1] * self.center[0]
            inner[2] -= inner[3] * self.center[1]
            theta[self.columns[family]] += inner
            count[self.columns[family]] += 1
        return theta / count


def design(
    log_n: Array, log_d: Array, family: Index | None = None, shared: Collection[str] = ()
) -> Design:
    """The law E + A/N^alpha + B/D^beta of each family [points]; `shared` parameters are one for all.

    ln N and ln D are taken from their means, which makes A and alpha, B and beta almost
    independent of each other.
    """
    owner: Index = np.zeros(len(log_n), np.intp) if family is None else family
    num_families = int(owner.max()) + 1
    columns = np.zeros((num_families, len(NAMES)), np.intp)
    k = 0
    for name, place in zip(NAMES, columns.T, strict=True):
        place[:] = k if name in shared else k + np.arange(num_families)
        k += 1 if name in shared else num_families
    center = (float(log_n.mean()), float(log_d.mean()))
    one = np.ones(len(log_n))
    values = (one, center[0] - log_n, one, center[1] - log_d, one)
    x = np.zeros((3, len(log_n), k))
    for name, value in enumerate(values):
        x[name // 2, np.arange(len(log_n)), columns[owner, name]] = value
    return Design(Terms(x), columns, center)
