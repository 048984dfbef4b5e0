"""The parametric law and the allocation it calls optimal (approach 3 of arXiv 2203.15556).

    L(N, D) = E + A / N^alpha + B / D^beta                                                     (1)

Of all (N, D) that cost C = c(N) D (`cost`), with s = d ln c / d ln N, the lowest loss has

    alpha A N^-alpha = s(N) beta B D^-beta,     D = C / c(N),                                  (2)

and moves along  d ln N / d ln C = beta / (alpha + s beta + s' / s).                           (3)

Where C = 6 N D (s = 1) these are N = G (C/6)^a, D = (C/6)^b / G with a = beta / (alpha + beta),
b = alpha / (alpha + beta), G = (alpha A / beta B)^(1 / (alpha + beta)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.power_law import Array, exp
from isodiff.scaling.laws.token_flops import Cost

_STEPS = 50
"""Newton steps towards Eq. (2), which is monotone: a handful is enough."""
_FARTHEST = 200.0
"""ln N beyond which no optimum is looked for."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """Optimal size, tokens and loss at each C: [replicates, budgets]."""

    log_n: Array
    log_d: Array
    nats: Array


@dataclass(frozen=True, kw_only=True)
class SurfaceConstants:
    """Eq. (1) as results hold it."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True)
class Surface:
    """Eq. (1) for many replicates at once; every field is an array [replicates]."""

    log_a: Array
    alpha: Array
    log_b: Array
    beta: Array
    log_e: Array

    @classmethod
    def of(cls, theta: Array) -> Surface:
        """From parameters [replicates, 5] in the order of `terms.NAMES`."""
        return cls(*theta.T)

    def constants(self) -> SurfaceConstants:
        """Of the first replicate."""
        return SurfaceConstants(
            E=float(self.irreducible[0]),
            A=float(exp(self.log_a)[0]),
            B=float(exp(self.log_b)[0]),
            alpha=float(self.alpha[0]),
            beta=float(self.beta[0]),
        )

    @property
    def irreducible(self) -> Array:
        """E."""
        return exp(self.log_e)

    def nats(self, log_n: Array, log_d: Array) -> Array:
        """Eq. (1) at ln N, ln D [points] or [replicates, points] -> [replicates, points]."""
        size = exp(self.log_a[:, None] - self.alpha[:, None] * log_n)
        tokens = exp(self.log_b[:, None] - self.beta[:, None] * log_d)
        return self.irreducible[:, None] + size + tokens

    def size_for(self, log_d: Array) -> Array:
        """ln N that is optimal with D tokens at C = 6ND: [replicates, points]."""
        balance = np.log(self.alpha / self.beta) + self.log_a - self.log_b
        return (balance[:, None] + self.beta[:, None] * log_d) / self.alpha[:, None]

    def optimum(self, log_c: Array, cost: Cost) -> Allocation:
        """Eq. (2) at each ln C [budgets]; NaN where a term does not fall."""
        falls = (self.alpha > 0) & (self.beta > 0)
        alpha, beta = (np.where(falls, x, np.nan)[:, None] for x in (self.alpha, self.beta))
        balance = np.log(alpha) + self.log_a[:, None] - np.log(beta) - self.log_b[:, None]
        x = (balance + beta * (log_c - np.log(max(cost.blocks, 1e-300)))) / (alpha + beta)
        x = np.clip(x, 0.0, _FARTHEST)
        for _ in range(_STEPS):
            s = cost.slope(x)
            miss = balance - alpha * x + beta * (log_c - cost.log(x)) - np.log(s)
            step = miss / (alpha + beta * s + cost.bend(x) / s)
            x = np.clip(x + step, 0.0, _FARTHEST)
            if np.abs(step[np.isfinite(step)]).max(initial=0.0) < 1e-12:
                break
        log_d = log_c - cost.log(x)
        return Allocation(x, log_d, self.nats(x, log_d))

    def exponents(self, log_c: float, cost: Cost) -> tuple[Array, Array]:
        """Eq. (3) for N, and 1 - s times it for D, at ln C: [replicates] each."""
        x = self.optimum(np.array([log_c]), cost).log_n[:, 0]
        s = cost.slope(x)
        n = self.beta / (self.alpha + s * self.beta + cost.bend(x) / s)
        return n, 1 - s * n
