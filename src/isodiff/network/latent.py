"""What a process of noise on vectors learns beside the network: a vector per token, a noise schedule.

With gamma the logarithm of noise over signal (process/gaussian.py), the schedule is

    gamma(t) = gamma_0 + (gamma_1 - gamma_0) p(t),    p(0) = 0, p(1) = 1, p rising.

Its ends are two numbers, and p is piecewise linear: the slopes of its K pieces are K softmax(10 pace), so
that parameters which move by 0.01 a step bend it within a hundred. All start at zero, which is the
straight line from -3 to 6. (arXiv 2305.18619 has the same ends, and for p a random network of 1024 units:
more parameters than some of our transformers.)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isodiff.network.view import Vectors
from isodiff.rng import stream

GAMMA_0, GAMMA_1 = -3.0, 6.0
PIECES, SPEED = 32, 10.0


class LearnedLatent(nn.Module):
    """Unit vectors and a monotone schedule. What is not learned is always the same, and not saved."""

    raw: Tensor

    def __init__(self, vocab_size: int, vectors: Vectors) -> None:
        super().__init__()
        size = (vocab_size, vectors.width)
        if vectors.learned_table:
            self.raw = nn.Parameter(F.normalize(torch.randn(size), dim=-1))
        else:
            fixed = torch.randn(size, generator=stream(0, "vectors"), device="cpu")
            self.register_buffer("raw", fixed, persistent=False)
        learned = vectors.learned_schedule
        self.bounds = nn.Parameter(torch.zeros(2)) if learned else None
        self.pace = nn.Parameter(torch.zeros(PIECES)) if learned else None

    def table(self) -> Float[Tensor, "V E"]:
        """The vector of each token, of length 1."""
        return F.normalize(self.raw, dim=-1)

    def ends(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """gamma_0 and gamma_1. Their distance stays positive; near the start each parameter moves one."""
        span = GAMMA_1 - GAMMA_0
        if self.bounds is None:
            start = self.raw.new_full((), GAMMA_0, dtype=torch.float64)
            return start, start + span
        low, high = self.bounds.double()
        start = GAMMA_0 + low
        return start, start + span * ((high - low) / span).exp()

    def progress(self, t: Float[Tensor, " B"]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """p(t) and p'(t)."""
        t = t.double()
        if self.pace is None:
            return t, torch.ones_like(t)
        width = (SPEED * self.pace.double()).softmax(0)
        before = width.cumsum(0) - width
        piece = (t * PIECES).long().clamp_max(PIECES - 1)
        return before[piece] + (t * PIECES - piece) * width[piece], PIECES * width[piece]
