"""Exact categorical draws and log-space helpers.

Draws are by inverse CDF in float64. Gumbel-max in float32 truncates tails and so lowers the
temperature, the more the finer the sampler's steps (arXiv 2409.02908).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.bounds import Checked, Count, Fraction, SomeFraction, Temperature

IN_CACHE = 2**18  # float64 numbers that a processor's cache holds


def draw(weights: Float[Tensor, "... K"], u: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Index drawn in proportion to non-negative `weights`; `u` is uniform on [0, 1)."""
    if weights.numel() > IN_CACHE and weights.ndim > 1 and weights.device.type == "cpu":
        rows = max(1, IN_CACHE // weights[0].numel())
        parts = zip(weights.split(rows), u.split(rows), strict=True)
        return torch.cat([_inverse_cdf(*part) for part in parts])
    return _inverse_cdf(weights, u)


def _inverse_cdf(weights: Float[Tensor, "... K"], u: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The first index whose cumulative weight exceeds u times the total, in float64."""
    cdf = weights.double().cumsum(-1)
    # Strictly above: a category of weight zero is never the first such.
    index = torch.searchsorted(cdf, (u[..., None] * cdf[..., -1:]).contiguous(), right=True)
    return index.squeeze(-1).clamp_max(weights.shape[-1] - 1)


@dataclass(frozen=True, kw_only=True)
class Truncation(Checked):
    """Which part of a prediction is drawn from; the default is all of it, as predicted.

    Attributes:
        temperature: p^(1/temperature), normalized; 0 takes the likeliest token.
        top_k: the k likeliest tokens only (arXiv 1805.04833).
        top_p: the smallest set of likeliest tokens with this mass (nucleus, arXiv 1904.09751).
        min_p: tokens of at least this share of the likeliest one's probability (arXiv 2407.01082).
    """

    temperature: Temperature = 1.0
    top_k: Count | None = None
    top_p: SomeFraction = 1.0
    min_p: Fraction = 0.0

    def weights(self, logits: Float[Tensor, "... V"]) -> Float[Tensor, "... V"]:
        """Weights to draw from, in proportion: the tempered probabilities, 0 where cut off.

        `logits` are log-probabilities up to a constant for each row.
        """
        if self.temperature == 0:
            best = logits.argmax(-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, best, 1.0)
        p = (logits if self.temperature == 1 else logits / self.temperature).softmax(-1)
        if self.min_p > 0:
            p = p.where(p >= self.min_p * p.amax(-1, keepdim=True), 0)
        if self.top_k is None and self.top_p == 1:
            return p
        ordered, index = p.sort(-1, descending=True)
        kept = torch.ones_like(ordered, dtype=torch.bool)
        if self.top_k is not None:
            kept[..., self.top_k :] = False
        if self.top_p < 1:
            mass = ordered.double()
            # A token is needed as long as those before it have less than the mass wanted.
            before = mass.cumsum(-1) - mass
            kept &= before < self.top_p * mass.sum(-1, keepdim=True)
        return torch.zeros_like(p).scatter(-1, index, ordered.where(kept, 0))


def pick(values: Float[Tensor, "... K"], index: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """values[..., index], broadcasting the leading axes of both."""
    shape = torch.broadcast_shapes(values.shape[:-1], index.shape)
    full = values.expand(*shape, values.shape[-1])
    return full.gather(-1, index.expand(shape)[..., None]).squeeze(-1)
