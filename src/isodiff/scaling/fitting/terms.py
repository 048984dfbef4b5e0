"""ln L = logsumexp of terms affine in the parameters: gradient and Hessian in closed form.

    ln L_i = ln sum_j exp(x_ij . theta),      p_ij = exp(x_ij . theta) / L_i

    grad L_i = sum_j p_ij x_ij,      Hess L_i = sum_j p_ij x_ij x_ij' - grad grad'

The parametric law is of this form, and so are its relatives that share parameters between
families (`design`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from isodiff.scaling.fitting.huber import slopes_of_rho
from isodiff.scaling.fitting.power_law import Array, Index

NAMES = ("log_a", "alpha", "log_b", "beta", "log_e")
"""Parameters of one family's law, in order; log_a and log_b are those at the middle of the points."""


@dataclass(frozen=True)
class Terms:
    """The law whose terms are `x` [terms, points, parameters]."""

    x: Array

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
        """Gradient, Hessian and scale of the objective (`newton.Law`)."""
        p: Array = known
        first, second, soft = slopes_of_rho(residual, weight)
        k = self.x.shape[2]
        gradient = np.concatenate(list(first * p), axis=1) @ self.flat.T
        bend = second - first
        parts = [bend * p[j] * p[m] + (first * p[j] if j == m else 0.0) for j, m in self.pairs]
        hessian = (np.concatenate(parts, axis=1) @ self.products).reshape(-1, k, k)
        scale = np.concatenate(list(soft * p), axis=1) @ self.flat.T**2
        return gradient, hessian, scale


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
        own = theta[..., self.columns[family]].copy()
        own[..., 0] += own[..., 1] * self.center[0]
        own[..., 2] += own[..., 3] * self.center[1]
        return own

    def from_families(self, own: Sequence[Array]) -> Array:
        """theta whose shared parameters are the families' means; inverse of `of_family`."""
        theta, count = np.zeros(self.num_parameters), np.zeros(self.num_parameters)
        for family, values in enumerate(own):
            inner = np.array(values, float)
            inner[0] -= inner[1] * self.center[0]
            inner[2] -= inner[3] * self.center[1]
            place = self.columns[family]
            theta[place] += inner
            count[place] += 1
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
    entries = (
        (0, 0, one),
        (0, 1, center[0] - log_n),
        (1, 2, one),
        (1, 3, center[1] - log_d),
        (2, 4, one),
    )
    x = np.zeros((3, len(log_n), k))
    for term, name, value in entries:
        x[term, np.arange(len(log_n)), columns[owner, name]] = value
    return Design(Terms(x), columns, center)
