"""What a token costs in training, as a function of the network's size.

    c(N) = C / D = b N + a N^(2/3) + h N^(1/3),      b, a >= 0                                 (1)

Of networks of one aspect ratio N grows as width^3: blocks cost N, attention scores width^2, the
vocabulary head width; where N counts embeddings that cost nothing, h is negative. Where
C = 6 N D, c(N) = 6 N exactly; under any other convention the allocation follows the counted cost
instead of an assumed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.optimize import nnls

from isodiff.scaling.fitting.power_law import Array

_POWERS = np.array([1.0, 2 / 3, 1 / 3])


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
        """ln c(N); NaN where Eq. (1) is not positive."""
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
