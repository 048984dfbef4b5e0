"""The parametric law, what a token costs, and the optimal allocation (approach 3 of arXiv 2203.15556).

    L(N, D) = E + A / N^alpha + B / D^beta                                                     (1)

Of all (N, D) that cost C = c(N) D, with s = d ln c / d ln N, the lowest loss has

    alpha A N^-alpha = s(N) beta B D^-beta,     D = C / c(N),                                  (2)

and moves along  d ln N / d ln C = beta / (alpha + s beta + s' / s).                           (3)

Where C = 6 N D (s = 1) these are N = G (C/6)^a, D = (C/6)^b / G with a = beta / (alpha + beta),
b = alpha / (alpha + beta), G = (alpha A / beta B)^(1 / (alpha + beta)).

    c(N) = C / D = b N + a N^(2/3) + h N^(1/3),      b, a >= 0                                 (4)

Of networks of one aspect ratio N grows as width^3: blocks cost N, attention scores width^2, the
vocabulary head width; where N counts embeddings that cost nothing, h is negative. Under any convention
the allocation follows the counted cost instead of an assumed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from isodiff.scaling.fitting.power_law import Array, exp

_POWERS = np.array([1.0, 2 / 3, 1 / 3])
_STEPS = 50
"""Newton steps towards Eq. (2), which is monotone: a handful is enough."""
_FARTHEST = 200.0
"""ln N beyond which no optimum is looked for."""


@dataclass(frozen=True)
class Cost:
    """FLOPs per token: coefficients of N, N^(2/3), N^(1/3); `misfit` is the largest relative error."""

    blocks: Annotated[float, Field(alias="N")]
    attention: Annotated[float, Field(alias="N^2/3")] = 0.0
    head: Annotated[float, Field(alias="N^1/3")] = 0.0
    misfit: float = 0.0

    def relative(self, log_n: Array) -> Array:
        """Each part over N: [..., 3]."""
        return np.array([self.blocks, self.attention, self.head]) * np.exp(
            (_POWERS - 1) * log_n[..., None]
        )

    def log(self, log_n: Array) -> Array:
        """ln c(N); NaN where Eq. (4) is not positive."""
        whole = self.relative(log_n).sum(axis=-1)
        return log_n + np.log(np.where(whole > 0, whole, np.nan))

    def slope(self, log_n: Array) -> Array:
        """s = d ln c / d ln N; 1 where the blocks are all that costs."""
        parts = self.relative(log_n)
        return parts @ _POWERS / parts.sum(axis=-1)

    def bend(self, log_n: Array) -> Array:
        """ds / d ln N."""
        parts = self.relative(log_n)
        return parts @ _POWERS**2 / parts.sum(axis=-1) - self.slope(log_n) ** 2


SIX = Cost(6.0)
"""C = 6 N D."""


def fit_cost(log_n: Array, log_d: Array, log_c: Array) -> Cost:
    """Least relative squares; blocks alone where they say it all."""
    from scipy.optimize import nnls

    per_token = np.exp(log_c - log_d)
    ratio = per_token / np.exp(log_n)
    blocks = float(np.exp(np.log(ratio).mean()))
    if np.abs(ratio / blocks - 1).max() < 1e-6:
        return Cost(blocks)
    parts = np.exp(_POWERS * log_n[:, None]) / per_token[:, None]
    size = parts.max(axis=0)
    unit = parts / size
    b, a, h, less = nnls(np.column_stack([unit, -unit[:, 2]]), np.ones(len(unit)))[0]
    found = np.array([b, a, h - less]) / size
    misfit = float(np.abs(parts @ found - 1).max())
    return Cost(float(found[0]), float(found[1]), float(found[2]), misfit)


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

    @property
    def theta(self) -> tuple[float, ...]:
        """In the order of `newton.NAMES`."""
        return (
            float(np.log(self.A)),
            self.alpha,
            float(np.log(self.B)),
            self.beta,
            float(np.log(self.E)),
        )


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
            s = np.where(s > 0, s, np.nan)
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
