"""The noise level m of a sequence as a conditioning vector: sinusoids, then two layers.

For states the sinusoids are of sigma = -log(1 - m) (arXiv 2602.15014). Vectors are read at low noise as at
high, so for them they are of gamma = logit m, the logarithm of noise over signal (arXiv 2305.18619, where
the fastest is sin(148 gamma)).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_SIGMA_BASE = 10_000.0  # fastest / slowest sinusoid of sigma
_NOISE_FLOOR = 1e-3  # sigma is shown up to alpha = 0.001, as in the published schedule
GAMMA_BASE, GAMMA_FASTEST = 1_000.0, 4.0  # fastest / slowest, and fastest sinusoid of gamma


class NoiseLevel(nn.Module):
    """m as a conditioning vector."""

    def __init__(self, width: int, *, vectors: bool) -> None:
        super().__init__()
        self.width, self.vectors = width, vectors
        self.first = nn.Linear(2 * width, width)
        self.second = nn.Linear(width, width)

    def forward(self, m: Float[Tensor, " B"]) -> Float[Tensor, "B C"]:
        """From m = 1 - alpha through sigma, or from m = sigma^2 through gamma."""
        if self.vectors:
            level, base = GAMMA_FASTEST * m.logit(), GAMMA_BASE
        else:
            level, base = -torch.log1p(-m.float() * (1 - _NOISE_FLOOR)), _SIGMA_BASE
        index = torch.arange(self.width, device=m.device, dtype=torch.float32)
        angle = level[:, None] * torch.exp(-math.log(base) * index / self.width)
        features = torch.cat([angle.cos(), angle.sin()], -1).to(self.first.weight.dtype)
        return F.silu(self.second(F.silu(self.first(features))))
