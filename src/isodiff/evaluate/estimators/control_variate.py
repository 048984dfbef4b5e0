r"""The control variate of mask counts: what each token is expected to cost, by how much is masked.

Tokens differ in their nats more than one token's nats differ with the masks around it, and both fall as
fewer tokens are masked. So c_i(k), the expected nats of token i where k of n are masked, is kept at `_BINS`
values of

    F(k/n),   F(x) = (2/pi) (asin sqrt(x) + sqrt(x (1 - x))),                                      (1)

the integral of sqrt((1 - x) / x), and interpolated; at F = 1 it is what all masks say. A bin's c_i is the
mean of the earlier draws of token i, those of other bins weighted by `_DECAY` for each bin between and the
one at all masks as `_FIRST` draws, plus what the bin's draws of all tokens exceed that by.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.evaluate.estimators.queries import TextRows
from isodiff.types import Nats

_BINS = 8
_DECAY = 0.5
_FIRST = 4.0
_FEW = 8.0  # draws that say nothing yet about a bin's level


class ControlVariate:
    """c_i(k) of every text, from the draws so far."""

    def __init__(self, all_masks: Nats) -> None:
        self.all_masks = all_masks
        self.total = all_masks.new_zeros(len(all_masks), _BINS, all_masks.shape[1])
        self.draws = torch.zeros_like(self.total)

    def table(self, rows: Int[Tensor, " A"]) -> Float[Tensor, "A K1 L"]:
        """c_i at the middle of every bin, and at all masks."""
        total, draws, last = self.total[rows], self.draws[rows], self.all_masks[rows][:, None]
        bin = torch.arange(_BINS)
        near = _DECAY ** (bin[:, None] - bin).abs().double()
        first = _FIRST * _DECAY ** (_BINS - bin[:, None]).double()
        mean = (near @ total + first * last) / (near @ draws + first)
        above = (total - draws * mean).sum(-1) / (draws.sum(-1) + _FEW)
        return torch.cat([mean + above[..., None], last], 1)

    def learn(
        self,
        rows: TextRows,
        k: Int[Tensor, "Q L"],
        n: Int[Tensor, "Q L"],
        masked: Bool[Tensor, "Q L"],
        nats: Nats,
    ) -> None:
        """From the nats of the masked tokens."""
        query, column = masked.nonzero(as_tuple=True)
        bin = (_BINS * _mass(k[query, column] / n[query, column])).long().clamp_max(_BINS - 1)
        where = (rows[query], bin, column)
        self.total.index_put_(where, nats[query, column], accumulate=True)
        self.draws.index_put_(where, torch.ones(len(query), dtype=torch.float64), accumulate=True)


def _mass(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return (x.sqrt().asin() + (x * (1 - x)).clamp_min(0).sqrt()) * (2 / math.pi)


@cache
def bin_weights(n: int) -> Float[Tensor, "N K1"]:
    """Weights of the table's entries in c_i(k), for k = 1 .. n - 1; k = 0 is no row."""
    x = torch.arange(1, n, dtype=torch.float64) / n
    position = (_BINS * _mass(x) - 0.5).clamp(0, _BINS - 0.5)
    left = position.floor().clamp_max(_BINS - 1)
    # The last entry stands at the end of the last bin, half a bin from its middle.
    part = (position - left) / torch.where(left == _BINS - 1, 0.5, 1.0)
    hot = torch.nn.functional.one_hot
    lower, upper = hot(left.long(), _BINS + 1), hot(left.long() + 1, _BINS + 1)
    return lower * (1 - part)[:, None] + upper * part[:, None]
