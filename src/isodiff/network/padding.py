"""Texts of different lengths in one batch: what lies beyond a text's end is hidden from it.

Views carry positions, so this is a property of the denoiser and no affair of the family: every pattern is
narrowed by the positions shown. With tokens beyond the end `observed` as well (never noised, never scored), a
row has the likelihood that it has alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from isodiff.errors import InputError
from isodiff.network.attention import Attention, BySequence, Index
from isodiff.network.view import (
    Cache,
    Denoiser,
    Latent,
    LatentDenoiser,
    Prediction,
    View,
    caching,
    for_rows,
)


@dataclass(frozen=True, slots=True, eq=False)
class Unpadded(BySequence):
    """`base` without padding: that sees itself only, and nobody else sees it."""

    base: Attention
    padding: Bool[Tensor, "B N"]

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "B ..."]:
        """By `base`, and neither is padding; or both are the same. A batch axis in front."""
        real = ~self.padding
        q_real = (
            real[:, q.flatten()][..., None] if q.ndim < 3 else real.gather(1, q[..., 0])[..., None]
        )
        k_real = real[:, k.flatten()][:, None]
        return (self.base.allowed(q, k, n) & q_real & k_real) | (q == k)

    def pairs_in(self, batch: int, n: int) -> int:
        """Counted one by one."""
        assert batch == len(self.padding), (batch, self.padding.shape)
        return int(self.mask(n, self.padding.device).sum())


@dataclass(frozen=True, slots=True)
class PaddedCache(Cache):
    """Which slots hold padding, beside what the denoiser itself remembers."""

    inner: Cache
    padding: Bool[Tensor, "B N"]


@dataclass(frozen=True, slots=True)
class Padded:
    """`denoiser` for sequences of `lengths` tokens: positions from lengths[b] on are padding."""

    denoiser: Denoiser
    lengths: Int[Tensor, " B"]

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.denoiser.vocab_size

    @property
    def latent(self) -> Latent | None:
        """The denoiser's own."""
        return self.denoiser.latent if isinstance(self.denoiser, LatentDenoiser) else None

    def of(self, rows: Int[Tensor, " R"] | Bool[Tensor, " B"]) -> Padded:
        """For some of the sequences."""
        return Padded(for_rows(self.denoiser, rows), self.lengths[rows])

    def beyond(self, view: View) -> Bool[Tensor, "B N"]:
        """Which positions of a view are padding."""
        batch, n = view.inputs.shape[:2]
        if batch != len(self.lengths):
            raise InputError(
                f"{len(self.lengths)} lengths for {batch} sequences; give one for each"
            )
        return view.positions.expand(batch, n) >= self.lengths[:, None]

    def __call__(self, view: View) -> Prediction:
        """p(x_i | what the view shows of the text itself)."""
        padding = self.beyond(view)
        if bool(padding.any()):
            view = replace(view, attention=Unpadded(view.attention, padding))
        return self.denoiser(view)

    def cache(self, batch: int, capacity: int) -> PaddedCache:
        """An empty cache; no slot holds padding yet."""
        device = self.lengths.device
        inner = caching(self.denoiser, device).cache(batch, capacity)
        return PaddedCache(inner, torch.zeros(batch, capacity, dtype=torch.bool, device=device))

    def cached(self, view: View, cache: Cache) -> Prediction:
        """The same with what the cache holds."""
        assert isinstance(cache, PaddedCache) and view.slots is not None
        cache.padding.scatter_(1, view.slots.expand(view.inputs.shape), self.beyond(view))
        if bool(cache.padding.any()):
            view = replace(view, attention=Unpadded(view.attention, cache.padding))
        return caching(self.denoiser, self.lengths.device).cached(view, cache.inner)
