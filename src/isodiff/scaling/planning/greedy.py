r"""Runs chosen one after the other, each for what it takes off the variance of one number.

    S' = S - S_i S_i' / (S_ii + sigma_i^2),                                                         (1)
    Var'(q) = Var(q) - Cov(q, y_i)^2 / (Var(y_i) + sigma_i^2)                                       (2)

is what is left of the covariance S of jointly Gaussian (q, y) after run i, seen with noise sigma_i, whatever
it comes out as (a Kalman update). S is updated between runs. Three rules choose within the compute allowed:
the fall of Var(q); its fall per FLOP; its fall among runs that cost no more than an even share. The set that
ends lowest is taken (Leskovec et al., KDD 2007: either of the first two alone can be arbitrarily bad, the
better of both is not).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.planning.candidate_runs import Candidate


@dataclass(frozen=True, slots=True)
class Pick:
    """A run proposed: the standard error of q expected after it, and why it is this one.

    Attributes:
        correlation: of its log loss with q, given the runs picked before.
        known: standard error of its log loss, given the runs picked before.
        noise: sigma, what a run of its family counts as scattering about the law.
    """

    run: Candidate
    error: float
    correlation: float
    known: float
    noise: float

    def to_json(self) -> dict[str, Any]:
        """Its numbers."""
        why = {"correlation": self.correlation, "known": self.known, "noise": self.noise}
        return {**self.run.to_json(), "error_after": self.error, **why}


def best_picks(
    covariance: Array, sigma: Array, tried: Sequence[Candidate], num: int, allowance: float
) -> tuple[Pick, ...]:
    """The best of three greedy choices; row 0 of the covariance is q, the others the candidates."""
    price = np.array([one.flops for one in tried])
    ways = [
        greedy(covariance, sigma, price, num, allowance, per=price**0, even=False),
        greedy(covariance, sigma, price, num, allowance, per=price, even=False),
        greedy(covariance, sigma, price, num, allowance, per=price**0, even=True),
    ]
    best = min(ways, key=lambda found: found[-1][1] if found else np.inf)
    return tuple(
        Pick(tried[i], error, correlation, known, float(sigma[i]))
        for i, error, correlation, known in best
    )


def greedy(
    covariance: Array,
    sigma: Array,
    price: Array,
    num: int,
    allowance: float,
    *,
    per: Array,
    even: bool,
) -> list[tuple[int, float, float, float]]:
    """Candidates with the largest fall of Var(q) over `per`, one after the other: Eq. (2), then Eq. (1).

    With `even` no run costs more than its share of what is left. Of each: its index, the error of q after it,
    its correlation with q and its own error before it.
    """
    s, left = covariance, allowance
    found: list[tuple[int, float, float, float]] = []
    for taken in range(num):
        seen = np.diag(s)[1:] + sigma**2
        fall = np.divide(s[0, 1:] ** 2, seen, out=np.zeros_like(seen), where=seen > 0)
        most = left / (num - taken) if even else left
        worth = np.where(price <= most * (1 + 1e-9), fall / per, 0.0)
        i = int(worth.argmax())
        if not worth[i] > 0:
            break
        q, known = (float(np.sqrt(max(s[j, j], 0.0))) for j in (0, i + 1))
        correlation = float(s[0, i + 1]) / max(known * q, 1e-300)
        s, left = updated(s, i + 1, float(sigma[i])), left - price[i]
        found.append((i, float(np.sqrt(max(s[0, 0], 0.0))), correlation, known))
    return found


def updated(covariance: Array, i: int, sigma: float) -> Array:
    """Eq. (1): what is left after seeing entry i with noise sigma."""
    column = covariance[:, i]
    return covariance - np.outer(column, column) / (column[i] + sigma**2)
